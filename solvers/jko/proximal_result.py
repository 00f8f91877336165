"""What the proximal steps on grids and quantiles report."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

from solvers.energies import check_positive


class JKOError(RuntimeError):
    """A minimising movement was not solved to its tolerance, of particles not even by shorter sub-steps."""


@dataclass(frozen=True, eq=False)
class ProximalResult:
    """One step of argmin E[μ] + D(μ, μ_n)/(2 η τ), D a squared distance.

    energy_before, energy : E before and after. transport_cost : D between the two. excess : E after + D/(2 η τ) − E before, the
    certificate: at most 0 in exact arithmetic. residual : of the optimality conditions. iterations : of the inner solver.
    """

    energy_before: float
    energy: float
    transport_cost: float
    excess: float
    residual: float
    iterations: int
    converged: bool


def check_settings(
    step_size: float, learning_rate: float, tolerance: float, max_iterations: int
) -> None:
    """A ValueError for a setting that no proximal step can have."""
    check_positive("step_size", step_size)
    check_positive("learning_rate", learning_rate)
    check_positive("tolerance", tolerance)
    if not isinstance(max_iterations, Integral) or max_iterations < 1:
        raise ValueError(
            f"max_iterations: {max_iterations!r} came, an integer of at least 1 is needed"
        )
