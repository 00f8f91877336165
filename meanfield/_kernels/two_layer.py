"""Directional derivatives of a two-layer network and of its mean-field gradient, in blocks.

Write ``z = inputs @ w.T`` (the bias is the weight of a constant input), ``h = σ(z)`` and let a dot be the derivative along a
fixed direction ``(ȧ, ẇ)`` of the particles ``(a, w)``. Two drivers cover everything a risk needs:

- ``network_jet``: ``Σ_i d^j/dε^j [a_i σ(w_i·x)]`` for j = 0, …, m ≤ 2, in one pass:
  ``a h``, ``ȧ h + a σ'ż``, ``2 ȧ σ'ż + a σ''ż²``;
- ``gradient_jet``: ``d^m/dε^m`` of ``Σ_k r_k·∇_θ[a σ(w·x_k)]`` where r has derivatives r⁰, r¹, r² along the same direction. With
  ``s = a·r``, ``ṡ = a·r¹ + ȧ·r⁰``, ``s̈ = a·r² + 2ȧ·r¹``:
  ``∇_a``: ``Σ_k r h``, ``r¹ h + r σ'ż``, ``r² h + 2 r¹ σ'ż + r σ''ż²``;
  ``∇_w``: ``Σ_k x_k`` times ``s σ'``, ``ṡ σ' + s σ''ż``, ``s̈ σ' + 2 ṡ σ''ż + s σ‴ż²``.

Particles are cut into 16 groups, and these into blocks, in a way that depends on N alone (``block_bounds``), and sums are taken
in a fixed order: results depend neither on the number of threads nor on who computes which group. No array of N × n numbers is
ever held.

Drivers are compiled when first needed, one for each precision and kind of tile: ``tiles`` for few inputs, ``wide`` with BLAS for
many. They call the loop over an activation by its address, which is compiled for each activation, precision and order.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import activations, neurons, tiles, wide
from .activations import ACTIVATIONS
from .jit import driver
from .threads import run_blocks

__all__ = ["ACTIVATIONS", "block_bounds", "gradient_jet", "group_bounds", "network_jet"]

GROUPS = 16
BLOCK = 128  # particles, at least, of a block that does not stand for a whole group
BLOCKS_PER_GROUP = 16
FEW_INPUTS = 32
FUSED = ("tanh",)  # activations that are worth a driver of their own: one more to compile
_MODULES = {"neurons": neurons, "tiles": tiles, "wide": wide}

Array = NDArray[np.floating[Any]]
Bounds = NDArray[np.int64]


def network_jet(
    code: int,
    order: int,
    particles: Array,
    direction: Array,
    n_outputs: int,
    inputs: Array,
    bounds: Bounds,
    partials: Array,
) -> None:
    """partials[b, j] = Σ over the particles of block b of d^j/dε^j [a σ(w·x)], j = 0, …, order.

    particles, direction (N, c + p); inputs (n, p); bounds (blocks + 1,), increasing: block b is bounds[b] … bounds[b + 1] − 1;
    partials (blocks, order + 1, n, c), overwritten. For order 0 the direction may be anything of its shape.
    """
    real = _precision(particles)
    name, kind = ACTIVATIONS[code], _kind(code, order, n_outputs, inputs)
    fused = kind == "neurons"
    scalar = neurons.forward_sums(name, real) if fused else activations.jets(name, real, order + 1)
    compiled = _network_driver(real, kind)
    if kind == "tiles":
        inputs = _padded(inputs)

    def compute(first: int, last: int) -> None:
        compiled(scalar, particles, direction, n_outputs, inputs, bounds, partials, first, last)

    run_blocks(compute, len(bounds) - 1, _work(order, particles, inputs), kind == "wide")


def gradient_jet(
    code: int,
    order: int,
    particles: Array,
    direction: Array,
    n_outputs: int,
    inputs: Array,
    r: Array,
    bounds: Bounds,
    gradient: Array,
) -> None:
    """gradient_i = d^m/dε^m Σ_k r_k·∇_θ[a_i σ(w_i·x_k)], m = order.

    particles, direction, gradient (N, c + p); inputs (n, p); r (order + 1, n, c): r and its derivatives along the direction;
    bounds as above.
    """
    real = _precision(particles)
    name, kind = ACTIVATIONS[code], _kind(code, order, n_outputs, inputs)
    fused = kind == "neurons"
    scalar = neurons.backward_sums(name, real) if fused else activations.jets(name, real, order + 2)
    compiled = _gradient_driver(real, kind)
    if kind == "tiles":
        inputs = _padded(inputs)
        r = np.concatenate(
            [r, np.zeros((len(r), len(inputs) - r.shape[1], r.shape[2]), real)], axis=1
        )

    def compute(first: int, last: int) -> None:
        compiled(scalar, particles, direction, n_outputs, inputs, r, bounds, gradient, first, last)

    run_blocks(compute, len(bounds) - 1, _work(order, particles, inputs), kind == "wide")


def _precision(array: Array) -> Any:
    return array.dtype.type


def _kind(code: int, order: int, n_outputs: int, inputs: Array) -> str:
    """Which of the modules computes; it depends on nothing that a share of the particles would change."""
    p = inputs.shape[1]
    if p > FEW_INPUTS:
        return "wide"
    few = p <= neurons.WEIGHTS and n_outputs == 1 and order == 0
    return "neurons" if few and ACTIVATIONS[code] in FUSED else "tiles"


def _work(order: int, particles: Array, inputs: Array) -> int:
    """Multiply-adds of a kernel, about."""
    return (order + 1) * particles.size * len(inputs)


def _padded(inputs: Array) -> Array:
    """The inputs as the tiles want them: zeros at the ends of both axes up to multiples of four."""
    rows, columns = (-(-size // 4) * 4 for size in inputs.shape)
    padded = np.zeros((rows, columns), inputs.dtype)
    padded[: len(inputs), : inputs.shape[1]] = inputs
    return padded


@functools.cache
def _network_driver(real: Any, kind: str) -> Any:
    block = _MODULES[kind].network_block

    @driver(f"network_{real.__name__}_{kind}")
    def network(scalar, particles, direction, c, inputs, bounds, partials, first, last):
        for b in range(first, last):
            i, j = bounds[b], bounds[b + 1]
            block(scalar, particles[i:j], direction[i:j], c, inputs, partials[b])

    return network


@functools.cache
def _gradient_driver(real: Any, kind: str) -> Any:
    block = _MODULES[kind].gradient_block

    @driver(f"gradient_{real.__name__}_{kind}")
    def gradient(scalar, particles, direction, c, inputs, r, bounds, out, first, last):
        for b in range(first, last):
            i, j = bounds[b], bounds[b + 1]
            block(scalar, particles[i:j], direction[i:j], c, inputs, r, out[i:j])

    return gradient


def group_bounds(n_particles: int) -> list[int]:
    """First particles of the groups, and the end: g N // G for g = 0, …, G = min(16, N)."""
    groups = min(GROUPS, n_particles)
    return [g * n_particles // groups for g in range(groups + 1)]


@functools.lru_cache(maxsize=64)
def block_bounds(n_particles: int) -> tuple[Bounds, tuple[int, ...]]:
    """First particles of the blocks, and the end, (blocks + 1,); and the first block of each group, and the end.

    The blocks of a group are equal up to its last and depend on its size alone.
    """
    bounds: list[int] = []
    first_blocks = []
    for start, end in itertools.pairwise(group_bounds(n_particles)):
        count = min(math.ceil((end - start) / BLOCK), BLOCKS_PER_GROUP)
        size = math.ceil((end - start) / count / BLOCK) * BLOCK
        first_blocks.append(len(bounds))
        bounds += range(start, end, size)
    first_blocks.append(len(bounds))
    array = np.array([*bounds, n_particles], dtype=np.int64)
    array.flags.writeable = False
    return array, tuple(first_blocks)
