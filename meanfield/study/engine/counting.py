"""The cost of a process: evaluations and seconds, excluding measurements."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from solvers.evaluations import Remembering


class CountingObjective(Remembering):
    """An objective that counts its evaluations and the seconds of their use, except while paused.

    It has the methods of the objective: where that has no `third`, this has none either. `readings` and `wall_time`
    are the initial values. A gradient that was evaluated ahead during a pause counts, with its seconds, when the flow takes it.
    """

    def __init__(
        self, objective: Any, readings: Mapping[str, float] | None = None, wall_time: float = 0.0
    ) -> None:
        super().__init__(objective)
        before = readings or {}
        self._counts = {what: before.get(what, 0) for what in ("gradients", "hvps", "thirds")}
        self._paused = False
        self._started = time.perf_counter() - wall_time
        self._paused_seconds = wall_time - before.get("solver_time", 0.0)
        for name, what in (("hvp", "hvps"), ("third", "thirds")):
            if hasattr(self, name):
                setattr(self, name, self._counted(getattr(self, name), what))

    def _counted(self, method: Callable[..., Any], what: str) -> Callable[..., Any]:
        def counted(*arguments: Any, **measure: Any) -> Any:
            self._count(what)
            return method(*arguments, **measure)

        return counted

    def anticipate(self, xs: Sequence[Any]) -> None:
        super().anticipate(xs)
        if not self._paused:  # these seconds are the flow's already
            for point in self._ahead:
                point.seconds = 0.0

    def _taken(self, seconds: float | None) -> None:
        self._count("gradients")
        if seconds and not self._paused:
            self._paused_seconds -= seconds

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
