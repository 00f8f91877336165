"""Calls of the kernels on particle arrays and data, and the order in which sums over particles are taken.

Particles form groups, determined by N alone, and a group has blocks, determined by its size and the number of inputs. A sum over
particles is taken block by block within a group, then group by group: this tree depends neither on the number of threads, which
share the blocks, nor on that of the MPI ranks, which share the groups.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield._kernels import two_layer
from meanfield._kernels.data import Data
from solvers._support.bits import Bits

Array = NDArray[np.floating[Any]]
# Bounds of consecutive groups: group g is the particles bounds[g] to bounds[g + 1].
Bounds = tuple[int, ...]

# A group is the smallest share of a rank. Smaller groups cost time: few particles form 4 groups even so, more than 224 at
# least 8, and 16 once these are large enough for an efficient matrix product with many inputs.
GROUP, LARGE_GROUP = 32, 256
FEWEST_GROUPS, MANY_GROUPS, MOST_GROUPS = 4, 8, 16
BLOCKS_PER_GROUP = 16

_PARTIALS_BYTES = 8_000_000  # of the partial sums over blocks at a time
_LEAST_DATA = 1024  # at once, a multiple of every tile


class Architecture(NamedTuple):
    """The parameters of a two-layer network that its evaluation needs, see `meanfield.TwoLayerNetwork`."""

    activation: str
    output_dim: int
    train_output: bool
    output_bias: bool = False


class Memory:
    """Results of a forward pass kept for the backward pass after it, where there is room in the memory of the pass before.

    The numbers are the same without. One that is `lasting` serves several passes with the same data: while the particles are
    the same, their activations are not computed again.
    """

    kept: Array | None = None

    def __init__(self, lasting: bool = False) -> None:
        self._lasting = lasting
        self._particles: Bits | None = None
        self._room = np.empty(0)

    def begin(self, order: int, particles: Array, data: Data, bounds: NDArray[np.int64]) -> bool:
        """Make room for those of the particles, and say whether the activations are there already."""
        shape, dtype = two_layer.kept_shape(order, data.rows, bounds), data.rows.dtype
        entries = math.prod(shape)
        as_before = self.kept is not None and self.kept.shape[1:] == shape[1:]
        if entries > self._room.size or dtype != self._room.dtype:
            self._room, as_before = np.empty(entries, dtype), False
        self.kept = self._room[:entries].reshape(shape)
        if as_before and self._particles is not None and self._particles.are_of(particles):
            return True
        self._particles = Bits(particles) if self._lasting else None
        return False


@functools.lru_cache
def group_bounds(n_particles: int) -> Bounds:
    """The bounds (G + 1) of the groups: ⌈N/32⌉ of them, but from 4 (or N, if less) to 8; ⌈N/256⌉ if that is more, up to 16."""
    small, large = -(-n_particles // GROUP), -(-n_particles // LARGE_GROUP)
    n_groups = max(min(small, MANY_GROUPS), large, FEWEST_GROUPS)
    n_groups = min(n_groups, MOST_GROUPS, n_particles)
    return tuple(g * n_particles // n_groups for g in range(n_groups + 1))


def network_jet(
    architecture: Architecture,
    particles: Array,
    data: Data,
    direction: Array | None = None,
    order: int = 0,
    weights: Array | None = None,
    memory: Memory | None = None,
) -> Array:
    """f_ρ(x_k) and its derivatives along `direction` (N, D) up to order m ≤ 2, (m + 1, n, c).

    `weights` (N,) are the particles', 1/N each by default; a `memory` makes a following `gradient_jet` faster.
    """
    n = len(particles)
    masses = None if weights is None else n * weights
    groups = group_bounds(n)
    return mean_of(
        group_sums(architecture, particles, data, groups, direction, order, masses, memory), n
    )


def group_sums(
    architecture: Architecture,
    particles: Array,
    data: Data,
    groups: Bounds,
    direction: Array | None = None,
    order: int = 0,
    masses: Array | None = None,
    memory: Memory | None = None,
) -> Array:
    """Σ_i m_i φ(θ_i; x_k) over each group and its derivatives, (groups, m + 1, n, c), for masses m_i, 1 by default.

    φ is a σ(w·x), plus v with an output bias.
    """
    biases = _bias_sums(architecture, particles, direction, order, groups, masses)
    particles = _massive(architecture, _packed(architecture, particles, 1.0), masses)
    if direction is not None:
        direction = _massive(architecture, _packed(architecture, direction, 0.0), masses)
    bounds, first_blocks = _blocks(groups, two_layer.block_size(data.rows.shape[1]))
    known = memory is not None and memory.begin(order, particles, data, bounds)
    sums = np.empty(
        (len(groups) - 1, order + 1, len(data), architecture.output_dim), particles.dtype
    )
    for rows in _data_slices(sums):
        part = sums[:, :, rows]
        one_block_each = len(bounds) == len(groups) and part.flags.c_contiguous
        partials = (
            part if one_block_each else np.empty((len(bounds) - 1, *part.shape[1:]), part.dtype)
        )
        two_layer.network_jet(
            two_layer.ACTIVATIONS.index(architecture.activation),
            order,
            particles,
            particles if direction is None else direction,
            architecture.output_dim,
            data[rows],
            bounds,
            partials,
            None if memory is None else memory.kept,
            rows.start,
            known,
        )
        if not one_block_each:
            _add_blocks(partials, first_blocks, part)
    if biases is not None:
        sums += biases[:, :, None].astype(sums.dtype)
    return sums


def _add_blocks(partials: Array, first_blocks: Bounds, sums: Array) -> None:
    """The sums of the blocks of each group, block by block; in one call where all have as many blocks, the same numbers."""
    counts = {last - first for first, last in itertools.pairwise(first_blocks)}
    if len(counts) == 1:
        np.sum(partials.reshape(len(sums), counts.pop(), *partials.shape[1:]), axis=1, out=sums)
        return
    for g, (first, last) in enumerate(itertools.pairwise(first_blocks)):
        np.sum(partials[first:last], axis=0, out=sums[g])


def mean_of(sums: Array, n_particles: int) -> Array:
    """Sums over all groups (groups, …), in their order, over N. They start from +0, so a group's −0 and +0 give the same."""
    total: Array = np.add.reduce(sums, axis=0, initial=0.0) / sums.dtype.type(n_particles)
    return total


