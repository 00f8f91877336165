"""Directional derivatives of a two-layer network and of its mean-field gradient, in blocks.

Write ``z = inputs @ w.T`` (the bias is the weight of a constant input), ``h = σ(z)`` and let a dot be the derivative along a
fixed direction ``(ȧ, ẇ)`` of the particles ``(a, w)``. Two drivers cover everything a risk needs:

- ``network_jet``: ``Σ_i d^j/dε^j [a_i σ(w_i·x)]`` for j = 0, …, m ≤ 2, in one pass:
  ``a h``, ``ȧ h + a σ'ż``, ``2 ȧ σ'ż + a σ''ż²``;
- ``gradient_jet``: ``d^m/dε^m`` of ``Σ_k r_k·∇_θ[a σ(w·x_k)]`` where r has derivatives r⁰, r¹, r² along the same direction. With
  ``s = a·r``, ``ṡ = a·r¹ + ȧ·r⁰``, ``s̈ = a·r² + 2ȧ·r¹``:
  ``∇_a``: ``Σ_k r h``, ``r¹ h + r σ'ż``, ``r² h + 2 r¹ σ'ż + r σ''ż²``;
  ``∇_w``: ``Σ_k x_k`` times ``s σ'``, ``ṡ σ' + s σ''ż``, ``s̈ σ' + 2 ṡ σ''ż + s σ‴ż²``.

Particles are divided into blocks by the caller, and a block is summed in a fixed order by one thread: results depend on the
blocks, not on the number of threads. No array of N × n numbers is stored: of the pre-activations at most ``KEPT_BYTES``, from
``KEPT_INPUTS`` inputs on, where recomputing them takes a fifth of the time of a gradient or more (a third at 3000); for 20
inputs, writing to memory took longer. Those that do not fit are recomputed.

Blocks are compiled when first needed, for each kind of tile and precision: ``neurons`` for one output and up to
``FUSED_INPUTS`` inputs, the bias counted, ``tiles`` for more outputs and up to its ``FEW_INPUTS``, ``wide`` with BLAS for more.
They call by address what is compiled on its own: the loop over an activation, for each activation, precision, order and, fused,
number of inputs; products and the chain rule.

The thresholds were measured with 4000 particles and 600 data on one thread with AVX-512. Gradients (Hessian products) of
``wide`` took, over those of ``neurons``, 1.6 (2.2) at 8 inputs, 1.3 (1.8) at 13, 1.1 (1.1) at 20, 0.9 (0.9) at 24, in both
precisions; value, gradient and Hessian products of ``tiles`` 1.0 to 1.9 up to 16, and 2 to 4 for relu.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.activations import ACTIVATIONS

from . import activations, neurons, tiles, wide
from .atomic import take
from .data import Data
from .jit import call_at, driver
from .job import written
from .products import most_small
from .threads import Counter, run_blocks

__all__ = ["ACTIVATIONS", "gradient_jet", "kept_shape", "network_jet"]

FUSED_INPUTS = 20
KEPT_BYTES = 1 << 27  # as of 4000 particles at 4000 data
KEPT_INPUTS = 64
CHECKED = ("sin",)  # activations that check all arguments first, which ``neurons`` does not support
_MODULES: dict[str, Any] = {"neurons": neurons, "tiles": tiles, "wide": wide}
_LINE = 64  # bytes: a vector that lies across two cache lines costs two loads
_CONSTANTS = {real: np.array([0, 1], real) for real in (np.float64, np.float32)}
_CONSTANTS_AT = {real: constants.ctypes.data for real, constants in _CONSTANTS.items()}

Array = NDArray[np.floating[Any]]
Bounds = NDArray[np.int64]


def network_jet(
    code: int,
    order: int,
    particles: Array,
    direction: Array,
    n_outputs: int,
    data: Data,
    bounds: Bounds,
    partials: Array,
    kept: Array | None = None,
    first_datum: int = 0,
    known: bool = False,
) -> None:
    """partials[b, j] = Σ over the particles of block b of d^j/dε^j [a σ(w·x)], j = 0, …, order.

    particles, direction (N, c + p); data with p inputs; bounds (blocks + 1), block b being the particles bounds[b] to
    bounds[b + 1]; partials (blocks, order + 1, n, c), overwritten. For order 0 the direction may be anything of its shape.
    kept: see `kept_shape`; the data are its own from the first_datum on, and `known` says that it was left by a call with these
    particles.
    """
    real, p = _precision(particles), data.rows.shape[1]
    name, kind = ACTIVATIONS[code], _kind(code, n_outputs, p)
    partials[...] = 0  # nothing is computed for blocks without particles, and ``wide`` adds
    functions = _functions(kind, name, real, p, order, backward=False)
    block = _MODULES[kind].network_block(real)
    _run(
        kind, block, functions, order, particles, direction, n_outputs, data, bounds, partials,
        kept=kept, first_datum=first_datum, known=known,
    )  # fmt: skip


def gradient_jet(
    code: int,
    order: int,
    particles: Array,
    direction: Array,
    n_outputs: int,
    data: Data,
    r: Array,
    bounds: Bounds,
    gradient: Array,
    kept: Array | None = None,
) -> None:
    """gradient_i = d^m/dε^m Σ_k r_k·∇_θ[a_i σ(w_i·x_k)], m = order.

    particles, direction, gradient (N, c + p); data with p inputs; r (order + 1, n, c): r and its derivatives along the direction;
    bounds as in `network_jet`: the last digits of a particle's gradient depend on the block that it is in; kept as `network_jet`
    left it for the same particles, direction and data.
    """
    real, p = _precision(particles), data.rows.shape[1]
    name, kind = ACTIVATIONS[code], _kind(code, n_outputs, p)
    if kind == "tiles":
        missing = -len(data) % 4
        r = np.concatenate([r, np.zeros((len(r), missing, r.shape[2]), real)], axis=1)
    functions = _functions(kind, name, real, p, order, backward=True)
    block = _MODULES[kind].gradient_block(real)
    _run(
        kind, block, functions, order, particles, direction, n_outputs, data, bounds, gradient,
        residuals=np.ascontiguousarray(r, real), kept=kept,
    )  # fmt: skip


@functools.cache
def _functions(
    kind: str, name: str, real: Any, p: int, order: int, backward: bool
) -> dict[str, Any]:
    """What the blocks call."""
    module, count = _MODULES[kind], order + 1 + backward
    functions = {"chain": module.chain(real, order, backward), "product": module.product(real)}
    if kind == "neurons":
        sums = neurons.backward_sums if backward else neurons.forward_sums
        return functions | {
            "loop": sums(name, real, p, order),
            "loop_of_kept": 0,
            "keeps_values": 0,
        }
    loop = of_kept = activations.jets(name, real, count)
    if keeps_values := name in activations.BY_VALUE and p >= KEPT_INPUTS:
        of_kept = activations.jets(name, real, count, of_value=True) if count > 1 else 0
    return functions | {"loop": loop, "loop_of_kept": of_kept, "keeps_values": int(keeps_values)}


def _run(
    kind: str,
    block: Any,
    functions: dict[str, Any],
    order: int,
    particles: Array,
    direction: Array,
    n_outputs: int,
    data: Data,
    bounds: Bounds,
    out: Array,
    residuals: Array | None = None,
    kept: Array | None = None,
    first_datum: int = 0,
    known: bool = False,
) -> None:
    """Call a block for the particles of every block, on several threads."""
    real, module, blas = _precision(particles), _MODULES[kind], kind == "wide"
    n, p = data.rows.shape
    size, work = particles.itemsize, _work(order, particles, n)
    # Blocks have addresses only: all must have contiguous rows of one precision, and be kept alive.
    particles = np.ascontiguousarray(particles)
    direction = np.ascontiguousarray(direction, real)
    inputs = _padded(data.rows) if kind == "tiles" else data.rows
    assert data.rows.dtype == real, "their addresses are read"
    assert out.flags.c_contiguous and out.dtype == real, "the results go to their address"
    at = _address(particles)
    job = written(
        itemsize=size, known=int(known), order=order, outputs=n_outputs, data=n, inputs_count=p,
        most_small=most_small() if blas else 0,
        particles=at, direction=at if direction is particles else _address(direction),
        inputs=_address(inputs), columns=_address(data.columns),
        columns_down=data.columns.strides[0] // size, columns_across=data.columns.strides[1] // size,
        residuals=0 if residuals is None else _address(residuals),
        out=_address(out), constants=_CONSTANTS_AT[real],
        kept=0 if kept is None else _address(kept) + first_datum * size,
        kept_rows=0 if kept is None else kept.shape[1],
        kept_length=0 if kept is None else kept.shape[2],
        **functions,
    )  # fmt: skip
    room = module.entries(order, len(particles), n, p, n_outputs) * size + _LINE

    def compute(counter: Counter) -> None:
        _all_blocks(block, job, bounds, counter, np.empty(room, np.uint8))

    run_blocks(compute, len(bounds) - 1, work, blas)


def _address(array: Any) -> int:
    """Of the first entry; NumPy's own ways take several times as long."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))
    except (TypeError, ValueError):  # it cannot be written, is not contiguous or is empty
        return int(array.ctypes.data)


