"""A minimising movement on a regular grid by the dual of exact transport."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from solvers.grid_transport.levels import doubled, doubled_centers, refined
from solvers.grid_transport.newton import Ascent, ascend, dual_value
from solvers.grid_transport.split import SplitTransport, conjugated
from solvers.jko.grid.anderson import Anderson
from solvers.jko.grid.energy import GridEnergy
from solvers.jko.grid.local import Bool, LocalConjugate, LocalEnergy
from solvers.measures.quantile_functions import Float64
from solvers.measures.representations import Grid

#: Fewest cells along an axis of a grid that is made coarser, and the gap on coarser grids, relative to the decrease: about what
#: the interpolation of the solution loses.
_COARSEST, _COARSE_TOLERANCE = 16, 1e-4
#: Rounding, relative to the sum of the sizes of an energy's terms.
_ROUNDING = 1e-13
#: Proximal iterations of a hard bound, each of a weight this much smaller than that before.
_BOUND_ITERATIONS, _LIGHTER = 12, 0.1
#: The least tolerance, and in place of _ROUNDING, under a hard bound without diffusion, where proximal steps end.
_BOUND_TOLERANCE, _BOUND_ROUNDING = 1e-4, 1e-8
#: Mass spread over the domain where there is vacuum.
_SPREAD = 1e-12
#: Iterations for the nonlocal part of the energy.
_NONLOCAL_ITERATIONS = 60


@dataclass(frozen=True)
class Movement:
    """The end of a step. phi : its potential. cost : D(μ, ρ). gap : between the primal and the dual value. residual : L1.
    failure : what was not reached, or "".
    """

    masses: Float64
    phi: Float64 | None
    cost: float
    gap: float
    residual: float
    iterations: int
    failure: str


@dataclass(frozen=True)
class _Problem:
    """min_ρ D(μ, ρ)/(2 pace) + Σ |c| U + Σ V ρ over allowed cells."""

    centers: tuple[Float64, ...]
    masses: Float64
    pace: float
    local: LocalEnergy
    potential: Float64
    allowed: Bool
    volume: float

    @property
    def conjugate(self) -> LocalConjugate:
        return LocalConjugate(self.local, self.potential, self.allowed, self.volume)

    def before(self) -> float:
        """The value at ρ = μ, where D = 0."""
        local = self.volume * self.local.value(self.masses / self.volume)
        return float(np.sum(local + self.potential * self.masses))

    def size(self) -> float:
        """Σ of the sizes of the terms of that value."""
        local = self.volume * self.local.size(self.masses / self.volume)
        return float(np.sum(local + np.abs(self.potential) * self.masses))

    def coarser(self) -> _Problem:
        """The problem on cells doubled along every axis."""
        share = doubled(self.allowed.astype(float))
        potential = doubled(np.where(self.allowed, self.potential, 0.0)) / np.maximum(share, 1.0)
        local, count = self.local, 2**self.masses.ndim
        if np.ndim(local.center) > 0:
            local = replace(local, center=doubled(np.asarray(local.center)) / count)
        return replace(
            self,
            centers=doubled_centers(self.centers),
            masses=doubled(self.masses),
            local=local,
            potential=potential,
            allowed=share > 0,
            volume=count * self.volume,
        )

    def explicit_potential(self) -> Float64:
        """φ = ψ^c − V with ψ = U'(μ) where there is mass: of a step that treats V implicitly, U explicitly."""
        density = np.minimum(self.masses / self.volume, self.local.bound)
        psi = np.where(self.masses > 0, self.local.slope(density), -np.inf)
        spread = conjugated(self.centers, psi, self.pace)
        return np.where(self.allowed, spread - self.potential, -np.inf)

    def local_potential(self) -> Float64:
        """φ = −U'(μ) − V, which serves short steps of energies whose U'(0) is finite."""
        density = np.minimum(self.masses / self.volume, self.local.bound)
        return np.where(self.allowed, -self.local.slope(density) - self.potential, -np.inf)


