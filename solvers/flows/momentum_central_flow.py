"""The central flow of gradient descent with momentum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Self

from solvers._support.annotations import Ge
from solvers._support.arguments import refusal, settle
from solvers.flow import Flow
from solvers.flows.central_flow import CentralFlow
from solvers.objective import Array


@dataclass(frozen=True)
class MomentumCentralFlow(CentralFlow):
    """The time-averaged trajectory of the heavy ball, or of Nesterov's rule, at its own edge of stability S*:

        ẇ = −η/(1 − β) [∇E(w) + ½ ∇_w⟨∇²E(w), Σ⟩],    Σ ⪰ 0,    ∇²E ⪯ S* I,    ⟨Σ, S* I − ∇²E⟩ = 0,

    in iterations, with S* = 2(1 + β)/η for the heavy ball and 2(1 + β)/((1 + 2β)η) for Nesterov's rule.
    ``CentralFlow(HeavyBall(…))`` makes it. Scheme and Σ are those of `CentralFlow`; the default dt is as short, relative to the
    center's relaxation at the rate S*η/(1 − β), as that of gradient descent.

    Parameters
    ----------
    optimizer : HeavyBall or Nesterov
    max_modes : int
        As of `CentralFlow`.

    Raises
    ------
    ValueError
        For another optimizer, or a parameter out of range.

    Notes
    -----
    Averaged over its oscillation, m obeys m ← βm + ḡ with ḡ = ∇E + ½∇⟨∇²E, Σ⟩, so that m = ḡ/(1 − β) to leading order where ḡ
    changes slowly over 1/(1 − β) iterations: both rules then move by −ηḡ/(1 − β). The next order, the memory of past ḡ, is
    dropped.

    References
    ----------
    That of gradient descent: arXiv:2410.24206; with momentum it is this package's.

    Examples
    --------
    At rest on the valley E = ½(y + x)x² − ε(x + y) the oscillation holds the sharpness at 2(1 + β)/η = 8, with tr Σ ≈ 2ε:

    >>> valley = meanfield.landscapes.Valley(epsilon=0.01)
    >>> flow = solvers.CentralFlow(solvers.HeavyBall(0.3, momentum=0.2))
    >>> solution = solvers.solve(flow, valley, [-0.0025, 8.0075], steps=20)
    >>> round(float(solution.fluctuation_trace[-1]), 3)
    0.02
    """

    optimizer: Any = None
    max_modes: Annotated[int, Ge(1)] = 8

    def __init__(self, optimizer: Any, max_modes: int = 8) -> None:
        if getattr(optimizer, "name", "") not in ("heavy_ball", "nesterov"):
            raise refusal("optimizer", "a HeavyBall or Nesterov", optimizer)
        settle(self, optimizer=optimizer, max_modes=max_modes)
        settle(self, learning_rate=optimizer.learning_rate)
        self.__post_init__()

    def start(self, objective: Any, x0: Array) -> Array:
        """The state at the first center of the rule."""
        return self._state(self.optimizer.center(0, self.optimizer.start(objective, x0)))

    def begun(self, objective: Any, step: int, rule: Flow, pair: Array) -> Array | None:
        """The state at the rule's center."""
        is_own = isinstance(rule, type(self.optimizer))
        return self._state(rule.center(step, pair)) if is_own else None

    def with_rate(self, learning_rate: float) -> Self:
        return type(self)(self.optimizer.with_rate(learning_rate), self.max_modes)

    @property
    def default_dt(self) -> float:  # type: ignore[override]
        """1/m ≤ ½/(h S*)."""
        return 1.0 / math.ceil(2.0 * self.edge / (1.0 - float(self.optimizer.momentum)) - 1e-9)

    @property
    def edge(self) -> float:
        return float(self.optimizer.edge)

    def _rate(self, state: Array) -> float:
        return self.learning_rate / (1.0 - float(self.optimizer.momentum))

    def _edge(self, state: Array) -> float:
        return self.edge / self.learning_rate