@driver("blocks")
def _all_blocks(block, job, bounds, counter, memory):
    """`memory` is room for what a thread computes, from its first whole cache line on."""
    start = -(-memory.ctypes.data // _LINE) * _LINE
    b = take(counter)
    while b < len(bounds) - 1:
        if bounds[b] < bounds[b + 1]:
            call_at(block, (job.ctypes.data, b, bounds[b], bounds[b + 1], start))
        b = take(counter)


def block_size(p: int) -> int:
    """Particles, or a multiple, of a block: a whole number of every tile, and more where rows of neurons get longer by it."""
    return wide.ROWS if FUSED_INPUTS < p < wide.MANY_INPUTS else wide.MOST_ROWS


def kept_shape(order: int, inputs: Array, bounds: Bounds) -> tuple[int, int, int]:
    """The shape (order + 1, rows, n) of `kept`: as many blocks from the first on as fit into ``KEPT_BYTES``, if worthwhile."""
    per_row = (order + 1) * len(inputs) * inputs.itemsize
    most = KEPT_BYTES // per_row if inputs.shape[1] >= KEPT_INPUTS else 0
    rows = bounds[np.searchsorted(bounds, most, side="right") - 1]
    return order + 1, int(rows), len(inputs)


def _precision(array: Array) -> Any:
    return array.dtype.type


def _kind(code: int, n_outputs: int, p: int) -> str:
    """The module that computes; the choice is the same for any share of the particles."""
    if p <= FUSED_INPUTS and n_outputs == 1 and ACTIVATIONS[code] not in CHECKED:
        return "neurons"
    return "tiles" if p <= tiles.FEW_INPUTS else "wide"


def _work(order: int, particles: Array, n: int) -> int:
    """Approximate number of multiply-adds of a kernel."""
    return (order + 1) * particles.size * n


def _padded(inputs: Array) -> Array:
    """The inputs padded with zeros in both axes to multiples of four, as the tiles need them."""
    rows, columns = (-(-size // 4) * 4 for size in inputs.shape)
    padded = np.zeros((rows, columns), inputs.dtype)
    padded[: len(inputs), : inputs.shape[1]] = inputs
    return padded