class DualStep:
    """μ that minimises E[μ] + D(μ_n, μ)/(2 pace), D of `SplitTransport`, by Newton's method for the dual.

    The dual is solved on coarser grids first. Nonlocal parts of the energy are fixed-point iterations, in which they are
    potentials. A hard bound without diffusion is the limit of proximal terms ½ δ ∫ (ρ − ρ_k)², ρ_k being the iterates.
    """

    def __init__(
        self, energy: GridEnergy, grid: Grid, pace: float, tolerance: float, max_iterations: int
    ) -> None:
        self._energy, self._grid, self._pace = energy, grid, pace
        self._tolerance, self._max_iterations = tolerance, max_iterations
        self._volume = float(grid.volumes.flat[0])
        self._masses = _without_vacuum(grid.masses, energy)
        self._transport = SplitTransport(grid.centers, self._masses, pace)
        self._iterations = 0

    def solve(self) -> Movement:
        """The minimiser."""
        if not self._energy.is_nonlocal:
            return self._movement(self._minimise(np.zeros_like(self._grid.masses), None), 0.0)
        pull, phi, accelerate = self._energy.nonlocal_variation(self._grid.masses), None, Anderson()
        before, size = self._energy.value(self._grid.masses), self._energy.size(self._grid.masses)
        for iteration in range(_NONLOCAL_ITERATIONS):
            end = self._minimise(pull, phi)
            image = self._energy.nonlocal_variation(end.masses)
            change = image - pull
            change -= float(np.sum(end.masses * change))
            mismatch = float(np.sum(end.masses * np.abs(change)))
            movement = self._movement(end, mismatch, iteration)
            value = self._energy.value(end.masses) + movement.cost / (2 * self._pace)
            allowed = np.sqrt(self._tolerance) * max(before - value, 0.0) + _ROUNDING * size
            if mismatch <= allowed or movement.failure:
                return movement
            following = accelerate.following(pull.ravel(), image.ravel(), end.masses.ravel())
            following = following.reshape(pull.shape)
            pull, phi = following, end.phi - (following - pull)
        return replace(
            movement,
            failure=f"the nonlocal part of the energy changes by {mismatch:.1e} in the last of {_NONLOCAL_ITERATIONS} "
            f"iterations, more than {allowed:.1e}; give a smaller step_size",
        )

    def _movement(self, end: Ascent, mismatch: float, iteration: int = 0) -> Movement:
        """The end of an iteration for the nonlocal part of the energy."""
        of_masses = float(np.sum(end.masses * np.where(end.masses > 0, end.phi, 0.0)))
        cost = 2 * self._pace * (self._transport.transform(end.phi) + of_masses)
        failure = ""
        if not end.converged:
            failure = f"a gap of {end.gap:.1e} remains between the primal and the dual value; {self._remedy(end, iteration)}"
        residual = end.residual + mismatch
        return Movement(
            end.masses, end.phi, max(cost, 0.0), end.gap, residual, self._iterations, failure
        )

    def _remedy(self, end: Ascent, iteration: int) -> str:
        """From the second on, iterations for the nonlocal part diverge where the step is long, however well each is solved.

        Diffusion into vacuum moves tiny masses far, where in more than one dimension Newton's method may stop.
        """
        if iteration > 0:
            return "give a smaller step_size, as the iterations for the nonlocal part of the energy diverge"
        reached = end.iterations >= self._max_iterations
        more = f"a larger max_iterations than {self._max_iterations}, " if reached else ""
        spreads = self._energy.local.is_singular and not self._energy.is_constrained
        other = "method='entropic', " if spreads and self._grid.dimension > 1 else ""
        return f"give {other}{more}a larger tolerance than {self._tolerance:.1e} or a smaller step_size"

    def _minimise(self, pull: Float64, phi: Float64 | None) -> Ascent:
        problem = _Problem(
            self._grid.centers,
            self._masses,
            self._pace,
            self._energy.local,
            self._energy.potential + pull,
            self._energy.allowed,
            self._volume,
        )
        if problem.local.is_strictly_convex:
            return self._ascend(problem, phi, _AllowedGap(problem, self._tolerance))
        if np.isfinite(problem.local.bound):
            return self._with_bound(problem, phi)
        return self._along_potential(problem)

    def _ascend(self, problem: _Problem, phi: Float64 | None, allowed: _AllowedGap) -> Ascent:
        start = self._start(problem) if phi is None else phi
        end = ascend(self._transport, problem.conjugate, start, allowed, self._max_iterations)
        self._iterations += end.iterations
        return end

    def _start(self, problem: _Problem) -> Float64:
        """The best of a few: by the dual's value."""
        starts = [problem.explicit_potential()]
        if not problem.local.is_singular:
            starts.append(problem.local_potential())
        if min(problem.masses.shape) >= _COARSEST:
            starts.append(self._prolonged(problem))
        transport = SplitTransport(problem.centers, problem.masses, problem.pace)
        return max(starts, key=lambda phi: dual_value(transport, problem.conjugate, phi))

    def _prolonged(self, problem: _Problem) -> Float64:
        """The maximiser on a coarser grid, interpolated."""
        coarse = problem.coarser()
        transport = SplitTransport(coarse.centers, coarse.masses, coarse.pace)
        allowed = _AllowedGap(coarse, max(_COARSE_TOLERANCE, self._tolerance))
        end = ascend(
            transport, coarse.conjugate, self._start(coarse), allowed, self._max_iterations
        )
        self._iterations += end.iterations
        push = refined(-end.phi - coarse.potential, problem.masses.shape)
        return np.where(problem.allowed, -push - problem.potential, -np.inf)

    def _along_potential(self, problem: _Problem) -> Ascent:
        """Without a local term φ = −V, and the transport is explicit."""
        phi = np.where(problem.allowed, -problem.potential, -np.inf)
        value = self._transport.transform(phi)
        if phi.ndim > 1:
            self._transport.update_slopes()
            value = self._transport.transform(phi)
        return Ascent(phi, self._transport.push(), value, 0.0, 0.0, 0, True)

    def _with_bound(self, problem: _Problem, phi: Float64 | None) -> Ascent:
        """ρ ≤ bound by proximal steps, from the weight at which the potential moves densities by about the bound."""
        span = float(np.ptp(problem.potential[problem.allowed]))
        bound = problem.local.bound
        weight = max(span, float(np.finfo(float).tiny)) / bound
        center = problem.masses / problem.volume
        tolerance = max(self._tolerance, _BOUND_TOLERANCE)
        allowed = _AllowedGap(problem, tolerance, _BOUND_ROUNDING)
        inner = _AllowedGap(problem, 0.1 * tolerance, 0.1 * _BOUND_ROUNDING)
        for _ in range(_BOUND_ITERATIONS):
            local = LocalEnergy(bound=bound, weight=weight, center=np.minimum(center, bound))
            end = self._ascend(replace(problem, local=local), phi, inner)
            phi, center = end.phi, end.masses / problem.volume
            push = np.where(problem.allowed, -phi - problem.potential, 0.0)
            most = bound * problem.volume
            parts = np.maximum(push, 0.0) * most - push * end.masses
            above = np.maximum(end.masses - most, 0.0)
            gap = float(np.sum(np.abs(parts)) + np.sum(above) * np.max(np.abs(push)))
            value = end.value
            if gap <= allowed(value):
                break
            weight *= _LIGHTER
        return replace(end, gap=gap, converged=gap <= allowed(value))


def _without_vacuum(masses: Float64, energy: GridEnergy) -> Float64:
    """Masses above 0 wherever they are allowed, if U'(0) = −∞: in more than one dimension iterations would be slow in vacuum."""
    is_reached = masses.ndim == 1 or not energy.local.is_singular
    if is_reached or np.all(masses[energy.allowed] > 0):
        return masses
    spread = _SPREAD / np.count_nonzero(energy.allowed)
    return np.where(energy.allowed, (1.0 - _SPREAD) * masses + spread, 0.0)


class _AllowedGap:
    """The largest gap at a value of the dual: the tolerance times the decrease from ρ = μ, and rounding."""

    def __init__(self, problem: _Problem, tolerance: float, rounding: float = _ROUNDING) -> None:
        self._before, self._rounding = problem.before(), rounding * problem.size()
        self._tolerance = tolerance

    def __call__(self, value: float) -> float:
        return self._tolerance * max(self._before - value, 0.0) + self._rounding
