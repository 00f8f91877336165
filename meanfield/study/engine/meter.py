"""The cost of a process: evaluations and seconds, excluding measurements."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class Meter:
    """An objective that counts its evaluations and the seconds of their use, except while paused.

    It has the methods of the objective: where that has no `third`, this has none either. `readings` and `wall_time`
    are the initial values.
    """

    def __init__(
        self, objective: Any, readings: Mapping[str, float] | None = None, wall_time: float = 0.0
    ) -> None:
        self._objective = objective
        before = readings or {}
        self._counts = {what: before.get(what, 0) for what in ("gradients", "hvps", "thirds")}
        self._paused = False
        self._started = time.perf_counter() - wall_time
        self._paused_seconds = wall_time - before.get("solver_time", 0.0)

    def value(self, x: Any, **measure: Any) -> float:
        """E(x), of particles possibly with weights; not counted, few flows need it to move."""
        return float(self._objective.value(x, **measure))

    def gradient(self, x: Any, **measure: Any) -> Any:
        self._count("gradients")
        return self._objective.gradient(x, **measure)

    def hvp(self, x: Any, v: Any, **measure: Any) -> Any:
        self._count("hvps")
        return self._objective.hvp(x, v, **measure)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._objective, name)
        if name != "third":
            return attribute

        def third(x: Any, u: Any) -> Any:
            self._count("thirds")
            return attribute(x, u)

        return third

    def _count(self, what: str) -> None:
        if not self._paused:
            self._counts[what] += 1

    @contextmanager
    def paused(self) -> Iterator[dict[str, float]]:
        """Context in which nothing is counted; yields the readings: cumulative counts, `solver_time` in seconds."""
        begin = time.perf_counter()
        self._paused = True
        solver_time = begin - self._started - self._paused_seconds
        try:
            yield {**self._counts, "solver_time": solver_time}
        finally:
            self._paused = False
            self._paused_seconds += time.perf_counter() - begin

    @property
    def wall_time(self) -> float:
        """Seconds since the start, pauses included."""
        return time.perf_counter() - self._started
