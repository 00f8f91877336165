"""The result of a step on a grid."""

from __future__ import annotations

from dataclasses import dataclass, field

from solvers._support.reprs import compact_repr
from solvers.grid_transport.displacement import Displacement
from solvers.jko.grid.dual_step import Movement
from solvers.jko.proximal_result import ProximalResult
from solvers.measures.representations import Grid


@dataclass(frozen=True, eq=False)
class GridStep(ProximalResult):
    """A step of `GridJKO`.

    Attributes
    ----------
    energy_before, energy : float
        E before and after.
    transport_cost : float
        D of the method between the states, W2² up to O(h²) ("exact") or O(ε²) ("entropic").
    excess : float
        E after + D/(2 η τ) − E before with D the transport cost: at most 0 in exact arithmetic. Of second order
        E after + D̃/(2ητ') − E before − β² W2²/(2ητ'), D̃ being the cost from the extrapolated density and W2 the distance of the
        step before: at most 0 up to what the extrapolation errs by on the cells.
    residual : float
        L1 norm by which the equations of the minimiser are violated.
    iterations : int
        Of the inner solver.
    converged : bool
        Whether the residual is within the tolerance.
    state : Grid
        The new density.
    gap : float
        Of "exact", the proved bound by which E[μ] + D/(2 η τ) exceeds its minimum, nonlocal terms being linear; NaN for
        "entropic".
    displacement : object
        Of "exact": how far the mass at every place has come, from which a step of second order goes on.

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
    gap: float = float("nan")
    displacement: Displacement | None = field(default=None, repr=False)

    __repr__ = compact_repr


def grid_step(
    before: float, after: float, excess: float, end: Movement, state: Grid, failure: str
) -> GridStep:
    """The fields of the end of a step."""
    return GridStep(
        before,
        after,
        end.cost,
        excess,
        end.residual,
        end.iterations,
        not failure,
        state,
        end.gap,
    )
