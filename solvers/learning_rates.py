"""Learning rates by step."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers._support.arguments import count, real, refusal, settle

_FORM = "a list of [step, learning rate] with increasing steps, the first 0"


@dataclass(frozen=True)
class Schedule:
    """Learning rates, each from a step on: ``Schedule([[0, 0.1], [100, 1.0]])``.

    Raises
    ------
    ValueError
        For what is not a list of pairs (step, learning rate) with increasing steps of which the first is 0.

    Examples
    --------
    >>> schedule = solvers.Schedule([[0, 0.1], [100, 1.0]])
    >>> schedule.at([0, 99, 100])
    array([0.1, 0.1, 1. ])
    """

    learning_rate: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        given: Any = self.learning_rate
        if not isinstance(given, Sequence) or isinstance(given, str) or not len(given):
            raise refusal("learning_rate", _FORM, given)
        for pair in given:
            if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
                raise refusal("learning_rate", _FORM, pair)
        pairs = tuple(
            (count("step of learning_rate", step, 0), real("learning_rate", rate, above=0))
            for step, rate in given
        )
        steps = [step for step, _ in pairs]
        if steps[0] != 0 or sorted(set(steps)) != steps:
            raise refusal("learning_rate", _FORM, given)
        settle(self, learning_rate=pairs)

    @property
    def steps(self) -> list[int]:
        """Where the rates begin."""
        return [step for step, _ in self.learning_rate]

    @property
    def rates(self) -> list[float]:
        """One after the other."""
        return [rate for _, rate in self.learning_rate]

    def part(self, step: int) -> int:
        """Which of the rates is in force in the iteration from a step to the next."""
        return bisect_right(self.steps, step) - 1

    def at(self, times: ArrayLike) -> NDArray[np.float64]:
        """The rates in force at times of a run, in its iterations."""
        parts = np.searchsorted(self.steps, np.asarray(times), side="right") - 1
        return np.asarray(self.rates)[parts]
