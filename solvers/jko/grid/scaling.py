"""Entropic transport on a grid by scaling: the Gaussian kernel in the log domain and the iterations of a minimising movement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from solvers._kernels.log_sums import weak_log_sums
from solvers._support.memory import fitting
from solvers.jko.grid.anderson import Anderson
from solvers.jko.grid.energy import GridEnergy, log_total
from solvers.measures.quantile_functions import Float64
from solvers.measures.representations import Grid

#: A sum below this fraction of its largest possible term has lost terms to underflow, and is computed again in the log domain.
_WEAK = 1e-250
#: Iterations for a measure's own potential: the mass times the error of its logarithm at the end, and where they begin; where
#: only the potential's mean is of use, a share of the residual, and at most.
_SELF_TOLERANCE, _START_TOLERANCE = 1e-14, 1e-3
_MEAN_SHARE, _MEAN_TOLERANCE = 1e-3, 1e-8
#: Below this error they are those of a linear equation.
_CLOSE = 0.1
_SELF_ITERATIONS = 100
#: A residual below which it is asked what is tolerated.
_COARSE_RESIDUAL = 1e-4
#: Cut-off of E' in the start of the iterations: that of a power of the density is unbounded in tails without mass.
_LONGEST_PUSH = 500.0


class GaussianKernel:
    """K_cd = exp(−|x_c − x_d|²/ε) between the centers of cells: one matrix per axis, applied to logarithms of any size.

    Raises
    ------
    ValueError
        For matrices that do not fit the memory.
    """

    def __init__(self, grid: Grid, regularization: float) -> None:
        longest = max(grid.masses.shape)
        fitting("grid", f"{longest} cells along an axis", longest, longest)
        self._logs = [-(np.subtract.outer(x, x) ** 2) / regularization for x in grid.centers]
        self._matrices = [np.exp(log) for log in self._logs]
        self._is_narrow = True  # no sum in the plane has underflowed so far

    def __call__(self, log_values: Float64) -> Float64:
        """log Σ_d K_cd exp(l_d), shaped like l; −∞ is the logarithm of 0."""
        if log_values.ndim == 1:
            return self._along(0, log_values[None])[0]
        if self._is_narrow:
            top = log_values.max()
            first, second = self._matrices
            sums = first @ np.exp(log_values - top) @ second
            if sums.min() >= _WEAK:
                result: Float64 = np.log(sums) + top
                return result
            self._is_narrow = False
        across = self._along(1, log_values)
        return np.ascontiguousarray(self._along(0, np.ascontiguousarray(across.T)).T)

    def _along(self, axis: int, lines: Float64) -> Float64:
        """The matrix of an axis, which is symmetric, times each row."""
        top = lines.max(axis=1, keepdims=True)
        top[top == -np.inf] = 0.0
        sums = np.exp(lines - top) @ self._matrices[axis]
        if sums.min() >= _WEAK:
            return np.log(sums) + top
        with np.errstate(divide="ignore"):
            result = np.log(sums)
        result += top
        weak_log_sums(self._logs[axis], lines, sums, _WEAK, result)
        return result


def self_potential(
    kernel: GaussianKernel, log_masses: Float64, start: Float64, tolerance: float = _SELF_TOLERANCE
) -> Float64:
    """log d with d · K d = m; −∞ where m = 0. Its mean over m has an error of the square of the tolerance.

    In d ← √(d m / K d) the error of log d at least halves. Close to the solution it is multiplied by ½(1 − S), S having
    eigenvalues from 0 to 1: Chebyshev's iteration, which takes less than half as many steps.
    """
    masses, occupied = np.exp(log_masses), log_masses > -np.inf
    log_d = np.where(occupied, start, -np.inf)
    step, share = np.zeros_like(masses), 0.0
    for _ in range(_SELF_ITERATIONS):
        mismatch = np.zeros_like(masses)
        np.subtract(log_masses, log_d + kernel(log_d), out=mismatch, where=occupied)
        size = float(masses.ravel() @ np.abs(mismatch).ravel())
        if size <= tolerance or size > _CLOSE:
            step, share = 0.5 * mismatch, 0.0
        elif share == 0.0:
            step, share = mismatch / 1.5, 1.0 / 3.0
        else:
            following = 1.0 / (6.0 - share)
            step = following * share * step + 4.0 * following * mismatch
            share = following
        log_d = log_d + step
        if size <= tolerance:
            break
    return log_d


@dataclass(frozen=True)
class Scaled:
    """The result of the iterations.

    log_masses of μ. divergence : S_ε(μ, ν); without debiasing OT_ε(μ, ν) − OT_ε(ν, ν). residual : L1 norm by which the
    equations of the minimiser are violated. tolerance : that was asked for.
    """

    log_masses: Float64
    divergence: float
    residual: float
    iterations: int
    converged: bool
    tolerance: float


class ProximalScaling:
    """μ that minimises E[μ] + S_ε(μ, ν)/(2 pace) over the measures on the grid of ν.

    The entropic plan between μ and ν is diag(a) K diag(b), that between μ and itself diag(d) K diag(d), and in S_ε the former
    costs ε(log a, μ) + ε(log b, ν), the latter takes off ε(log d, μ). So, with σ = 2 pace/ε,

        d · Kd = μ,    b · Kᵀa = ν,    a = μ/Kb,    μ = argmin_m σE(m) + KL(m | d · Kb)

    The iteration updates log b, log d and the nonlocal part of E' together. Without debiasing d is the volume of the cells.
    """

    def __init__(
        self, energy: GridEnergy, grid: Grid, regularization: float, pace: float, debias: bool
    ) -> None:
        self._energy, self._debias, self._regularization = energy, debias, regularization
        self._scale = 2.0 * pace / regularization
        self._kernel = GaussianKernel(grid, regularization)
        self._nu, self._log_volumes = grid.masses, np.log(grid.volumes)
        self._occupied = grid.masses > 0
        self._multiplier = 0.0  # of the iteration before
        with np.errstate(divide="ignore"):
            self._log_nu = np.log(grid.masses)
        self._log_d_nu = self._own_potential(self._log_nu, 0.5 * self._log_nu, np.inf)

    def solve(self, tolerance: float | Callable[[Float64], float], max_iterations: int) -> Scaled:
        """From μ = ν, slightly blurred, until the residual is at most the tolerance, which may depend on the masses of μ."""
        x, accelerate = self._start(), Anderson()
        least, best = np.inf, x
        asked = _COARSE_RESIDUAL if callable(tolerance) else tolerance
        for iteration in range(1, max_iterations + 1):  # noqa: B007
            # A step of Anderson acceleration may be far too long.
            with np.errstate(over="ignore", invalid="ignore"):
                image, residual, weights, mu = self._iterate(x)
                if residual < least:
                    least, best = residual, x
                if callable(tolerance) and residual <= _COARSE_RESIDUAL:
                    asked = tolerance(mu)
                if residual <= asked:
                    break
                x = accelerate.following(x, image, weights)
        return self._end(best, least, iteration, asked)

    def _own_potential(self, log_masses: Float64, start: Float64, residual: float) -> Float64:
        """log d of masses, of which the mean is of use, beside a residual of the whole."""
        share = max(_SELF_TOLERANCE, min(_MEAN_TOLERANCE, _MEAN_SHARE * residual))
        return self_potential(self._kernel, log_masses, start, share)

    def _start(self) -> Float64:
        """log b = log d + ½σE' of ν; σE' alone would move mass by −pace ∇E', too far in a long step; d is that of a blurred ν."""
        blurred = self._kernel(self._log_nu)
        blurred -= log_total(blurred)
        nu = self._nu[self._occupied]
        push = 0.5 * self._scale * self._energy.variation(self._nu)[self._occupied]
        push = np.clip(push - nu @ push, -_LONGEST_PUSH, _LONGEST_PUSH)
        parts = [self._log_d_nu[self._occupied] + push]
        if self._debias:
            own = self_potential(self._kernel, blurred, 0.5 * blurred, _START_TOLERANCE)
            parts.append(own.ravel())
        if self._energy.is_nonlocal:
            parts.append(self._scale * self._energy.nonlocal_variation(self._nu).ravel())
        return np.concatenate(parts)

    def _unpack(self, x: Float64) -> tuple[Float64, Float64, Float64]:
        """log b, log d and the scaled nonlocal part, each shaped like the grid."""
        shape, occupied = self._nu.shape, np.count_nonzero(self._occupied)
        log_b = np.full(shape, -np.inf)
        log_b[self._occupied] = x[:occupied]
        rest = x[occupied:].reshape(-1, *shape)
        log_d = rest[0] if self._debias else self._log_volumes
        nonlocal_part = rest[-1] if self._energy.is_nonlocal else np.zeros(shape)
        return log_b, log_d, nonlocal_part

    def _iterate(self, x: Float64) -> tuple[Float64, float, Float64, Float64]:
        """The image of x, the L1 residual of the equations at x, the weights of the entries, and the masses of μ."""
        log_b, log_d, pull = self._unpack(x)
        log_kb = self._kernel(log_b)
        local = log_kb + log_d - self._scale * self._energy.potential - pull
        log_mu, self._multiplier = self._energy.log_prox(local, self._scale, self._multiplier)
        if not np.isfinite(self._multiplier):
            self._multiplier = 0.0
        mu = np.exp(log_mu)
        following = self._log_nu - self._kernel(log_mu - log_kb)
        parts, weights = [following[self._occupied]], [self._nu[self._occupied]]
        change = log_b[self._occupied] - parts[0]
        residual = float(np.sum(weights[0] * np.abs(np.expm1(change))))
        if self._debias:
            log_self = log_d + self._kernel(log_d)
            mismatch = log_mu - log_self
            residual += float(np.sum(np.abs(np.exp(log_self) - mu)))
            parts.append((log_d + 0.5 * mismatch).ravel())
            weights.append(mu.ravel())
        if self._energy.is_nonlocal:
            target = self._scale * self._energy.nonlocal_variation(mu)
            residual += float(np.sum(mu * np.abs(target - pull)))
            parts.append(target.ravel())
            weights.append(mu.ravel())
        return np.concatenate(parts), residual, np.concatenate(weights), mu

    def _end(self, x: Float64, residual: float, iterations: int, tolerance: float) -> Scaled:
        """μ = a · Kb with b = ν/Kᵀa, which has the mass of ν to rounding whatever the residual, and its divergence."""
        log_b, log_d, pull = self._unpack(x)
        log_kb = self._kernel(log_b)
        local = log_kb + log_d - self._scale * self._energy.potential - pull
        log_a = self._energy.log_prox(local, self._scale, self._multiplier)[0] - log_kb
        log_b = self._log_nu - self._kernel(log_a)
        log_mu = log_a + self._kernel(log_b)
        d_nu = self._own_potential(self._log_nu, self._log_d_nu, residual)
        if self._debias:
            log_d, reference = self._own_potential(log_mu, log_d, residual), d_nu
        else:
            reference = 2.0 * d_nu - self._log_volumes
        divergence = _mean(np.exp(log_mu), log_a, log_d) + _mean(self._nu, log_b, reference)
        divergence *= self._regularization
        return Scaled(log_mu, divergence, residual, iterations, residual <= tolerance, tolerance)


def _mean(masses: Float64, values: Float64, reference: Float64) -> float:
    """Σ m (v − r) over cells with mass."""
    occupied = masses > 0
    return float(np.sum(masses[occupied] * (values[occupied] - reference[occupied])))
