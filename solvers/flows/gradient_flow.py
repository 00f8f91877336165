"""Gradient flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from solvers.flow import ContinuousFlow, WithoutFluctuation
from solvers.integrators import Adaptive, Chebyshev, Integrator
from solvers.objective import Array, inner


@dataclass(frozen=True)
class GradientFlow(WithoutFluctuation, ContinuousFlow):
    """Gradient flow ẇ = −η ∇E(w), with time counted in iterations of gradient descent.

    It has no fluctuation; its free energy is E, with dE/dt = −η |∇E|² = −|ẇ|²/η. Nothing holds its sharpness at 2/η:
    where gradient descent is at the edge of stability this flow is stiff, and a fixed explicit step suitable for the others is
    unstable for it. Its default integrator, `Chebyshev`, adapts step and number of stages; rtol is 3e-4, on few coordinates 1e-5.

    Parameters
    ----------
    learning_rate : float
        η > 0.
    delay : bool
        Whether the velocity is taken half an iteration before, ẇ(t) = −η∇E(w(t − ½)). Below the edge of stability the flow's
        error against gradient descent, of order η, becomes one of order η². Has its own scheme in time, for dt = 1/m
        (default ¼); dt = 1 is gradient descent. It has no energy balance.

    Raises
    ------
    ValueError
        For a learning rate that is not a finite number above zero.

    Examples
    --------
    On E = 2x² it is w(t) = e^(−4ηt), here e^(−2) at the end.

    >>> parabola = meanfield.landscapes.Landscape(lambda x: 2 * x[0] ** 2)
    >>> solution = solvers.solve(solvers.GradientFlow(0.1), parabola, [1.0], steps=5)
    >>> round(float(solution.centers[-1, 0]), 3), round(float(np.exp(-2)), 3)
    (0.135, 0.135)
    """

    learning_rate: float
    delay: bool = False

    particlewise: ClassVar[bool] = True
    can_change_rate: ClassVar[bool] = True
    default_integrator: ClassVar[Integrator] = Chebyshev(rtol=3e-4)
    few_integrator: ClassVar[Integrator | None] = Chebyshev(rtol=1e-5)
    former_integrator: ClassVar[Integrator] = Adaptive(rtol=1e-6, atol=1e-6)
    colour: ClassVar[str] = "blue"

    def start(self, objective: Any, x0: Array) -> Array:
        return x0

    def next_gradients(self, step: int, state: Array) -> Sequence[Array]:
        return () if self.delay else (state,)

    def rates(self, objective: Any, time: float, state: Array) -> tuple[Array, float]:
        velocity = state.dtype.type(-self.learning_rate) * objective.gradient(state)
        return velocity, -inner(objective, velocity, velocity) / self.learning_rate