def inner_sums(u: Array, v: Array, groups: Bounds) -> NDArray[np.float64]:
    """Σ_i u_i·v_i over each group, (groups,), in float64."""
    products = (u * v).astype(np.float64, copy=False)
    width = products[0].size
    starts = [width * bound for bound in groups[:-1]]
    return np.add.reduceat(products.ravel(), starts)


def inner_of(sums: NDArray[np.float64], n_particles: int) -> float:
    """The inner product from those sums of all groups: `mean_of` for a single number, but faster."""
    return (0.0 + float(np.add.reduce(sums))) / n_particles


def gradient_jet(
    architecture: Architecture,
    particles: Array,
    data: Data,
    residuals: Array,
    direction: Array | None = None,
    groups: Bounds | None = None,
    memory: Memory | None = None,
) -> Array:
    """d^m/dε^m Σ_k r_k·∇_θ φ(θ_i; x_k), (N, D), for residuals (m + 1, n, c): r and its derivatives along `direction`.

    The particles form `groups`, by default those of N; the `memory` must be of the same particles, data and direction.
    """
    c = architecture.output_dim
    particles = _packed(architecture, particles, 1.0)
    if direction is not None:
        direction = _packed(architecture, direction, 0.0)
    groups = group_bounds(len(particles)) if groups is None else groups
    bounds, _ = _blocks(groups, two_layer.block_size(data.rows.shape[1]))
    gradient = np.empty_like(particles)
    two_layer.gradient_jet(
        two_layer.ACTIVATIONS.index(architecture.activation),
        len(residuals) - 1,
        particles,
        particles if direction is None else direction,
        c,
        data,
        residuals,
        bounds,
        gradient,
        None if memory is None else memory.kept,
    )
    if not architecture.train_output:
        gradient = gradient[:, c:].copy()
    if not architecture.output_bias:
        return gradient
    slope = residuals[-1].sum(axis=0, dtype=np.float64).astype(gradient.dtype)  # φ is linear in v
    return np.hstack([gradient, np.tile(slope, (len(gradient), 1))])


@functools.lru_cache
def _blocks(groups: Bounds, block: int) -> tuple[NDArray[np.int64], Bounds]:
    """The bounds (B + 1) of all blocks, and the number (groups + 1) of the block with which each group begins.

    The blocks of a group are equal up to its last, of `block` particles or a multiple, and depend on its size alone.
    """
    bounds: list[int] = []
    first_blocks = [0]
    for begin, end in itertools.pairwise(groups):
        count = min(-(-(end - begin) // block), BLOCKS_PER_GROUP)
        size = -(-(end - begin) // (count * block)) * block
        bounds += range(begin, end, size)
        first_blocks.append(len(bounds))
    array = np.array([*bounds, groups[-1]], dtype=np.int64)
    array.flags.writeable = False
    return array, tuple(first_blocks)


def _data_slices(sums: Array) -> list[slice]:
    """Slices of the data whose partial sums take little memory for any n; the same for any share of the groups."""
    _, derivatives, n, n_outputs = sums.shape
    per_datum = MOST_GROUPS * BLOCKS_PER_GROUP * derivatives * n_outputs * sums.itemsize
    share = max(_LEAST_DATA, _PARTIALS_BYTES // per_datum // _LEAST_DATA * _LEAST_DATA)
    return [slice(i, min(i + share, n)) for i in range(0, n, share)]


def _packed(architecture: Architecture, particles: Array, output_weight: float) -> Array:
    """The coordinates that the kernels expect: without an output bias, with the output weights in front that are kept fixed."""
    if architecture.output_bias:
        particles = np.ascontiguousarray(particles[:, : -architecture.output_dim])
    if architecture.train_output:
        return particles
    outputs = np.full((len(particles), architecture.output_dim), output_weight, particles.dtype)
    return np.hstack([outputs, particles])


def _massive(architecture: Architecture, packed: Array, masses: Array | None) -> Array:
    """Particles of mass 1 of the same network: f is linear in a, so the mass of a particle multiplies its a."""
    if masses is None:
        return packed
    scaled = packed.copy()
    scaled[:, : architecture.output_dim] *= masses[:, None].astype(packed.dtype)
    return scaled


def _bias_sums(
    architecture: Architecture,
    particles: Array,
    direction: Array | None,
    order: int,
    groups: Bounds,
    masses: Array | None,
) -> NDArray[np.float64] | None:
    """Σ_i m_i v_i over each group and its derivatives, (groups, m + 1, c), in float64; None without an output bias."""
    if not architecture.output_bias:
        return None
    c = architecture.output_dim
    sums = np.zeros((len(groups) - 1, order + 1, c))
    jet = (particles, direction)[: order + 1]  # derivatives from the second on are 0
    for j, coordinates in enumerate(jet):
        if coordinates is None:
            continue
        v = coordinates[:, -c:].astype(np.float64)
        if masses is not None:
            v *= masses[:, None]
        for g, (begin, end) in enumerate(itertools.pairwise(groups)):
            np.sum(v[begin:end], axis=0, out=sums[g, j])
    return sums
