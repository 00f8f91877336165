"""The central flow of scalar RMSProp, whose edge of stability moves with its mean of squared gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from solvers._support.annotations import Ge
from solvers._support.arguments import refusal, settle
from solvers.flow import Flow
from solvers.flows.central_flow import CentralFlow
from solvers.integrators import SchemeError
from solvers.objective import Array, inner


@dataclass(frozen=True)
class AdaptiveCentralFlow(CentralFlow):
    """The time-averaged trajectory of scalar RMSProp, with the covariance Σ that keeps it at its edge of stability:

        ẇ = −h [∇E(w) + ½ ∇_w⟨∇²E(w), Σ⟩],    h = η/(√ν + ε),    ν̇ = κ (|∇E|² + (2/h)² tr Σ − ν),    κ = (1 − β₂)/β₂,
        Σ ⪰ 0,    ∇²E ⪯ (2/h) I,    ⟨Σ, (2/h) I − ∇²E⟩ = 0,

    in iterations. With one critical mode at S = 2√ν/η (ε = 0)

        σ² = [−⟨∇S, ∇E⟩ + κ(S²/4 − |∇E|²/η²)] / [½|∇S|² + κS²/η²],

    and κ → 0 with ν at rest is gradient descent's `CentralFlow` with the learning rate h. ``CentralFlow(ScalarRMSProp(…))`` makes
    it. Scheme and Σ are those of `CentralFlow`; in the complementarity problem the edge moves by

        d(2/h)/dt = h (1 + ε/√ν)(κ/η²) (|∇E|² − ν + (2/h)² tr Σ).

    Parameters
    ----------
    optimizer : ScalarRMSProp
        Without bias correction, whose κ changes from step to step.
    max_modes : int
        As of `CentralFlow`.

    Raises
    ------
    ValueError
        For another optimizer, or a parameter out of range.

    References
    ----------
    Cohen, Damian, Talwalkar, Kolter, Lee, arXiv:2410.24206; σ², and the scheme, are this package's.

    Examples
    --------
    The sharpness follows its moving edge 2√ν/η on the valley E = ½(y + ζx)x² − ε(x + y), ζ = 0:

    >>> valley = meanfield.landscapes.Valley(zeta=0.0, epsilon=0.01)
    >>> rule = solvers.ScalarRMSProp(0.05, beta2=0.99, second_moment=0.0225)
    >>> flow = solvers.CentralFlow(rule)
    >>> solution = solvers.solve(flow, valley, [1e-3, 6.0], steps=100)
    >>> round(solvers.effective_sharpness(flow, valley, solution.state), 2)
    1.0
    """

    optimizer: Any = None
    max_modes: Annotated[int, Ge(1)] = 8

    name: ClassVar[str] = "adaptive_central_flow"
    memories: ClassVar[int] = 2  # ν and dν/dt

    def __init__(self, optimizer: Any, max_modes: int = 8) -> None:
        if getattr(optimizer, "name", "") != "scalar_rmsprop" or optimizer.bias_correction:
            raise refusal("optimizer", "a ScalarRMSProp without bias correction", optimizer)
        if optimizer.beta2 == 0:
            raise refusal("beta2", "above 0 for a central flow, where ν changes slowly", 0.0)
        settle(self, optimizer=optimizer, max_modes=max_modes)
        settle(self, learning_rate=optimizer.learning_rate)
        self.__post_init__()

    def start(self, objective: Any, x0: Array) -> Array:
        """The state at the first center of the optimizer, before the first complementarity problem is solved."""
        return self._between(0, self.optimizer.start(objective, x0))

    def begun(self, objective: Any, step: int, rule: Flow, pair: Array) -> Array | None:
        """The state at the optimizer's center and the ν between its two."""
        is_own = isinstance(rule, type(self.optimizer))
        return self._between(step, pair) if is_own else None

    def _between(self, step: int, pair: Array) -> Array:
        state = self._state(self.optimizer.center(step, pair))
        state[-2] = 0.5 * (pair[0, 1] + pair[1, 1])
        return state

    def with_rate(self, learning_rate: float) -> Self:
        return type(self)(self.optimizer.with_rate(learning_rate), self.max_modes)

    def carried(self, objective: Any, step: int, state: Array, ratio: float) -> Array:
        """From the same center and ν, with nothing solved for yet."""
        moved = self._state(state[0])
        moved[-2] = state[-2]
        return moved

    def preconditioner(self, step: int, state: Array) -> float:
        return 1.0 / self._rate(state)

    def _rate(self, state: Array) -> float:
        return self.learning_rate / self._root(state)

    def _edge(self, state: Array) -> float:
        return 2.0 / self._rate(state)

    def _root(self, state: Array) -> float:
        """√ν + ε."""
        return math.sqrt(max(float(state[-2].flat[0]), 0.0)) + float(self.optimizer.eps)

    def _edge_motion(self, objective: Any, state: Array, gradient: Array) -> tuple[float, float]:
        nu = float(state[-2].flat[0])
        weight = self._root(state) / math.sqrt(nu) * self._kappa / self.learning_rate**2
        drift = inner(objective, gradient, gradient) - nu
        return weight * drift, weight * self._edge(state) ** 2

    @property
    def _kappa(self) -> float:
        return (1.0 - float(self.optimizer.beta2)) / float(self.optimizer.beta2)

    def _moved(self, state: Array, dt: float) -> Array:
        moved = super()._moved(state, dt)
        moved[-2] += state.dtype.type(dt) * state[-1]
        if not float(moved[-2].flat[0]) > 0:
            raise SchemeError(
                f"dt must be small relative to beta2/(1 − beta2) = {1 / self._kappa:.3g}, got {dt:g}: ν fell to 0"
            )
        return moved

    def _remember(self, state: Array, moved: Array, edge_velocity: float) -> None:
        """ν, and dν/dt = η√ν d(2/h)/dt."""
        nu = float(moved[-2].flat[0])
        state[-2] = moved[-2]
        state[-1] = self.learning_rate * math.sqrt(nu) * edge_velocity
