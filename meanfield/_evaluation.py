"""From networks and particle arrays to the kernels and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meanfield._kernels import two_layer
from meanfield._kernels.threads import kernel_threads

if TYPE_CHECKING:
    from meanfield.networks import TwoLayerNetwork

Array = NDArray[np.floating[Any]]


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
    n_blocks = two_layer.block_count(len(particles))
    partials = np.empty((n_blocks, order + 1, len(inputs), network.output_dim), particles.dtype)
    with kernel_threads(_work(particles, inputs, order)):
        two_layer.network_jet(
            two_layer.ACTIVATIONS.index(network.activation),
            order,
            particles,
            particles if direction is None else direction,
            network.output_dim,
            inputs,
            partials,
        )
    # Summed along the first axis, row after row: one order whatever the thread count.
    total: Array = partials.sum(axis=0) / particles.dtype.type(len(particles))
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
    with kernel_threads(_work(particles, inputs, len(residuals) - 1)):
        two_layer.gradient_jet(
            two_layer.ACTIVATIONS.index(network.activation),
            len(residuals) - 1,
            particles,
            particles if direction is None else direction,
            network.output_dim,
            inputs,
            residuals,
            gradient,
        )
    return gradient if network.train_output else gradient[:, network.output_dim :].copy()


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


def _work(particles: Array, inputs: Array, order: int) -> int:
    """Multiply-adds of a kernel, about."""
    return particles.size * len(inputs) * (order + 1)
