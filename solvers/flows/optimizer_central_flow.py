"""What the central flows of optimizers have in common."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from solvers._support.annotations import Ge
from solvers._support.arguments import refusal, settle
from solvers.flow import Flow
from solvers.flows.central_flow import CentralFlow
from solvers.objective import Array
from solvers.optimizer import Optimizer


@dataclass(frozen=True)
class OptimizerCentralFlow(CentralFlow):
    """A central flow whose rate and edge are those of an optimizer."""

    optimizer: Any = None
    max_modes: Annotated[int, Ge(1)] = 8

    #: names of the optimizers that it models, and how a message lists them
    models: ClassVar[tuple[str, ...]] = ()
    listed: ClassVar[str] = ""

    def __init__(self, optimizer: Any, max_modes: int = 8) -> None:
        if not isinstance(optimizer, Optimizer) or optimizer.name not in self.models:
            raise refusal("optimizer", self.listed, optimizer)
        settle(self, optimizer=optimizer, max_modes=max_modes)
        settle(self, learning_rate=optimizer.learning_rate)
        self.__post_init__()

    def start(self, objective: Any, x0: Array) -> Array:
        """The state at the first center of the optimizer, before the first complementarity problem is solved."""
        return self._between(0, self.optimizer.start(objective, x0))

    def begun(self, objective: Any, step: int, rule: Flow, pair: Array) -> Array | None:
        """The state at the optimizer's center, with its memory."""
        is_own = isinstance(rule, type(self.optimizer))
        return self._between(step, pair) if is_own else None

    def _between(self, step: int, pair: Array) -> Array:
        """The state that corresponds to (z_k, z_{k+1}) of the optimizer."""
        return self._state(self.optimizer.center(step, pair))

    def with_rate(self, learning_rate: float) -> Self:
        return type(self)(self.optimizer.with_rate(learning_rate), self.max_modes)

    def carried(self, objective: Any, step: int, state: Array, ratio: float) -> Array:
        """From the same center and memories, with nothing solved for yet."""
        begun = self._state(state[0])
        if self.memories:
            begun[-self.memories :] = state[-self.memories :]
        return begun

    @property
    def default_dt(self) -> float:  # type: ignore[override]
        """1/m, as short as that of gradient descent relative to the time in which a critical mode of the center relaxes."""
        return 1.0 / math.ceil(0.5 * self._relaxation - 1e-9)

    @property
    def edge(self) -> float:
        return float(self.optimizer.edge)

    @property
    @abstractmethod
    def _relaxation(self) -> float:
        """The rate at which the center relaxes along a mode at the edge."""

    def free_energy(self, objective: Any, step: int, state: Array) -> float:
        """NaN, as of the optimizer: it is not descent–ascent on a free energy of x alone."""
        return math.nan
