"""The steps of `evolve` one after another; they may stop after any and go on from there to the same bits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers._support.arguments import count, real, refusal
from solvers.jko.movers import Moved, Mover
from solvers.jko.proximal_result import JKOError
from solvers.measures.representations import Grid, Measure, Particles, Quantiles

Float64 = NDArray[np.float64]

#: The first step of an adaptive run is a fraction of the time; bounds of the change of a step, and its safety factor.
_FIRST, _SHRINK, _GROW, _SAFETY = 0.02, 0.1, 1.5, 0.9
#: The shortest step, relative to the time; by how much, relatively, a time may miss the end.
_SHORTEST, _AT_THE_END = 1e-9, 1e-12


@dataclass(frozen=True)
class Pace:
    """How long steps are: of a given size, the last one shorter where t is no multiple of it, or such that the two orders differ
    by at most a tolerance.

    Raises
    ------
    ValueError
        For a parameter out of range; unless there is either a step size or a tolerance.
    """

    t: float
    step_size: float | None = None
    tolerance: float | None = None
    order: int = 1

    def __post_init__(self) -> None:
        t = real("t", self.t, above=0)
        count("order", self.order, 1, 2)
        if (self.step_size is None) == (self.tolerance is None):
            raise ValueError(
                "step_size must be given, or a tolerance but not both, "
                f"got step_size = {self.step_size} and tolerance = {self.tolerance}"
            )
        if self.tolerance is not None:
            real("tolerance", self.tolerance, above=0)
            return
        tau = real("step_size", self.step_size, above=0)
        if t / tau > 1e9:
            raise refusal("step_size", f"at least {t / 1e9:g}, a billionth of t", tau)

    @property
    def steps(self) -> int | None:
        """Their number; None where they are chosen by a tolerance."""
        if self.step_size is None:
            return None
        whole, rest = self._split(self.step_size)
        return whole + (rest > 0)

    def size(self, k: int) -> float:
        """The size of the k-th step."""
        assert self.step_size is not None
        whole, rest = self._split(self.step_size)
        return self.step_size if k < whole else rest

    def _split(self, tau: float) -> tuple[int, float]:
        whole = math.floor(self.t / tau * (1 + 1e-12))
        rest = self.t - whole * tau
        return whole, rest if rest > 1e-9 * tau or whole == 0 else 0.0


class Taken(NamedTuple):
    """A step that was taken: where it ended, and its numbers."""

    time: float
    measure: Measure
    energy: float
    step_size: float
    transport_cost: float
    excess: float
    residual: float
    iterations: int
    error: float
    result: Any


@dataclass(frozen=True, eq=False)
class Standing:
    """Where the flow stands after `done` steps; `last` is the step that led there, `next_size` the size tried next, 0
    where sizes are given.
    """

    measure: Measure
    time: float = 0.0
    done: int = 0
    last: Moved | None = None
    next_size: float = 0.0
    rejected: int = 0

    def packed(self, moving: Mover) -> tuple[dict[str, float], Float64, Float64]:
        """Numbers, the array of the measure, and what else a later step needs."""
        numbers = {"time": self.time, "next_size": self.next_size, "rejected": float(self.rejected)}
        if self.last is not None:
            numbers["last_size"] = self.last.step_size
        return numbers, array_of(self.measure), moving.pack(self.measure, self.last)

    @classmethod
    def unpacked(
        cls,
        moving: Mover,
        like: Measure,
        done: int,
        packed: tuple[dict[str, float], Float64, Float64],
    ) -> Standing:
        """The same from what `packed` gave, of a measure like the start."""
        numbers, values, rest = packed
        measure, last = moving.unpack(with_array(like, values), rest, numbers.get("last_size"))
        where = numbers["time"], done, last, numbers["next_size"], int(numbers["rejected"])
        return cls(measure, *where)


@dataclass
class March:
    """The steps of a mover from a start, or from where an earlier march stood.

    `here` is where the steps that `steps` has yielded have led to.
    """

    mover: Mover
    start: Measure
    pace: Pace
    here: Standing = field(default_factory=lambda: Standing(None))  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        if self.here.measure is None:
            self.here = self._begin()

    def _begin(self) -> Standing:
        chosen = self.pace.tolerance is not None
        return Standing(self.start, next_size=_FIRST * self.pace.t if chosen else 0.0)

    def steps(self) -> Iterator[Taken]:
        """Take steps until the time is covered.

        Raises
        ------
        JKOError, FloatingPointError
            A step cannot be solved.
        """
        total = self.pace.steps
        if total is None:
            yield from self._by_tolerance()
            return
        for k in range(self.here.done, total):
            last = self.here.last if self.pace.order == 2 else None
            moved = self.mover.move(self.here.measure, self.pace.size(k), last)
            taken, self.here = self._taken(self.here, moved, math.nan)
            yield taken

    def _by_tolerance(self) -> Iterator[Taken]:
        """The first step has nothing to be compared with: it counts once the second is within the tolerance."""
        assert self.pace.tolerance is not None
        here, t = self.here, self.pace.t
        unchecked: list[tuple[Taken, Standing]] = []
        while here.time < t * (1 - _AT_THE_END):
            tau = _fitted(here.next_size, t - here.time)
            try:
                moved, error = self._both(here, tau)
            except (JKOError, FloatingPointError):
                if tau <= _SHORTEST * t:
                    yield from self._counted(unchecked)
                    raise
                here = replace(here, rejected=here.rejected + 1, next_size=0.5 * tau)
                continue
            factor = _factor(self.pace.tolerance, error) if here.done else 1.0
            if error > self.pace.tolerance:
                rejected = here.rejected + 1
                if here.done == 1:
                    here, unchecked = self._begin(), []
                here = replace(here, rejected=rejected, next_size=tau * max(factor, _SHRINK))
                continue
            taken, here = self._taken(here, moved, error)
            here = replace(here, next_size=tau * min(max(factor, _SHRINK), _GROW))
            unchecked.append((taken, here))
            if here.done > 1 or here.time >= t:
                yield from self._counted(unchecked)
                unchecked = []

    def _counted(self, steps: list[tuple[Taken, Standing]]) -> Iterator[Taken]:
        for taken, self.here in steps:
            yield taken

    def _both(self, here: Standing, tau: float) -> tuple[Moved, float]:
        """The step of the order asked for, and the distance of the two orders; 0 for the first step."""
        first = self.mover.move(here.measure, tau, None)
        if here.last is None:
            return first, 0.0
        second = self.mover.move(here.measure, tau, here.last)
        return (second if self.pace.order == 2 else first), self.mover.distance(first, second)

    def _taken(self, here: Standing, moved: Moved, error: float) -> tuple[Taken, Standing]:
        tau, t = moved.step_size, self.pace.t
        near = abs(here.time + tau - t) <= _AT_THE_END * t
        time = t if near else here.time + tau
        after = replace(here, measure=moved.measure, time=time, done=here.done + 1, last=moved)
        numbers = moved.energy, tau, moved.cost, moved.excess, float(moved.result.residual)
        return Taken(time, moved.measure, *numbers, moved.iterations, error, moved.result), after


def _fitted(tau: float, rest: float) -> float:
    """A step that leaves no short one at the end."""
    return rest if tau > 0.999 * rest else min(tau, 0.5 * rest) if tau > 0.5 * rest else tau


def _factor(tolerance: float, error: float) -> float:
    return _SAFETY * math.sqrt(tolerance / error) if error > 0 else _GROW


def array_of(measure: Measure) -> Float64:
    """The masses, values or positions of a measure."""
    name = _ARRAYS[type(measure)]
    values: Float64 = getattr(measure, name)
    return values


def with_array(like: Measure, values: Float64) -> Measure:
    """A measure with other masses, values or positions, which are not scaled: to the last bit."""
    made = copy(like)
    object.__setattr__(made, _ARRAYS[type(like)], values)
    return made


_ARRAYS: dict[type, str] = {Grid: "masses", Quantiles: "values", Particles: "positions"}
