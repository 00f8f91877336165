"""From networks and particle arrays to the kernels and back."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meanfield._kernels import two_layer

if TYPE_CHECKING:
    from meanfield.networks import TwoLayerNetwork

Array = NDArray[np.floating[Any]]

_PARTIALS_BYTES = 32_000_000  # of the partial sums over blocks that are held at once
_LEAST_DATA = 1024  # at once, a multiple of every tile


def network_jet(
    network: TwoLayerNetwork,
    particles: Array,
    inputs: Array,
    direction: Array | None = None,
    order: int = 0,
    weights: Array | None = None,
) -> Array:
    """f_ρ(x_k) and its derivatives along `direction` (N, D) up to order m ≤ 2; `inputs` are augmented; returns (m + 1, n, c).

    `weights` (N,) are the particles', 1/N each by default.
    """
    particles = _weighted(network, _packed(network, particles, 1.0), weights)
    if direction is not None:
        direction = _weighted(network, _packed(network, direction, 0.0), weights)
    bounds, first_blocks = two_layer.block_bounds(len(particles))
    total = np.empty((order + 1, len(inputs), network.output_dim), particles.dtype)
    for rows in _data_slices(total):
        partials = np.empty((len(bounds) - 1, *total[:, rows].shape), particles.dtype)
        two_layer.network_jet(
            two_layer.ACTIVATIONS.index(network.activation),
            order,
            particles,
            particles if direction is None else direction,
            network.output_dim,
            inputs[rows],
            bounds,
            partials,
        )
        total[:, rows] = _group_sums(partials, first_blocks).sum(axis=0)
    total /= particles.dtype.type(len(particles))
    return total


def gradient_jet(
    network: TwoLayerNetwork,
    particles: Array,
    inputs: Array,
    residuals: Array,
    direction: Array | None = None,
) -> Array:
    """d^m/dε^m Σ_k r_k·∇_θ φ(θ_i; x_k), (N, D), for residuals (m + 1, n, c): r and its derivatives along `direction`."""
    particles = _packed(network, particles, 1.0)
    if direction is not None:
        direction = _packed(network, direction, 0.0)
    gradient = np.empty_like(particles)
    bounds, _ = two_layer.block_bounds(len(particles))
    two_layer.gradient_jet(
        two_layer.ACTIVATIONS.index(network.activation),
        len(residuals) - 1,
        particles,
        particles if direction is None else direction,
        network.output_dim,
        inputs,
        residuals,
        bounds,
        gradient,
    )
    return gradient if network.train_output else gradient[:, network.output_dim :].copy()


def _group_sums(partials: Array, first_blocks: tuple[int, ...]) -> Array:
    """Sums over the blocks of each group, block after block: (groups, order + 1, n, c) from (blocks, order + 1, n, c)."""
    if len(first_blocks) == len(partials) + 1:  # every block is a group
        return partials
    ranges = itertools.pairwise(first_blocks)
    return np.stack([partials[first:last].sum(axis=0) for first, last in ranges])


def _data_slices(total: Array) -> list[slice]:
    """Shares of the data whose partial sums take little memory, whatever n; the same for any share of the particles."""
    per_datum = (
        two_layer.GROUPS
        * two_layer.BLOCKS_PER_GROUP
        * total.shape[0]
        * total.shape[2]
        * total.itemsize
    )
    share = max(_LEAST_DATA, _PARTIALS_BYTES // per_datum // _LEAST_DATA * _LEAST_DATA)
    return [slice(i, min(i + share, total.shape[1])) for i in range(0, total.shape[1], share)]


def _packed(network: TwoLayerNetwork, particles: Array, output_weight: float) -> Array:
    """Particles with the output weights that the kernels expect, in front, where the network holds them fixed."""
    if network.train_output:
        return particles
    outputs = np.full((len(particles), network.output_dim), output_weight, particles.dtype)
    return np.hstack([outputs, particles])


def _weighted(network: TwoLayerNetwork, packed: Array, weights: Array | None) -> Array:
    """Equal-weight particles of the same network: f is linear in a, so a weight p of a particle is a factor N p of its a."""
    if weights is None:
        return packed
    scaled = packed.copy()
    scaled[:, : network.output_dim] *= (len(weights) * weights)[:, None].astype(packed.dtype)
    return scaled
