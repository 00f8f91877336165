"""Results of the proximal steps on grids and quantiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from solvers._support.arguments import count, flag, real, refusal, settle
from solvers._support.reprs import compact_repr


class JKOError(RuntimeError):
    """A minimising movement was not solved to its tolerance, for particles not even by shorter sub-steps.

    Examples
    --------
    >>> heat = solvers.energies.Entropy(1.0)
    >>> impatient = solvers.QuantileJKO(step_size=1.0, max_iterations=1)
    >>> impatient.step(heat, solvers.Quantiles([0.0, 0.1, 1.0]))
    Traceback (most recent call last):
    ...
    solvers.jko.proximal_result.JKOError: ...
    """


@dataclass(frozen=True, eq=False)
class ProximalResult:
    """One step of argmin E[μ] + D(μ, μ_n)/(2 η τ), D a squared distance.

    energy_before, energy : E before and after. transport_cost : D between both states. excess : E after + D/(2 η τ) − E before,
    the certificate: at most 0 in exact arithmetic. residual : of the optimality conditions. iterations : of the inner solver.
    """

    energy_before: float
    energy: float
    transport_cost: float
    excess: float
    residual: float
    iterations: int
    converged: bool

    __repr__ = compact_repr


#: of ητ; further out 1/ητ, or that of a step halved a few times, may not be a number
PACES = (1e-290, 1e290)


def check_pace(scheme: Any) -> None:
    """Refuse a product of learning rate and step size that is lost to underflow or overflow."""
    least, most = PACES
    pace = scheme.learning_rate * scheme.step_size
    if not least <= pace <= most:
        raise refusal("learning_rate * step_size", f"between {least:g} and {most:g}", pace)


def settle_settings(scheme: Any) -> None:
    """Check the settings common to all proximal schemes."""
    for name in ("step_size", "learning_rate", "tolerance"):
        settle(scheme, **{name: real(name, getattr(scheme, name), above=0)})
    check_pace(scheme)
    settle(
        scheme,
        max_iterations=count("max_iterations", scheme.max_iterations),
        require_convergence=flag("require_convergence", scheme.require_convergence),
    )
