"""Evaluations of an objective that are remembered, so that a run is observed at little further cost."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from solvers._support.bits import Bits, contents
from solvers.objective import Array, OwnResults, value_and_gradient

_FEWEST = (
    4  # points: two consecutive observations of gradient descent, each of an iterate and a center
)


class _Point:
    """A point, what was found there, and the seconds of an evaluation ahead."""

    def __init__(self, x: Array) -> None:
        self.bits = Bits(x)
        self.value: float | None = None
        self.gradient: Array | None = None
        self.seconds = 0.0


class Remembering(OwnResults):
    """An objective with arrays of its own that remembers losses, and gradients evaluated ahead.

    What observes a run calls `anticipate` with the points at which the flow will evaluate gradients next: losses there come with
    these gradients, at the cost of the gradients alone. Points are compared bit for bit, for an objective distributed over ranks
    on all of them. A gradient is the second of ``value_and_gradient`` where the objective has that, evaluated ahead or not: the
    run is the same whatever is observed.
    """

    def __init__(self, objective: Any) -> None:
        super().__init__(objective)
        self._points: deque[_Point] = deque()
        self._ahead: list[_Point] = []  # with gradients not yet asked for
        self._are_asked = True  # whether gradients that were evaluated ahead are asked for
        self._has_pair = hasattr(self, "value_and_gradient")
        self._plain_gradient: Any = getattr(self, "gradient", None)
        if self._plain_gradient is not None:
            self.gradient = self._asked_gradient

    def value(self, x: Array, **measure: Any) -> float:
        if measure:
            return super().value(x, **measure)
        point = self._at(x)
        if point.value is None:
            point.value = super().value(x)
        return point.value

    def observed_gradient(self, x: Array) -> Array:
        """The gradient for an observer: left for the flow if it was evaluated ahead, otherwise evaluated with the loss."""
        point = self._at(x)
        if point.gradient is not None:
            return point.gradient
        if not self._has_pair:
            found: Array = self._plain_gradient(x)
            return found
        point.value, gradient = self._pair(x)
        return gradient

    def anticipate(self, xs: Sequence[Array]) -> None:
        """Evaluate losses and gradients at the points where the flow will ask for gradients.

        Nothing is done without ``value_and_gradient``, or once none of the gradients evaluated ahead was asked for.
        """
        for point in self._ahead:
            point.gradient = None
        self._ahead = []
        if not (self._has_pair and self._are_asked):
            return
        self._are_asked = not xs
        for x in xs:
            point = self._at(x, len(xs) + 2)
            if point.gradient is None:
                begin = time.perf_counter()
                point.value, point.gradient = self._pair(x)
                point.seconds = time.perf_counter() - begin
                self._ahead.append(point)

    def _pair(self, x: Array) -> tuple[float, Array]:
        return value_and_gradient(self, x)

    def _asked_gradient(self, x: Array, **measure: Any) -> Array:
        point = self._found(x) if self._ahead and not measure else None
        if point is not None and point.gradient is not None:
            self._ahead.remove(point)
            self._are_asked = True
            self._taken(point.seconds)
            gradient, point.gradient = point.gradient, None
            return gradient
        self._taken(None)
        if self._has_pair and not measure:
            return self._pair(x)[1]
        found: Array = self._plain_gradient(x, **measure)
        return found

    def _taken(self, seconds: float | None) -> None:
        """The flow takes a gradient: one evaluated ahead, in these seconds, or a new one."""

    def _at(self, x: Array, room: int = 0) -> _Point:
        """The point x, a new one in place of that used longest ago if it is not remembered."""
        point = self._found(x)
        if point is None:
            point = _Point(x)
        else:
            self._points.remove(point)
        self._points.append(point)
        while len(self._points) > max(_FEWEST, room):
            self._points.popleft()
        return point

    def _found(self, x: Array) -> _Point | None:
        known = contents(x)
        index = next((i for i, point in enumerate(self._points) if point.bits.are(known)), -1)
        if self.is_spread and self._points:  # the ranks must go the same way
            least, most = -self.original.largest(float(-index)), self.original.largest(float(index))
            index = index if least == most else -1
        return self._points[index] if index >= 0 else None


def remembering(objective: Any) -> Remembering:
    """The objective, remembering its evaluations; the same object where it does already."""
    return objective if isinstance(objective, Remembering) else Remembering(objective)
