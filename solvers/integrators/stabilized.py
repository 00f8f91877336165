"""Explicit schemes stabilised along the negative real axis: their steps, step sizes and dense output."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, NamedTuple

import numpy as np

from solvers._support.annotations import Ge, Interval
from solvers._support.options import check_options
from solvers.integrators.base import RightHandSide, SchemeError
from solvers.integrators.motion import Comoving, Motion, Plain
from solvers.integrators.spectral_radius import spectral_radius
from solvers.objective import Array

# The estimated spectral radius is enlarged by this factor, and estimated anew after so many steps, by a few evaluations.
# The first estimate is a rough one, and lasts for a few of the first, short steps only.
_MARGIN, _REFRESH, _LATER_ROUNDS = 1.1, 16, 3
_FIRST_ROUNDS, _FIRST_AGE = 8, 12
# Step sizes: the safety factor, by how much they may change at once, and the longest.
_SAFETY, _SHRINK, _GROW, _LONGEST = 0.8, 0.1, 3.0, 100.0
_LEAST_ERROR = 1e-4  # smaller ones do not let a step grow further
# Errors of the first part, the center, are not compared to less than this fraction of the largest it has been: one that decays to
# a minimum at the origin need not be known to its last digit for ever.
_FLOOR = 1e-3


class Stages(NamedTuple):
    """What the stages of a step give: y and f at its end, and the estimated error."""

    y: Array
    f: Array
    error: Array


@dataclass(frozen=True)
class Step:
    """An accepted step, and what the next one starts with: enough to continue with the same bits.

    begin, end, y0, f0, y1, f1 : its ends, vectors and velocities. following : size of the next step. error : estimated, over
    the tolerance; 0 before the first step. radius, direction, age : the spectral radius, the vector of its power iteration, and
    the number of steps since. scale : the largest size of the first part so far. order : of the scheme of the next step.
    """

    begin: float
    end: float
    y0: Array
    f0: Array
    y1: Array
    f1: Array
    following: float
    error: float
    radius: float
    direction: Array
    age: int
    scale: float
    order: int

    def at(self, motion: Motion, t: float) -> Array:
        """y at a time within the step: cubic Hermite interpolation, of order four, in the comoving variables."""
        size = self.end - self.begin
        if t >= self.end or size == 0.0:
            return self.y1
        there = Comoving(motion, self.begin, self.y0, self.f0, size)
        v1 = there.carried(self.y1, -size)
        g0, g1 = there.entered(self.f0, self.y0, 0.0), there.entered(self.f1, v1, size)
        x = (t - self.begin) / size
        outer, rest = x * x * (3.0 - 2.0 * x), 1.0 - x
        v = self.y0 + outer * (v1 - self.y0) + (size * x * rest) * (rest * g0 - x * g1)
        return there.carried(v, x * size)


@dataclass(frozen=True)
class Stabilized(ABC):
    """An explicit Runge–Kutta scheme whose s stages are stable over a length ~ s² of the negative real axis.

    Its steps may cover many iterations. Errors of a step are measured for each part of the state by itself, center and
    fluctuations in the objective's inner product.
    """

    rtol: Annotated[float, Interval(ge=1e-12, lt=1)] = 1e-3
    max_steps: Annotated[int, Ge(1)] = 5000

    order: ClassVar[int]
    #: the order of the first step
    first_order: ClassVar[int]
    #: power of the step size in the estimated error
    error_power: ClassVar[int]
    #: the largest product of step size and spectral radius
    reach: ClassVar[float]
    default_dt: ClassVar[float | None] = None
    entrywise: ClassVar[bool] = True
    step_arrays: ClassVar[int] = 16

    def __post_init__(self) -> None:
        check_options(self)

    @abstractmethod
    def stages(self, f: RightHandSide, y: Array, f0: Array, size: float, reach: float) -> Stages:
        """A step of this size from τ = 0, stable for spectral radii up to reach/size."""

    def of_order(self, order: int) -> Stabilized:
        """The scheme that makes a step of this order: itself, where it has one order."""
        return self

    def chosen(self, step: Step) -> Step:
        """The step, with the order and the size of the one that follows as they are best."""
        return step

    def advance(self, f: RightHandSide, t: float, y: Array, dt: float) -> Array:
        """y(t + dt)."""
        motion = Plain(f)
        step = self.begin(motion, t, y)
        for _ in range(self.max_steps):
            step = self.proceed(motion, step, t + dt)
            if step.end >= t + dt:
                return step.y1
        raise self.too_stiff()

    def too_stiff(self) -> SchemeError:
        """What is raised after `max_steps` steps within one iteration."""
        return SchemeError(
            f"max_steps = {self.max_steps} inner steps did not cover one iteration: the flow is too stiff"
        )

    def begin(self, motion: Motion, t: float, y: Array) -> Step:
        """A step of no length, from which the first one starts."""
        with np.errstate(over="ignore", invalid="ignore"):
            f = motion.velocity(t, y)
            radius, direction = _radius(motion, t, y, f, np.zeros_like(y), _FIRST_ROUNDS)
        size = min(0.5 / radius if radius > 0.0 else 1.0, 1.0)
        scale = motion.units(y)[0]
        return Step(
            t, t, y, f, y, f, size, 0.0, radius, direction, _FIRST_AGE, scale, self.first_order
        )

    def restarted(self, motion: Motion, step: Step, y: Array) -> Step:
        """The step with another vector at its end."""
        return replace(step, y1=y, f1=motion.velocity(step.end, y))

    def proceed(self, motion: Motion, step: Step, stop: float = math.inf) -> Step:
        """The next step, at most to the time `stop`.

        Raises
        ------
        FloatingPointError
            The velocity is not finite, or no step is small enough.
        """
        t, y, f = step.end, step.y1, step.f1
        radius, direction, age = step.radius, step.direction, step.age
        scheme = self.of_order(step.order)
        if age >= _REFRESH:
            radius, direction = _radius(motion, t, y, f, direction, _LATER_ROUNDS)
            age = 0
        wanted, rejected = step.following, False
        while True:
            size = scheme._allowed(wanted, radius, t, stop)
            made, error = scheme._trial(motion, step, size, radius)
            if error <= 1.0:
                break
            if age > 0:
                radius, direction = _radius(motion, t, y, f, direction, _LATER_ROUNDS)
                age = 0
            wanted = size * max(_SHRINK, _SAFETY * error ** (-1.0 / scheme.error_power))
            rejected = True
        change = scheme._change(step, size, error)
        following = size * (min(change, 1.0) if rejected else change)
        if size < wanted and not rejected:
            following = max(following, wanted)  # a step shortened for other reasons than its error
        end = stop if t + size >= stop else t + size
        ended = made.y, made.f, following, error, radius, direction, age + 1
        largest = max(step.scale, motion.units(made.y)[0])
        return self.chosen(Step(t, end, y, f, *ended, largest, step.order))

    def _allowed(self, wanted: float, radius: float, t: float, stop: float) -> float:
        """The size of a step: not too long for the scheme, and one of equal ones to the stop."""
        size = min(wanted, _LONGEST)
        if radius * _MARGIN * size > self.reach:
            size = self.reach / (radius * _MARGIN)
        if not size > 16.0 * np.spacing(max(abs(t), 1e-3)):
            raise FloatingPointError("the velocity is not finite, or changes too fast for any step")
        left = stop - t
        return size if left == math.inf else left / math.ceil(left / size)

    def _trial(
        self, motion: Motion, step: Step, size: float, radius: float
    ) -> tuple[Stages, float]:
        """A step of this size from the end of the last one, and its estimated error over the tolerance."""
        t, y, f = step.end, step.y1, step.f1
        there = Comoving(motion, t, y, f, size)
        reach = min(size * (_MARGIN * radius + there.fastest), self.reach)
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            made = self.stages(there.velocity, y, there.entered(f, y, 0.0), size, reach)
            error = self._error(motion, y, made, _FLOOR * step.scale)
            ended = there.carried(made.y, size)
            velocity = there.left(made.f, made.y, size)
        return Stages(ended, velocity, made.error), error

    def _error(self, motion: Motion, y: Array, made: Stages, floor: float) -> float:
        # what underflows has no precision
        least = float(np.finfo(y.dtype).tiny / np.finfo(y.dtype).eps)
        # The estimates h^p of steps add up to the error of a run, of the scheme's order, which is to be in proportion to rtol.
        tolerance = self.rtol ** (self.error_power / self.order)
        sizes = zip(motion.norms(made.error), motion.units(y), motion.units(made.y), strict=True)
        worst = 0.0
        for part, (error, before, after) in enumerate(sizes):
            if not math.isfinite(error) or not math.isfinite(after):
                return math.inf
            if error > 0.0:
                unit = max(before, after, least, floor if part == 0 else 0.0)
                worst = max(worst, error / (tolerance * unit))
        return worst if math.isfinite(worst) else math.inf

    def _change(self, step: Step, size: float, error: float) -> float:
        """The factor to the next step's size: Gustafsson's predictive controller, from the last two errors."""
        power = 1.0 / self.error_power
        error = max(error, _LEAST_ERROR)
        change = error**-power
        before = step.end - step.begin
        if step.error > 0.0 and before > 0.0:
            earlier = max(step.error, _LEAST_ERROR)
            change = min(change, size / before * earlier**power * error ** (-2.0 * power))
        return min(_GROW, max(_SHRINK, _SAFETY * change))


def _radius(
    motion: Motion, t: float, y: Array, f: Array, direction: Array, rounds: int
) -> tuple[float, Array]:
    radius, direction = spectral_radius(motion, t, y, f, direction, rounds)
    if not math.isfinite(radius):
        raise FloatingPointError("the velocity is not finite")
    return radius, direction
