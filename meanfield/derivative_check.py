"""Check whether the derivatives of an objective are those of its value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array = NDArray[np.floating[Any]]

#: Each derivative and the function that it is the derivative of; the order is the position, from 1.
LOWER = {"gradient": "value", "hvp": "gradient", "third": "hvp"}

_EPS = float(np.finfo(np.float64).eps)
_EPS32 = float(np.finfo(np.float32).eps)
#: Points are tested until enough agree, disagree or are undecided, or all have been tested. A kink within the
#: step makes a point disagree, a wrong formula nearly all points.
_DISAGREEING, _UNDECIDED, _POINTS = 4, 3, 8
#: Distances of the points from x, relative to the size of its coordinates; smaller where the objective is not finite.
_DISTANCES = (0.3, 0.03, 0.003)
#: Rounding error of a difference of two results, in units of ε times their size.
_ROUNDINGS = 100.0
#: A disagreement counts above this many estimated errors. The estimate is the change from a step to twice the step: for a smooth
#: function it is three times the error, with kinks within the step about as large as the error.
_ERRORS = 10.0
#: Relative difference of the results of two methods for the same number, the rounding of float32.
_PAIR = 1e-4


@dataclass(frozen=True)
class Comparison:
    """A derivative compared with a central difference.

    difference : relative, the largest over the decisive points; NaN if too few are decisive.
    agrees : None if too few points are decisive.
    """

    derivative: str
    difference: float
    agrees: bool | None


def check_objective(objective: Any, x: ArrayLike, seed: int = 0) -> dict[str, float]:
    """Compare each derivative of an objective with differences of the one below.

    At points around x and along random directions v, with central differences of two steps h,

        ⟨∇E, v⟩ ≈ (E(x + hv) − E(x − hv)) / 2h,    ∇²E v ≈ (∇E(x + hv) − ∇E(x − hv)) / 2h,    ∇³E[v, v] likewise from ∇²E v,

    with about ten evaluations for each. A disagreement counts where it exceeds the errors of step and rounding, and at several
    points: functions with kinks, such as ReLU networks, pass. In float64, errors above 1e-5 are found. An objective that
    computes in float32 is checked by its ``as_float64()`` if it has one, otherwise only for errors above 1% of the gradient and
    for gross errors (a wrong sign or scale) of higher derivatives; smaller ones cannot be distinguished from kinks.

    Parameters
    ----------
    objective : Objective
        With ``value`` and ``gradient``; its ``hvp`` and ``third`` are checked if it has them, in its ``inner`` if it has one.
    x : array
        The start of the runs. The objective should be finite nearby.
    seed : int
        Seed of points and directions.

    Returns
    -------
    dict
        The relative difference found, by the name of each checked method, `value_and_gradient` included; NaN where undecided: the
        objective is not finite there, not deterministic, or too rough for differences.

    Raises
    ------
    ValueError
        For a derivative that is wrong, is not shaped like x, or modifies its arguments; for a `value_and_gradient` that returns
        other numbers than the two methods; for an x that is not finite.

    Examples
    --------
    >>> valley = meanfield.landscapes.Valley()
    >>> sorted(meanfield.check_objective(valley, [0.0, 6.0]))
    ['gradient', 'hvp', 'third']
    """
    for name in ("value", "gradient"):
        if not callable(getattr(objective, name, None)):
            raise ValueError(
                f"objective must have the method {name}, got {type(objective).__name__}"
            )
    at = _point(x)
    found = {}
    for name in LOWER:
        if not callable(getattr(objective, name, None)):
            break
        comparison = compare(objective, name, at, seed)
        if comparison.agrees is False:
            raise ValueError(
                f"objective.{name} must be the derivative of objective.{LOWER[name]}, got one that differs by "
                f"{comparison.difference:.1%} from central differences"
            )
        found[name] = comparison.difference
    if callable(getattr(objective, "value_and_gradient", None)):
        found["value_and_gradient"] = _pair_difference(objective, at, seed)
    return found


def _pair_difference(objective: Any, x: Array, seed: int) -> float:
    """The relative difference of `value_and_gradient` from the two methods, at x and near it."""
    moved = x + 0.1 * np.random.default_rng(seed).standard_normal(x.shape) * np.abs(x)
    found = 0.0
    for point in (x, moved):
        with np.errstate(all="ignore"):
            both = objective.value_and_gradient(point)
            if not (isinstance(both, tuple) and len(both) == 2 and np.shape(both[1]) == x.shape):
                raise ValueError(
                    f"objective.value_and_gradient must return a pair, of E(x) and an array of shape {x.shape}"
                )
            pairs = (
                (np.array(both[0]), np.array(float(objective.value(point)))),
                (np.array(both[1]), np.array(objective.gradient(point))),
            )
        for name, (ours, theirs) in zip(("value", "gradient"), pairs, strict=True):
            gap, size = np.abs(ours - theirs).max(), np.abs(theirs).max()
            if not np.isfinite(gap) or gap == 0.0:
                continue
            found = max(found, float(gap / size) if size else math.inf)
            if found > _PAIR:
                raise ValueError(
                    f"objective.value_and_gradient must return the same {name} as objective.{name}, got one that differs by "
                    f"{found:.1%}"
                )
    return found


def compare(
    objective: Any,
    derivative: str,
    x: Array,
    seed: int = 0,
    agreeing_points: int = 2,
    dtype: DTypeLike | None = None,
) -> Comparison:
    """Compare a derivative of an objective with differences of the one below, at several points around x.

    dtype : the precision in which the objective computes; None: determined by two more gradients.
    """
    rng = np.random.default_rng((seed, *derivative.encode()))
    probe = _Probe(objective, derivative, x, rng, dtype)
    agreeing, disagreeing = list[float](), list[float]()
    for seen in range(_POINTS):
        with np.errstate(all="ignore"):
            difference, agrees = probe.look()
        if agrees is not None:
            (agreeing if agrees else disagreeing).append(difference)
        if len(agreeing) == agreeing_points:
            return Comparison(derivative, max(agreeing), True)
        if len(disagreeing) == _DISAGREEING:
            return Comparison(derivative, max(disagreeing), False)
        if seen + 1 - len(agreeing) - len(disagreeing) == _UNDECIDED:
            break
    return Comparison(derivative, math.nan, None)


def _point(x: ArrayLike) -> Array:
    point = np.array(x)
    if point.dtype.kind not in "fiu" or point.size == 0:
        raise ValueError(
            f"x must be a non-empty array of real numbers, got {point.dtype}, {point.shape}"
        )
    point = point.astype(np.float64)
    if not np.all(np.isfinite(point)):
        raise ValueError("x must be finite, got non-finite entries")
    return point


class _Probe:
    """Draws points around x and compares at each."""

    def __init__(
        self,
        objective: Any,
        derivative: str,
        x: Array,
        rng: np.random.Generator,
        dtype: DTypeLike | None,
    ) -> None:
        self.objective = getattr(objective, "as_float64", lambda: objective)()
        self.derivative, self.x, self.rng = derivative, x, rng
        # Coordinates move by their own size, small ones by the typical size.
        typical = float(np.median(np.abs(x))) or float(np.sqrt(np.mean(x**2))) or 1.0
        self.sizes = np.abs(x) + typical
        self.distance = 0
        self.eps = self._precision() if dtype is None else float(np.finfo(dtype).eps)
        if self.eps == _EPS32:
            self.step, self.tolerance = _EPS32 ** (1 / 3), 1e-2
        else:
            # Smaller than the step that balances truncation and rounding, to pass few kinks.
            self.step, self.tolerance = (5e-7, 1e-6) if derivative == "gradient" else (1e-7, 1e-5)

    def look(self) -> tuple[float, bool | None]:
        """The relative difference at the next point, and whether it is within its error; None if the error is large."""
        while True:
            x, v = self._draw()
            if self.derivative == "gradient":  # along a random direction alone E hardly changes
                v += self.sizes * np.sign(self._shaped("gradient", (x,)))
            exact = self._exact(x, v)
            near, far = (self._difference(x, v, k * self.step) for k in (1.0, 2.0))
            sizes = [self._norm(a) for a in (exact, near[0], far[0])]
            if all(map(math.isfinite, sizes)) or self.distance + 1 == len(_DISTANCES):
                break
            self.distance += 1
        if not all(map(math.isfinite, sizes)):
            return math.nan, None
        gap, size = self._norm(exact - near[0]), max(sizes[:2])
        if gap == 0.0 or size <= near[1]:  # equal, or both zero up to rounding
            return 0.0, True
        error = _ERRORS * (self._norm(far[0] - near[0]) + near[1])
        allowed = error + self.tolerance * size
        if gap <= allowed:
            return gap / size, True if error <= 0.05 * size else None
        # A non-deterministic objective differs in another evaluation.
        again = self._difference(x, v, self.step)[0]
        noise = self._norm(again - near[0]) + self._norm(self._exact(x, v) - exact)
        if gap <= allowed + _ERRORS * noise:
            return math.nan, None
        gross = self.eps == _EPS or self.derivative == "gradient" or gap > 1.2 * size
        return gap / size, False if gross else None

    def _draw(self) -> tuple[Array, Array]:
        """A point, exactly representable in float32, and a direction."""
        moved = self.rng.standard_normal(self.x.shape) * self.sizes
        fractions, exponents = np.frexp(self.x + _DISTANCES[self.distance] * moved)
        x = np.ldexp(np.round(fractions * 2**24) / 2**24, exponents)
        return x, self.rng.standard_normal(self.x.shape) * self.sizes

    def _precision(self) -> float:
        """ε of float32 if the gradient does not resolve changes below it, else of float64."""
        x, v = self._draw()
        here, there = (self._shaped("gradient", (y,)) for y in (x, x + 1e-3 * _EPS32 * v))
        return _EPS32 if np.array_equal(here, there) else _EPS

    def _exact(self, x: Array, v: Array) -> Array:
        """⟨∇E, v⟩, ∇²E v or ∇³E[v, v]."""
        if self.derivative == "gradient":
            return np.array(self._inner(self._shaped("gradient", (x,)), v))
        return self._shaped(self.derivative, (x, v))

    def _difference(self, x: Array, v: Array, h: float) -> tuple[Array, float]:
        """The central difference, and the size of its rounding errors."""
        ahead, behind = self._lower(x + h * v, v), self._lower(x - h * v, v)
        sizes = self._norm(ahead) + self._norm(behind)
        return (ahead - behind) / (2 * h), _ROUNDINGS * self.eps * sizes / (2 * h)

    def _lower(self, x: Array, v: Array) -> Array:
        if self.derivative == "gradient":
            return np.array(float(self.objective.value(x)))
        return self._shaped(LOWER[self.derivative], (x,) if self.derivative == "hvp" else (x, v))

    def _shaped(self, name: str, arguments: tuple[Array, ...]) -> Array:
        """A float64 copy of what a method returns; ValueError if it is not shaped like x, or x was modified."""
        given = tuple(argument.copy() for argument in arguments)
        result = np.array(getattr(self.objective, name)(*given))
        if result.shape != self.x.shape:
            raise ValueError(
                f"objective.{name} must return an array of shape {self.x.shape}, as of x, got {result.shape}"
            )
        if not all(map(np.array_equal, given, arguments)):
            raise ValueError(
                f"objective.{name} must leave the arrays it is given as they are, got one that writes to them"
            )
        return result.astype(np.float64)

    def _inner(self, u: Array, v: Array) -> float:
        if hasattr(self.objective, "inner"):
            return float(self.objective.inner(u, v))
        return float(np.sum(u * v))

    def _norm(self, a: Array) -> float:
        if a.ndim == 0:
            return abs(float(a))
        largest = float(np.max(np.abs(a)))
        if largest == 0.0 or not math.isfinite(largest):
            return largest
        return largest * math.sqrt(self._inner(a / largest, a / largest))
