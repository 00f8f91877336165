"""Minimising movements as a flow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from solvers._support.annotations import Ge, Le
from solvers.flow import SteppedFlow, Tolerance
from solvers.free_energy import FreeEnergy
from solvers.integrators import SchemeError
from solvers.jko.particles.plans import Plan
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
    single point has one particle. Of order one or two in τ, and stable beyond the explicit schemes' τ.

    Parameters
    ----------
    learning_rate : float
        η > 0.
    temperature : float
        T ≥ 0, with saddle=False.
    saddle : bool
        Descent–ascent of the free energy of center and fluctuation, in place of descent of the energy.
    order : {1, 2}
        Of the error in τ. Steps of order 2 are those of the two-step formula (BDF2) at the cost of one of order 1, which the
        first step is. At a temperature, and with more than one coordinate, the bandwidth of the entropy follows the particles
        from step to step, which leaves an error of order 1.

    Raises
    ------
    ValueError
        For a parameter out of range.

    Notes
    -----
    Diagnostics, the largest over the steps since the last observation: `certificate_excess`, by how much an energy inequality
    fails (rounding at most); `optimality_residual`; `plan_changed`, 1 where a plan was not the identity; `inner_iterations`;
    `rejected_steps`, the number that were halved. A step that cannot be solved ends the run with status "failed".

    With order=2 the state has twice as many arrays: how fast each has moved in the last step, projected by its plan, from
    which the next one goes on; all zero, it takes a step of order 1.

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

    Of order 2 it is BDF2, 3x_n − 4x_{n−1} + x_{n−2} = −2x_n here:

    >>> solution = solvers.solve(solvers.JKOFlow(0.25, order=2), parabola, [1.0], steps=3, dt=1.0)
    >>> solution.centers.ravel().round(9)
    array([1.  , 0.5 , 0.2 , 0.06])
    """

    learning_rate: float
    temperature: Annotated[float, Ge(0)] = 0.0
    saddle: bool = False
    order: Annotated[int, Ge(1), Le(2)] = 1  # type: ignore[misc]
    name: ClassVar[str] = "jko"
    needs: ClassVar[tuple[str, ...]] = ("value", "gradient", "hvp")
    diagnostic_names: ClassVar[tuple[str, ...]] = (
        "certificate_excess",
        "optimality_residual",
        "plan_changed",
        "inner_iterations",
        "rejected_steps",
    )
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
        return (1 + bool(options["saddle"])) * int(options["order"])

    def __post_init__(self) -> None:
        super().__post_init__()
        self._scheme(1.0)  # refuses options that do not go together

    def start(self, objective: Any, x0: Array) -> Array:
        """The particles, or with saddle=True the weights and fluctuations, (2, *x); with order=2 their speeds follow."""
        parts = [x0]
        if self.saddle:
            u = x0.dtype.type(0.5 * self.learning_rate) * objective.gradient(x0)
            parts = [x0 - u, u]
        if self.order == 2:
            parts += [np.zeros_like(part) for part in parts]
        return np.stack(parts) if len(parts) > 1 else x0

    def advance(self, objective: Any, state: Array, dt: float) -> Array:
        return self.advance_reporting(objective, state, dt)[0]

    def advance_reporting(
        self, objective: Any, state: Array, dt: float
    ) -> tuple[Array, dict[str, float]]:
        here = self._here(state)
        step = self._step(objective, here, self._speeds(state), dt)
        numbers = (
            max(certificate.excess for certificate in step.certificates),
            step.residual,
            not step.plan_is_identity,
            step.inner_iterations,
            step.rejected,
        )
        end = self._with_speeds(step, here, dt) if self.order == 2 else step.state
        return end, dict(zip(self.diagnostic_names, map(float, numbers), strict=True))

    def center(self, step: int, state: Array) -> Array:
        here = self._here(state)
        return here[0] if self.saddle else here

    def fluctuation(self, step: int, state: Array) -> Array:
        here = self._here(state)
        return here[1] if self.saddle else np.zeros_like(here)

    def mirrored(self, state: Array) -> Array:
        if not self.saddle:
            return state
        signs = np.array([1, -1] * self.order, dtype=state.dtype)
        return state * signs.reshape(-1, *[1] * (state.ndim - 1))

    def _here(self, state: Array) -> Array:
        """Particles, or weights and fluctuations, without their speeds."""
        if self.order == 1:
            return state
        return state[:2] if self.saddle else state[0]

    def _speeds(self, state: Array) -> Array | None:
        """How fast they have moved; None where no step has led to them."""
        if self.order == 1:
            return None
        speeds = state[2:] if self.saddle else state[1]
        return speeds if np.any(speeds) else None

    def _with_speeds(self, step: JKOStep, here: Array, dt: float) -> Array:
        """The end of a step with how fast it was reached from where its plan puts what was there."""
        parts, ends = (x if self.saddle else x[None] for x in (here, step.state))
        if not step.plan_is_identity:
            plan = Plan(step.weights, step.plan)
            shape = (len(step.weights), -1)
            parts = np.stack([plan.project(x.reshape(shape)).reshape(x.shape) for x in parts])
        return np.concatenate([ends, (ends - parts) / here.dtype.type(dt)])

    def predicted_loss(self, objective: Any, step: int, state: Array) -> float:
        if self.saddle:
            return FreeEnergy(objective, self.learning_rate).mean_loss(state[0], state[1])
        return float(objective.value(self._here(state)))

    def free_energy(self, objective: Any, step: int, state: Array) -> float:
        """F; at a temperature E + T Ent, by the estimator that a step from this state uses."""
        if self.temperature == 0:
            return super().free_energy(objective, step, state)
        here = self._here(state)
        entropy = self.temperature * estimator(here).value(here)
        return self.predicted_loss(objective, step, state) + entropy

    def _step(self, objective: Any, here: Array, speeds: Array | None, dt: float) -> JKOStep:
        earlier = None if speeds is None else here - here.dtype.type(dt) * speeds
        try:
            return self._scheme(dt).step(objective, here, earlier=earlier)
        except JKOError as error:
            raise SchemeError(str(error)) from None

    def _scheme(self, step_size: float) -> JKO:
        return JKO(step_size, self.learning_rate, self.temperature, self.saddle)
