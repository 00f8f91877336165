"""Minimising movements of densities on a grid, by entropic transport."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from solvers._support.arguments import flag, instance, real, settle
from solvers._support.reprs import compact_repr
from solvers.jko.grid.energy import GridEnergy
from solvers.jko.grid.scaling import ProximalScaling
from solvers.jko.proximal_result import JKOError, ProximalResult, settle_settings
from solvers.measures.energies import Energy
from solvers.measures.representations import Grid


@dataclass(frozen=True, eq=False)
class GridStep(ProximalResult):
    """A step of `GridJKO`. state : the new density. transport_cost : the Sinkhorn divergence S_ε, which is W2² up to O(ε²).

    Examples
    --------
    Mass is kept, and the energy inequality holds:

    >>> edges = np.linspace(-2, 2, 101)
    >>> start = solvers.Grid.from_density(edges, lambda x: np.exp(-(x[:, 0] ** 2) / 0.08))
    >>> step = solvers.GridJKO(step_size=0.005).step(solvers.energies.Entropy(1.0), start)
    >>> abs(step.state.masses.sum() - 1) < 1e-12, step.energy < step.energy_before
    (np.True_, True)
    """

    state: Grid

    __repr__ = compact_repr


@dataclass(frozen=True)
class GridJKO:
    """Jordan–Kinderlehrer–Otto scheme for ∂_t μ = η ∇·(μ ∇E'[μ]) on an interval or a rectangle, without flux across its boundary:

        μ_{n+1} = argmin E[μ] + S_ε(μ, μ_n)/(2 η τ),    S_ε(μ, ν) = OT_ε(μ, ν) − ½ OT_ε(μ, μ) − ½ OT_ε(ν, ν),
        OT_ε(μ, ν) = min { Σ_cd P_cd |x_c − x_d|² + ε KL(P | dx dx) :  P ≥ 0,  P 1 = μ,  Pᵀ 1 = ν }

    with masses at the centers of cells. Mass is conserved to rounding, positivity exactly, and the energy inequality
    E[μ_{n+1}] + S_ε/(2 η τ) ≤ E[μ_n] holds at every step (``excess`` ≤ 0), up to the `tolerance`.

    Parameters
    ----------
    step_size : float
        τ, in units of time; the error of the scheme is first order in it.
    regularization : float, optional
        ε, an area (a squared length): the kernel exp(−|x − y|²/ε) has variance ε/2. By default 2h² with h the largest side of a
        cell, the smallest value at which the sums over the grid are integrals to 8 digits (their error is about 2 exp(−π²ε/h²));
        at least h²/2, below which mass does not leave its cell.
    learning_rate : float
        η.
    debias : bool
        False: OT_ε in place of S_ε, with the bias described in the notes.
    tolerance : float
        Tolerated L1 norm of the residual of the minimiser's equations.
    max_iterations : int
        Limit of the scaling iterations.
    require_convergence : bool
        False: return what was reached, marked ``converged=False``, in place of raising.

    Raises
    ------
    ValueError
        For a parameter out of range.

    Notes
    -----
    *Bias.* For close measures S_ε is W2² up to a relative O((ε/s²)²), whatever τ is, s being the width over which the density
    varies; −(ε/s²)²/32 for the spread of a Gaussian of standard deviation s. Plain OT_ε is, to first order,
    W2² + (ε/2)(Ent μ + Ent ν): each step blurs with the variance ε/2, which is a diffusion ∂_t μ = ε/(4τ) Δμ on top of the flow.
    It is small only for ε ≪ 4ητT, so on a grid only for h² ≪ 4ητT.

    *Cost.* An iteration takes three products with K, O(n²) on the line and O(n1 n2 (n1 + n2)) in the plane. Their number grows
    with 2ητ/ε times the strength of the energy: linearly without acceleration, about like its square root with it.

    *Limits.* A flow without diffusion that transports edges or contracts below √ε cannot be resolved by a grid: the
    iterations stall, and the step raises. Use quantiles or particles there, or add a small `Entropy`.

    References
    ----------
    Jordan, Kinderlehrer & Otto 1998; Peyré, arXiv:1502.06216; Chizat, Peyré, Schmitzer & Vialard, arXiv:1607.05816 (scaling);
    Feydy et al., arXiv:1810.08278 (S_ε is positive and convex); Janati, Cuturi & Gramfort, arXiv:2006.02575 (its scaling).

    Examples
    --------
    The heat flow spreads a Gaussian of variance 0.04 by 2Tτ in the step; the implicit step spreads it a little less.

    >>> edges = np.linspace(-2, 2, 101)
    >>> start = solvers.Grid.from_density(edges, lambda x: np.exp(-(x[:, 0] ** 2) / 0.08))
    >>> step = solvers.GridJKO(step_size=0.005).step(solvers.energies.Entropy(1.0), start)
    >>> 0.04 < float(step.state.covariance()[0, 0]) < 0.05 + 0.0002
    True
    """

    step_size: float
    regularization: float | None = None
    learning_rate: float = 1.0
    debias: bool = True
    tolerance: float = 1e-9
    max_iterations: int = 2000
    require_convergence: bool = True

    def __post_init__(self) -> None:
        settle_settings(self)
        settle(self, debias=flag("debias", self.debias))
        if self.regularization is not None:
            settle(self, regularization=real("regularization", self.regularization, above=0))

    def step(self, energy: Energy, grid: Grid) -> GridStep:
        """One step of the energy's flow from μ_n, over a time τ.

        Raises
        ------
        ValueError
            For an energy not available on grids, or a regularization below h²/2.
        JKOError
            When the residual is above the tolerance after max_iterations.
        """
        instance("energy", energy, Energy, "for instance Potential(function)")
        epsilon = self._regularization(instance("grid", grid, Grid))
        pace = self.learning_rate * self.step_size
        on_grid = GridEnergy(energy, grid)
        scaling = ProximalScaling(on_grid, grid, epsilon, pace, self.debias)
        end = scaling.solve(self.tolerance, self.max_iterations)
        state = Grid(grid.edges, np.exp(end.log_masses))
        before, after = on_grid.value(grid.masses), on_grid.value(state.masses)
        excess = after + end.divergence / (2.0 * pace) - before
        slack = 10.0 * self.tolerance * (abs(before) + abs(after) + 0.5 * epsilon / pace)
        failure = ""
        if not end.converged:
            failure = (
                f"a residual of {end.residual:.1e} remains, {self.tolerance:.1e} was asked for"
            )
        elif not excess <= slack:
            failure = (
                f"the energy inequality fails by {excess:.1e}: a stationary point, but no minimiser"
            )
        if self.require_convergence and failure:
            raise JKOError(
                f"grid step: {failure}; give a smaller step_size, a larger regularization than {epsilon:.3g}, a larger "
                f"max_iterations than {self.max_iterations}, or an energy with more Entropy"
            )
        return GridStep(
            before, after, end.divergence, excess, end.residual, end.iterations, not failure, state
        )

    def _regularization(self, grid: Grid) -> float:
        side = max(float(np.diff(axis).max()) for axis in grid.edges)
        if self.regularization is None:
            return 2.0 * side**2
        if self.regularization < 0.5 * side**2:
            raise ValueError(
                f"regularization must be at least h²/2 = {0.5 * side**2:.3g} on cells of side h = {side:.3g}, "
                f"got {self.regularization:.3g}; with less, mass does not leave its cell"
            )
        return float(self.regularization)
