"""Minimising movements as a flow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from solvers._support.annotations import Ge
from solvers.flow import SteppedFlow, Tolerance
from solvers.free_energy import FreeEnergy
from solvers.integrators import SchemeError
from solvers.jko.particles.report import JKOStep
from solvers.jko.particles.steps import JKO
from solvers.jko.proximal_result import JKOError
from solvers.measures.entropy import estimator
from solvers.objective import Array


@dataclass(frozen=True)
class JKOFlow(SteppedFlow):
    """Minimising movements of N particles of equal weight, by `JKO`, in steps of dt = τ iterations.

    Without ``saddle``, the implicit counterpart of `GradientFlow` from x_0 or, at a temperature, of mean-field Langevin without
    its noise; with it, that of `FreeEnergyFlow` from the same start, w_0 = x_0 − u_0, u_0 = (η/2)∇E(x_0). An objective of a
    single point has one particle. Of order one in τ, and stable beyond the explicit schemes' τ.

    Parameters
    ----------
    learning_rate : float
        η > 0.
    temperature : float
        T ≥ 0, with saddle=False.
    saddle : bool
        Descent–ascent of the free energy of center and fluctuation, in place of descent of the energy.

    Raises
    ------
    ValueError
        For a parameter out of range.

    Notes
    -----
    Diagnostics, the largest over the steps since the last observation: `certificate_excess`, by how much an energy inequality
    fails (rounding at most); `optimality_residual`; `plan_changed`, 1 where a plan was not the identity; `inner_iterations`;
    `rejected_steps`, the number that were halved. A step that cannot be solved ends the run with status "failed".

    References
    ----------
    Jordan, Kinderlehrer, Otto 1998. Chodron de Courcel, arXiv:2606.05326.

    Examples
    --------
    For a single particle it is the implicit Euler scheme: on E = 2x² with η = 0.25 every step divides x by 1 + ηE'' = 2.

    >>> parabola = meanfield.landscapes.Landscape(lambda x: 2 * x[0] ** 2)
    >>> solution = solvers.solve(solvers.JKOFlow(0.25), parabola, [1.0], steps=3, dt=1.0)
    >>> solution.centers.ravel().round(9)
    array([1.   , 0.5  , 0.25 , 0.125])
    """

    learning_rate: float
    temperature: Annotated[float, Ge(0)] = 0.0
    saddle: bool = False
    name: ClassVar[str] = "jko"
    needs: ClassVar[tuple[str, ...]] = ("value", "gradient", "hvp")
    diagnostic_names: ClassVar[tuple[str, ...]] = (
        "certificate_excess",
        "optimality_residual",
        "plan_changed",
        "inner_iterations",
        "rejected_steps",
    )
    order: ClassVar[int] = 1
    default_dt: ClassVar[float] = 1.0
    dt_is_parameter: ClassVar[bool] = True
    step_arrays: ClassVar[int] = 20
    tolerances: ClassVar[Mapping[str, Tolerance]] = {
        "certificate_excess": Tolerance(
            1e-10, "an energy inequality of the minimising movements fails by", of_energy=True
        )
    }

    @classmethod
    def state_arrays(cls, options: Mapping[str, Any]) -> int:
        return 1 + bool(options["saddle"])

    def __post_init__(self) -> None:
        super().__post_init__()
        self._scheme(1.0)  # refuses options that do not go together

    def start(self, objective: Any, x0: Array) -> Array:
        """The particles, or with saddle=True the weights and fluctuations, (2, *x)."""
        if not self.saddle:
            return x0
        u = x0.dtype.type(0.5 * self.learning_rate) * objective.gradient(x0)
        return np.stack([x0 - u, u])

    def advance(self, objective: Any, state: Array, dt: float) -> Array:
        return self._step(objective, state, dt).state

    def advance_reporting(
        self, objective: Any, state: Array, dt: float
    ) -> tuple[Array, dict[str, float]]:
        step = self._step(objective, state, dt)
        numbers = (
            max(certificate.excess for certificate in step.certificates),
            step.residual,
            not step.plan_is_identity,
            step.inner_iterations,
            step.rejected,
        )
        return step.state, dict(zip(self.diagnostic_names, map(float, numbers), strict=True))

    def center(self, step: int, state: Array) -> Array:
        return state[0] if self.saddle else state

    def fluctuation(self, step: int, state: Array) -> Array:
        return state[1] if self.saddle else np.zeros_like(state)

    def mirrored(self, state: Array) -> Array:
        return np.stack([state[0], -state[1]]) if self.saddle else state

    def predicted_loss(self, objective: Any, step: int, state: Array) -> float:
        if self.saddle:
            return FreeEnergy(objective, self.learning_rate).mean_loss(state[0], state[1])
        return float(objective.value(state))

    def free_energy(self, objective: Any, step: int, state: Array) -> float:
        """F; at a temperature E + T Ent, by the estimator that a step from this state uses."""
        if self.temperature == 0:
            return super().free_energy(objective, step, state)
        entropy = self.temperature * estimator(state).value(state)
        return self.predicted_loss(objective, step, state) + entropy

    def _step(self, objective: Any, state: Array, dt: float) -> JKOStep:
        try:
            return self._scheme(dt).step(objective, state)
        except JKOError as error:
            raise SchemeError(str(error)) from None

    def _scheme(self, step_size: float) -> JKO:
        return JKO(step_size, self.learning_rate, self.temperature, self.saddle)
