"""Estimators of the entropy Ent[μ] = ∫ ρ log ρ of a measure given by particles.

An estimator has ``value(x, weights)``, ``gradient(x, weights)``, the mean-field gradient ∇_θ (δEnt/δμ)(x_i) = (1/p_i) ∂Ent/∂x_i,
and ``hvp(x, v, weights)``, the derivative of the gradient along v. The gradient is exactly that of the value: nothing in an
estimator, such as a bandwidth, depends on the particles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist
from scipy.special import digamma

from solvers._support.arguments import (
    array,
    finite_array,
    flag,
    probabilities,
    real,
    settle,
    wrong_shape,
)
from solvers.objective import Array

Float64 = NDArray[np.float64]

#: Entries of a block of pairs: 2 MiB.
_BLOCK = 2**18


class Entropy(Protocol):
    """An estimator of the entropy: x and v (N, D), weights (N,) positive and of sum one, by default 1/N each."""

    def value(self, x: ArrayLike, weights: ArrayLike | None = None) -> float: ...
    def gradient(self, x: ArrayLike, weights: ArrayLike | None = None) -> Array: ...
    def hvp(self, x: ArrayLike, v: ArrayLike, weights: ArrayLike | None = None) -> Array: ...


@dataclass(frozen=True)
class SpacingEntropy:
    """Entropy on the line from the gaps between neighbouring particles.

    For particles in increasing order x_1 < … < x_n with weights p_i, it is exactly the entropy of the probability density
    that is constant in each gap and zero outside, each gap having half the mass of its two ends, normalised to one:

        Ent = Σ_{i<n} q_i log(q_i / (x_{i+1} − x_i)),     q_i = (p_i + p_{i+1}) / (2 − p_1 − p_n),

    1/(n − 1) for equal weights: x_i is then the quantile at (i − 1)/(n − 1). The gradient is the jump of that density,
    (ρ_i − ρ_{i−1})/p_i. As the q_i sum to one, Σ_i p_i x_i · gradient_i = −1 for any particles, as ∫ x·∇log ρ dμ = −D says: in a
    quadratic potential the gradient flow of energy and entropy has the exact mean and variance for every n.

    At quantiles of a smooth density the error vanishes with n: it is −(1/24n²) ∫ ρ'²/ρ³ + o(n⁻²) on an interval where ρ > 0, of
    order log(n)/n for a Gaussian, whose tails are cut. *Independent draws* have gaps that fluctuate like exponential variables
    for any n, and

        E[Ent_n] − Ent → γ = 0.5772…,     for the uniform density exactly ψ(n + 1) + γ − log(n − 1) at every n.

    ``independent_draws=True`` subtracts the latter. The gradient is then no estimate of ∇log ρ (1/gap has no mean); but a
    gradient flow equalises neighbouring gaps in times of order n⁻², which removes γ from the value itself.

    Where particles coincide the density has an atom: Ent = ∞, and there is no gradient. Particles need not be ordered, and
    may pass each other.

    Parameters
    ----------
    independent_draws : bool
        Whether the particles are independent draws, or behave like them, as those of `Langevin` do, rather than quantiles.

    Raises
    ------
    ValueError
        For particles not of shape (N, 1) with N ≥ 2 or not finite, weights not positive or not of sum one; from gradient and hvp
        where particles coincide.

    References
    ----------
    Vasicek, J. R. Stat. Soc. B 38 (1976) 54–59, for gaps over m neighbours, whose bias is log m − ψ(m).

    Examples
    --------
    Equidistant particles on [0, 2] are the uniform density ½, of entropy log ½:

    >>> round(solvers.SpacingEntropy().value([[0.0], [1.0], [2.0]]), 6), round(float(np.log(0.5)), 6)
    (-0.693147, -0.693147)
    """

    independent_draws: bool = False

    def __post_init__(self) -> None:
        settle(self, independent_draws=flag("independent_draws", self.independent_draws))

    def value(self, x: ArrayLike, weights: ArrayLike | None = None) -> float:
        """Ent of the particles x (N, 1); ∞ where two coincide."""
        _, gaps, masses, _ = self._cells(x, weights)
        if np.any(gaps == 0.0):
            return math.inf
        value = float(np.sum(masses * np.log(masses / gaps)))
        return value - self._bias(len(gaps) + 1) if self.independent_draws else value

    def gradient(self, x: ArrayLike, weights: ArrayLike | None = None) -> Array:
        """(ρ_i − ρ_{i−1})/p_i, (N, 1): the jump of the density at the particle."""
        order, gaps, masses, p = self._cells(x, weights)
        _check_apart(gaps)
        return self._unsorted(order, _jumps(masses / gaps) / p, x)

    def hvp(self, x: ArrayLike, v: ArrayLike, weights: ArrayLike | None = None) -> Array:
        """The derivative of the gradient along v (N, 1), (N, 1)."""
        order, gaps, masses, p = self._cells(x, weights)
        _check_apart(gaps)
        stretch = np.diff(_direction(v, np.shape(x))[order, 0])
        return self._unsorted(order, _jumps(-masses * stretch / gaps**2) / p, x)

    def _cells(
        self, x: ArrayLike, weights: ArrayLike | None
    ) -> tuple[NDArray[np.intp], Float64, Float64, Float64]:
        """Order of the particles, gaps (n − 1,), their masses (n − 1,), and the sorted weights (n,)."""
        positions, p = _particles(x, weights)
        if positions.shape[1] != 1 or len(positions) < 2:
            raise wrong_shape("x", "(N, 1) with N ≥ 2", positions.shape)
        if not np.all(p > 0.0):
            raise ValueError(
                f"weights must be above 0, got {np.count_nonzero(p <= 0.0)} that are 0; leave out particles without mass"
            )
        order = np.argsort(positions[:, 0], kind="stable")
        p = p[order]
        masses = (p[:-1] + p[1:]) / (2.0 - p[0] - p[-1])
        return order, np.diff(positions[order, 0]), masses, p

    def _bias(self, n: int) -> float:
        """E[Ent_n] of n independent draws of the uniform law: gaps are Beta(1, n), E log gap = ψ(1) − ψ(n + 1)."""
        return float(digamma(n + 1) - digamma(1) - math.log(n - 1))

    def _unsorted(self, order: NDArray[np.intp], values: Float64, x: ArrayLike) -> Array:
        result = np.empty((len(values), 1), _dtype(x))
        result[order, 0] = values
        return result


@dataclass(frozen=True)
class BlobEntropy:
    """Entropy in any dimension of the particles convolved with a Gaussian, the "blob method".

        Ent_ε[μ] = ∫ log(φ_ε * μ) dμ = Σ_i p_i log s_i,     s_i = Σ_j p_j φ_ε(x_i − x_j),     φ_ε = N(0, ε² I)

    The first variation is log(φ_ε * μ) + φ_ε * (μ / (φ_ε * μ)), with the gradient at x_i

        −ε⁻² Σ_j p_j φ_ε(x_i − x_j) (1/s_i + 1/s_j) (x_i − x_j).

    For a density, Ent_ε − Ent = −KL(ρ | φ_ε * ρ) = −(ε⁴/8) ∫ (Δρ)²/ρ + O(ε⁶), and the gradient's error is of order ε⁴ too. Of N
    independent draws it is larger by O(1/(N ε^D)) on average, and fluctuates by the standard deviation of log ρ over √N. Where ε
    is smaller than the distances between particles, each is isolated and the gradient vanishes. So ε should decrease with N, but
    more slowly than those distances.

    The N² pairs are processed in blocks of max(2¹⁸, N), with at most five arrays of a block at once: 10 MiB up to N = 2¹⁸.

    Parameters
    ----------
    bandwidth : float
        ε > 0, in units of x, the standard deviation of φ_ε. It is fixed while the particles move: otherwise the gradient
        would not be that of the value. `reference_bandwidth` suggests one.

    Raises
    ------
    ValueError
        For a bandwidth that is not a finite number above zero, particles not of shape (N, D) or not finite, weights negative or
        not of sum one.

    References
    ----------
    Carrillo, Craig, Patacchini, arXiv:1709.09195, whose ε may be another multiple of the standard deviation.

    Examples
    --------
    Of one particle it is the logarithm of the Gaussian at its center:

    >>> entropy = solvers.BlobEntropy(bandwidth=0.5)
    >>> round(entropy.value([[0.0]]), 6), round(float(-np.log(0.5 * np.sqrt(2 * np.pi))), 6)
    (-0.225791, -0.225791)
    """

    bandwidth: float

    def __post_init__(self) -> None:
        settle(self, bandwidth=real("bandwidth", self.bandwidth, above=0))

    def value(self, x: ArrayLike, weights: ArrayLike | None = None) -> float:
        """Ent_ε of the particles x (N, D)."""
        positions, p = _centered(x, weights)
        blocks = self._blocks(positions, p)
        return sum(float(np.sum(p[rows] * log_s)) for rows, _, log_s in blocks)

    def gradient(self, x: ArrayLike, weights: ArrayLike | None = None) -> Array:
        """∇(δEnt_ε/δμ) at the particles, (N, D)."""
        positions, p = _centered(x, weights)
        p = p[:, None]
        result = np.zeros_like(positions)
        for rows, ratio, _ in self._blocks(positions, p[:, 0]):
            here, mass = positions[rows], p[rows]
            # Σ_j p_j R_ij = 1: the effect of all x_j on the density at x_i, and of x_i on the density at all x_j.
            result[rows] += here - ratio @ (p * positions)
            result += (ratio.T @ mass) * positions - ratio.T @ (mass * here)
        return (-result / self.bandwidth**2).astype(_dtype(x))

    def hvp(self, x: ArrayLike, v: ArrayLike, weights: ArrayLike | None = None) -> Array:
        """The derivative of the gradient along v (N, D), (N, D)."""
        positions, p = _centered(x, weights)
        v = _direction(v, positions.shape)
        p = p[:, None]
        result = np.zeros_like(positions)
        for rows, ratio, _ in self._blocks(positions, p[:, 0]):
            here, moved, mass = positions[rows], v[rows], p[rows]
            change = self._change(ratio, positions, v, p, rows)
            result[rows] += moved - ratio @ (p * v) - change @ (p * positions)
            result += (ratio.T @ mass) * v - ratio.T @ (mass * moved)
            result += (change.T @ mass) * positions - change.T @ (mass * here)
        return (-result / self.bandwidth**2).astype(_dtype(x))

    def _blocks(self, x: Float64, p: Float64) -> Iterator[tuple[slice, Float64, Float64]]:
        """Blocks of rows i: R_ij = φ(x_i − x_j)/s_i for all j, (b, N), and log s_i, (b,).

        A particle's own term keeps s_i ≥ p_i φ(0). Only a particle without mass can be so far from all others that s_i
        underflows: its exponents are shifted by their maximum, and its log s_i, which is not used, is not corrected.
        """
        massless = p == 0.0
        size = max(1, _BLOCK // len(x))
        log_peak = -0.5 * x.shape[1] * math.log(2.0 * math.pi * self.bandwidth**2)
        for first in range(0, len(x), size):
            rows = slice(first, first + size)
            ratio = cdist(x[rows], x, "sqeuclidean")
            ratio *= -0.5 / self.bandwidth**2
            shift = np.zeros(len(ratio))
            if np.any(massless[rows]):
                shift = np.where(massless, -np.inf, ratio).max(axis=1)
                ratio = np.minimum(ratio - shift[:, None], 0.0)
            np.exp(ratio, out=ratio)
            total = ratio @ p
            ratio /= total[:, None]
            yield rows, ratio, log_peak + np.log(total)

    def _change(self, ratio: Float64, x: Float64, v: Float64, p: Float64, rows: slice) -> Float64:
        """dR_ij = R_ij (Σ_k p_k R_ik c_ik − c_ij) along v, c_ij = (x_i − x_j)·(v_i − v_j)/ε²."""
        products = np.sum(x * v, axis=1)
        change = products[rows, None] + products
        change -= np.hstack([x[rows], v[rows]]) @ np.hstack([v, x]).T
        change /= -(self.bandwidth**2)
        change *= ratio
        change -= ratio * (change @ p)
        return change


def estimator(
    x: ArrayLike, bandwidth: float | None = None, weights: ArrayLike | None = None
) -> Entropy:
    """The default estimator for particles x (N, D) of weights (N,).

    `SpacingEntropy` on the line; in more dimensions, or where a bandwidth is given, `BlobEntropy` with that bandwidth, by
    default ``reference_bandwidth(x, weights)``.
    """
    positions, _ = _particles(x, None)
    if bandwidth is None and positions.shape[1] == 1:
        return SpacingEntropy()
    return BlobEntropy(reference_bandwidth(positions, weights) if bandwidth is None else bandwidth)


def reference_bandwidth(x: ArrayLike, weights: ArrayLike | None = None) -> float:
    """The bandwidth that estimates a Gaussian density from N independent draws with the least mean square error.

        ε = s (4 / ((D + 2) N))^(1/(D + 4)),     s² = Σ_i p_i |x_i − mean|² / D,     N counted as 1/Σ p_i²

    A measure with several narrow peaks needs a smaller one, of the width of the peaks.

    Raises
    ------
    ValueError
        As in `BlobEntropy`, and where all particles coincide.

    References
    ----------
    Silverman, Density Estimation for Statistics and Data Analysis, 1986, section 4.3.
    """
    positions, p = _centered(x, weights)
    dimension = positions.shape[1]
    spread = math.sqrt(float(p @ np.sum(positions**2, axis=1)) / dimension)
    if spread == 0.0:
        raise ValueError("x must have distinct particles, got coinciding ones; give a bandwidth")
    return spread * float(4.0 * np.sum(p**2) / (dimension + 2)) ** (1.0 / (dimension + 4))


def _jumps(density: Float64) -> Float64:
    """Differences from each gap to the next, with zero outside."""
    return np.diff(density, prepend=0.0, append=0.0)


def _check_apart(gaps: Float64) -> None:
    if np.any(gaps == 0.0):
        raise ValueError(
            "x must have distinct particles, got coinciding ones: the entropy is infinite and has no gradient"
        )


def _particles(x: ArrayLike, weights: ArrayLike | None) -> tuple[Float64, Float64]:
    """Positions (N, D) and weights (N,)."""
    positions = array("x", x).astype(np.float64, copy=False)
    if positions.ndim != 2 or positions.size == 0:
        raise wrong_shape("x", "(N, D) with N, D ≥ 1", positions.shape)
    finite_array("x", positions)
    return positions, probabilities("weights", weights, (len(positions),))


def _centered(x: ArrayLike, weights: ArrayLike | None) -> tuple[Float64, Float64]:
    """Positions (N, D) relative to their mean, so that sums of products lose no digits, and weights (N,)."""
    positions, p = _particles(x, weights)
    return positions - p @ positions, p


def _direction(v: ArrayLike, shape: tuple[int, ...]) -> Float64:
    direction = finite_array("v", v).astype(np.float64, copy=False)
    if direction.shape != shape:
        raise wrong_shape("v", f"{shape}, as x", direction.shape)
    return direction


def _dtype(x: ArrayLike) -> np.dtype[Any]:
    """float32 for float32, float64 for other types."""
    dtype = np.asarray(x).dtype
    return np.dtype(np.float32 if dtype == np.float32 else np.float64)
