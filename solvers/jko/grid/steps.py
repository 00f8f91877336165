"""Minimising movements of densities on a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from solvers._support.arguments import (
    choice,
    count,
    flag,
    instance,
    real,
    refusal,
    settle,
    wrong_shape,
)
from solvers._support.memory import available_memory
from solvers._support.threads import one_blas_thread
from solvers.grid_transport.displacement import Displacement
from solvers.jko.grid import concentration
from solvers.jko.grid.dual_step import DualStep, Movement
from solvers.jko.grid.energy import GridEnergy
from solvers.jko.grid.result import GridStep, grid_step
from solvers.jko.grid.scaling import ProximalScaling
from solvers.jko.proximal_result import JKOError, check_pace
from solvers.jko.two_steps import TwoSteps
from solvers.measures.energies import Energy
from solvers.measures.quantile_functions import Float64
from solvers.measures.representations import Grid

METHODS = ("exact", "entropic")
#: Of the gap, relative to the decrease of a step: the distance to the minimiser is then about 1e-3 of what the step moves.
_TOLERANCE = 1e-6
#: Of the entropic scheme: by default the residual may cost this share of the decrease of the energy in the step, but its L1 norm
#: need not be below the other.
_SHARE, _LEAST_RESIDUAL = 1e-3, 1e-9
_ITERATIONS = {"exact": 200, "entropic": 2000}
#: Of the energy inequality, relative to the sizes of the energy's terms.
_ROUNDING = 1e-10
#: Of the transport cost, relative to the square of a cell's side.
_ROUNDING_OF_COST = 1e-14
#: Bytes per cell: of the segments of an axis, and of the other arrays.
_BYTES_PER_AXIS, _BYTES = 100, 500


@dataclass(frozen=True)
class GridJKO:
    """Jordan–Kinderlehrer–Otto scheme for ∂_t μ = η ∇·(μ ∇E'[μ]) on an interval, a rectangle or a box, without flux across its
    boundary:

        μ_{n+1} = argmin E[μ] + D(μ, μ_n)/(2 η τ),    D ≈ W2²

    Mass is conserved to rounding, positivity exactly, and the energy inequality E[μ_{n+1}] + D/(2 η τ) ≤ E[μ_n] holds at every
    step (``excess`` ≤ 0), up to the `tolerance`.

    Parameters
    ----------
    step_size : float
        τ, in units of time; the error of the scheme is first order in it, with steps that continue the one before second order.
    regularization : float, optional
        Of "entropic": ε, an area (a squared length): the kernel exp(−|x − y|²/ε) has variance ε/2. By default 2h² with h the
        largest side of a cell, the smallest value at which the sums over the grid are integrals to 8 digits (their error is about
        2 exp(−π²ε/h²)); at least h²/2, below which mass does not leave its cell.
    learning_rate : float
        η.
    debias : bool
        Of "entropic": False: OT_ε in place of S_ε, with the bias described in the notes.
    tolerance : float, optional
        Of "exact": tolerated gap between the primal and the dual value, relative to the decrease of E + D/(2 η τ) in the step;
        by default 1e-6, at least 1e-4 for `Congestion` without diffusion.
        Of "entropic": tolerated L1 norm of the residual of the minimiser's equations; by default such that it costs at most 1e-3
        of the step's decrease of energy, at least 1e-9.
    max_iterations : int, optional
        Limit of Newton's iterations on a grid, by default 200, or of the scaling iterations, by default 2,000.
    require_convergence : bool
        False: return what was reached, marked ``converged=False``, in place of raising.
    method : {"exact", "entropic"}, optional
        By default "exact" for cells of one size, if neither `regularization` nor `debias` is given, else "entropic", which takes
        no constraints (`Congestion`, `Domain`) and at most two dimensions.

    Raises
    ------
    ValueError
        For a parameter out of range.

    Notes
    -----
    **exact.** Transport at the quadratic cost from the density of the cells, linear in each, to their centers, axis by axis:

        D = min ∫ |x − y|² − d h²/12,    max_φ Σ μ_n φ^c − E*(−φ),    φ^c = cell means of min_y |x − y|²/(2 η τ) − φ

    The transforms φ^c are lower envelopes of parabolas, O(n) line by line, as in the back-and-forth method; the concave dual is
    maximised by Newton's method with a multigrid cycle, from the solutions on coarser grids. The masses are the image of μ_n
    under the optimal transport: fronts stay sharp, and nothing is blurred but by the reconstruction of the density in the
    cells, an error of second order in h. Nonlocal terms (`Interaction`, `Functional`) are linear in fixed-point iterations of
    the whole, which converge for τ below the inverse of their curvature.

    *Second order.* ``step(energy, grid, earlier=…)``, given the step that led to the density, is one of size τ' = 2τ/3 from that
    density moved on along its displacement by a share β = 1/3 (for equal steps): the two-step backward differentiation formula
    by geodesic extrapolation, at the cost of a step of first order. The density is moved conservatively, with an error of
    second order in h. One step of first order to start with leaves the error of second order.

    *Limits.* In two dimensions and more a long step of an energy with U'(0) = −∞ (`Entropy`, fast diffusion) from a density with
    vacuum may need more iterations than the default: take a few short steps first.

    **entropic.** D = S_ε with masses at the centers of cells,

        S_ε(μ, ν) = OT_ε(μ, ν) − ½ OT_ε(μ, μ) − ½ OT_ε(ν, ν),
        OT_ε(μ, ν) = min { Σ_cd P_cd |x_c − x_d|² + ε KL(P | dx dx) :  P ≥ 0,  P 1 = μ,  Pᵀ 1 = ν }

    *Bias.* For close measures S_ε is W2² up to a relative O((ε/s²)²), whatever τ is, s being the width over which the density
    varies; −(ε/s²)²/32 for the spread of a Gaussian of standard deviation s. Plain OT_ε is, to first order,
    W2² + (ε/2)(Ent μ + Ent ν): each step blurs with the variance ε/2, which is a diffusion ∂_t μ = ε/(4τ) Δμ on top of the flow.
    It is small only for ε ≪ 4ητT, so on a grid only for h² ≪ 4ητT.

    *Cost.* An iteration takes three products with K, O(n²) on the line and O(n1 n2 (n1 + n2)) in the plane. Their number grows
    with 2ητ/ε times the strength of the energy: linearly without acceleration, about like its square root with it.

    *Limits.* A flow without diffusion that transports edges or contracts below √ε cannot be resolved: the iterations stall, and
    the step raises.

    References
    ----------
    Jordan, Kinderlehrer & Otto 1998; Gallouët, Natale & Todeschini, arXiv:2209.14622 (second order by geodesic extrapolation);
    Jacobs, Lee & Léger, arXiv:2011.08151, and Jacobs & Léger, arXiv:1905.12154 (the dual by
    transforms); Kitagawa, Mérigot & Thibert, arXiv:1603.05579 (Newton's method for transport to points); Peyré, arXiv:1502.06216;
    Chizat, Peyré, Schmitzer & Vialard, arXiv:1607.05816 (scaling); Feydy et al., arXiv:1810.08278 (S_ε is positive and convex);
    Janati, Cuturi & Gramfort, arXiv:2006.02575 (its scaling).

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
    tolerance: float | None = None
    max_iterations: int | None = None
    require_convergence: bool = True
    method: str | None = None

    def __post_init__(self) -> None:
        for name in ("step_size", "learning_rate", "tolerance", "regularization"):
            value = getattr(self, name)
            if value is not None or name in ("step_size", "learning_rate"):
                settle(self, **{name: real(name, value, above=0)})
        check_pace(self)
        if self.max_iterations is not None:
            settle(self, max_iterations=count("max_iterations", self.max_iterations))
        if self.method is not None:
            settle(self, method=choice("method", self.method, METHODS))
        settle(
            self,
            require_convergence=flag("require_convergence", self.require_convergence),
            debias=flag("debias", self.debias),
        )
        if self.method == "exact" and self.regularization is not None:
            raise refusal("regularization", "None for the method 'exact'", self.regularization)

    def step(
        self,
        energy: Energy,
        grid: Grid,
        earlier: GridStep | None = None,
        earlier_step_size: float | None = None,
    ) -> GridStep:
        """One step of the energy's flow from μ_n, over a time τ.

        Parameters
        ----------
        energy : Energy
        grid : Grid
            μ_n.
        earlier : GridStep, optional
            The step that led to it, by the method "exact": this one is then of second order.
        earlier_step_size : float, optional
            Its τ, by default that of this one; at least τ/2.

        Raises
        ------
        ValueError
            For an energy not available on the grid, a density that violates a constraint of the energy, a regularization below
            h²/2, or a grid too large for the memory available.
        JKOError
            When the minimiser is not reached within max_iterations; where mass concentrates in a cell in spite of diffusion, as
            in a blow-up.
        FloatingPointError
            Where the energy or the first variation of a `Functional` is not finite.
        """
        method = self.method_on(instance("grid", grid, Grid))
        two = self._two(grid, earlier, earlier_step_size, method)
        check_memory(grid)
        with one_blas_thread():  # products this small cost more on several
            on_grid = GridEnergy(energy, grid)
            if method == "exact":
                found, failure = self._exact(energy, on_grid, grid, earlier, two)
            else:
                found, failure = self._entropic(energy, on_grid, grid)
        if self.require_convergence and failure:
            raise JKOError(f"grid step: {failure}")
        return found

    def _two(
        self, grid: Grid, earlier: GridStep | None, earlier_step_size: float | None, method: str
    ) -> TwoSteps | None:
        if earlier is None:
            if earlier_step_size is not None:
                raise refusal(
                    "earlier_step_size", "None where there is no earlier step", earlier_step_size
                )
            return None
        instance("earlier", earlier, GridStep, "the step that led to the grid")
        if method != "exact" or earlier.displacement is None:
            raise ValueError(
                "earlier must be None for the method 'entropic', got a step; use method='exact' on cells of one size for both"
            )
        if earlier.state.masses.shape != grid.masses.shape:
            raise wrong_shape("earlier.state", grid.masses.shape, earlier.state.masses.shape)
        two = TwoSteps.of(self.step_size, earlier_step_size)
        apart = float(np.abs(earlier.state.masses - grid.masses).sum())
        moved = any(map(np.not_equal, *map(np.concatenate, (earlier.state.edges, grid.edges))))
        if moved or not apart <= _ROUNDING:
            raise ValueError(
                "earlier must be the step that led to the grid, got one to other "
                f"{'edges' if moved else 'masses'}; its state is the grid of the next step"
            )
        return two

    def method_on(self, grid: Grid) -> str:
        """The method of steps on a grid like this one.

        Raises
        ------
        ValueError
            For one that the method asked for does not take.
        """
        if self.method == "exact" and not grid.is_regular:
            raise ValueError(
                "cells must be of one size for the method 'exact', got different widths; use method='entropic'"
            )
        entropic = self.regularization is not None or not self.debias or not grid.is_regular
        method = self.method or ("entropic" if entropic else "exact")
        if method == "entropic" and grid.dimension > 2:
            raise ValueError(
                f"grid must have 1 or 2 dimensions for the method 'entropic', got {grid.dimension}; "
                "use method='exact' on cells of one size"
            )
        return method

    def _exact(
        self,
        given: Energy,
        energy: GridEnergy,
        grid: Grid,
        earlier: GridStep | None,
        two: TwoSteps | None,
    ) -> tuple[GridStep, str]:
        """The step, and what failed."""
        pace, source, allowance, gone = self.learning_rate * self.step_size, grid, 0.0, None
        if earlier is not None and two is not None:
            gone = earlier.displacement
            assert gone is not None
            pace = self.learning_rate * two.shorter
            moved = gone.continued(grid.masses, two.beyond)
            source = Grid(grid.edges, moved / moved.sum())
            allowance = two.beyond**2 * float(np.sum(grid.masses * gone.squares)) / (2.0 * pace)
        tolerance = _TOLERANCE if self.tolerance is None else self.tolerance
        limit = self.max_iterations or _ITERATIONS["exact"]
        before = energy.value(source.masses)
        end = DualStep(energy, source, pace, tolerance, limit).solve()
        state = Grid(grid.edges, end.masses)
        after = energy.value(state.masses)
        excess = after + end.cost / (2.0 * pace) - before
        slack = _ROUNDING * energy.size(source.masses) + tolerance * max(before - after, 0.0)
        failure = end.failure
        if not failure and not excess <= slack:
            failure = f"the energy inequality fails by {excess:.1e}: " + (
                f"rounding of the transport cost; give a larger step_size than {self.step_size:g}"
                if excess <= _ROUNDING_OF_COST * max(_sides(grid)) ** 2 / pace
                else f"a stationary point, but no minimiser; give a smaller step_size than {self.step_size:g}"
            )
        failure = concentration.reason(given, grid, state, pace, self.step_size, failure)
        assert end.phi is not None
        displacement = Displacement.of_potential(_sides(grid), end.phi, pace)
        if two is not None and gone is not None:
            at_state = energy.value(grid.masses)
            excess, before = excess + before - at_state - allowance, at_state
            displacement = displacement.after(gone, two.beyond)
            end = replace(end, cost=float(np.sum(end.masses * displacement.squares)))
        found = grid_step(before, after, excess, end, state, failure)
        return replace(found, displacement=displacement), failure

    def _entropic(self, given: Energy, energy: GridEnergy, grid: Grid) -> tuple[GridStep, str]:
        """The step, and what failed."""
        if energy.is_constrained:
            raise ValueError(
                "energy must have no constraints for the method 'entropic', got Congestion or Domain; use method='exact' on "
                "cells of one size"
            )
        epsilon = self._regularization(grid)
        pace = self.learning_rate * self.step_size
        limit = self.max_iterations or _ITERATIONS["entropic"]
        before = energy.value(grid.masses)

        def unit(after: float) -> float:
            """A residual times this is what it may cost."""
            return abs(before) + abs(after) + 0.5 * epsilon / pace

        def tolerated(masses: Float64) -> float:
            after = energy.value(masses)
            return max(_SHARE * max(before - after, 0.0) / unit(after), _LEAST_RESIDUAL)

        solver = ProximalScaling(energy, grid, epsilon, pace, self.debias)
        end = solver.solve(tolerated if self.tolerance is None else self.tolerance, limit)
        state = Grid(grid.edges, np.exp(end.log_masses))
        after = energy.value(state.masses)
        excess = after + end.divergence / (2.0 * pace) - before
        slack = 10.0 * end.tolerance * unit(after)
        failure = ""
        if not end.converged:
            failure = f"a residual of {end.residual:.1e} remains, {end.tolerance:.1e} was asked for"
        elif not excess <= slack:
            failure = (
                f"the energy inequality fails by {excess:.1e}: a stationary point, but no minimiser"
            )
        if failure:
            failure += (
                f"; give method='exact' on cells of one size, a larger tolerance than {end.tolerance:.1e}, a smaller step_size, "
                f"a larger regularization than {epsilon:.3g}, or a larger max_iterations than {limit}"
            )
        failure = concentration.reason(given, grid, state, pace, self.step_size, failure)
        end_of_all = Movement(
            state.masses, None, end.divergence, np.nan, end.residual, end.iterations, failure
        )
        return grid_step(before, after, excess, end_of_all, state, failure), failure

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


def _sides(grid: Grid) -> tuple[float, ...]:
    return tuple(float(axis[-1] - axis[0]) / (len(axis) - 1) for axis in grid.edges)


def step_bytes(shape: tuple[int, ...]) -> int:
    """Estimated bytes of a step on a grid of this shape."""
    return math.prod(shape) * (_BYTES + len(shape) * _BYTES_PER_AXIS)


def check_memory(grid: Grid) -> None:
    """Raise a ValueError, with the amount, for a grid on which a step does not fit the memory."""
    amount = step_bytes(grid.masses.shape)
    available = available_memory()
    if available is not None and amount > available:
        cells = " × ".join(map(str, grid.masses.shape))
        raise ValueError(
            f"grid must be smaller, got {cells} cells: a step takes {amount / 1e9:.3g} GB, "
            f"{available / 1e9:.3g} GB are available"
        )
