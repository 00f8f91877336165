"""The interface of objectives, and checks of it."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from solvers._support.arguments import methods, shown

Array = NDArray[np.floating[Any]]


@runtime_checkable
class Objective(Protocol):
    """A function E to be minimised, of arrays x of a fixed shape.

    ``gradient(x)`` and ``hvp(x, v)``, the Hessian times v, return arrays shaped like x. They may reuse one array for their
    results, but must not modify their arguments. Optional: ``value_and_gradient(x)``, the pair of both, where it costs less than
    both calls: every gradient is then taken from it, and losses are observed at no further cost where the next gradient is
    needed; ``third(x, u)`` = ∇³E(x)[u, u] (default: a central difference of gradients), ``inner(u, v)``, the inner product in
    which gradient and Hessian are taken
    (default: the dot product), ``minimum``, the infimum of E, and ``compiled_gradient``, for functions of a few coordinates: a
    function ``g(x, out)`` compiled by numba that writes ∇E(x) of a float64 array (d,), with which gradient descent takes
    millions of steps in seconds. ``fresh_arrays = True`` declares that every returned array is new, so it need not be copied.

    An objective may be *distributed* over MPI ranks: x is then one rank's part of a point, every method is collective, and
    ``value`` and ``inner`` refer to the whole point. It also has ``largest(number)``, the maximum over the ranks, NaN if one
    is NaN (as every objective that ranks evaluate together); ``gather(x)``, the whole of arrays (…, *x) of which each
    rank has a part; and ``own(x)``, this rank's part of such a whole.

    Examples
    --------
    Any object with these methods is one:

    >>> class Parabola:
    ...     def value(self, x):
    ...         return 2 * float(x @ x)
    ...     def gradient(self, x):
    ...         return 4 * x
    ...     def hvp(self, x, v):
    ...         return 4 * v
    >>> solvers.solve(solvers.GradientDescent(0.4), Parabola(), [1.0], steps=2).iterates.ravel().round(12)
    array([ 1.  , -0.6 ,  0.36])
    >>> solvers.top_eigenpairs(Parabola(), np.array([1.0])).values
    array([4.])
    """

    def value(self, x: Array) -> float: ...
    def gradient(self, x: Array) -> Array: ...
    def hvp(self, x: Array, v: Array) -> Array: ...


def checked_gradient(objective: Any, x: Array, needs: tuple[str, ...], flow: str) -> Array:
    """The gradient at x, after checking that the objective has what a flow needs.

    Raises
    ------
    ValueError
        Where a method is missing or modifies its arguments, shapes disagree, `value_and_gradient` is not the pair of both, or two
        random vectors show that the Hessian is not symmetric.
    """
    methods("objective", objective, needs, flow)
    value = check_number("value", objective.value(x))
    kept = x.copy()
    objective = with_own_results(objective)
    gradient = check_like("gradient", objective.gradient(x), x)
    _check_unchanged(x, kept)
    if hasattr(objective, "value_and_gradient"):
        _check_pair(objective, x, value, gradient)
        _check_unchanged(x, kept)
    if "hvp" in needs:
        _check_hessian(objective, x)
    return gradient


def value_and_gradient(objective: Any, x: Array) -> tuple[float, Array]:
    """E and its gradient at x: the objective's own pair, else its two methods.

    Raises
    ------
    ValueError
        For what is no pair of a number and an array like x.
    """
    if not hasattr(objective, "value_and_gradient"):
        return float(objective.value(x)), objective.gradient(x)
    both = objective.value_and_gradient(x)
    if not (isinstance(both, tuple) and len(both) == 2):
        raise ValueError(
            f"objective.value_and_gradient must return a pair (value, gradient), got {shown(both)}"
        )
    return check_number("value_and_gradient", both[0]), check_like("value_and_gradient", both[1], x)


def _check_pair(objective: Any, x: Array, value: float, gradient: Array) -> None:
    """Whether `value_and_gradient` agrees with both methods up to half the digits."""
    both = value_and_gradient(objective, x)
    half = np.finfo(x.dtype).eps ** 0.5
    # Equal ones may be infinite; what is not finite cannot be compared.
    equal = both[0] == value or not math.isfinite(both[0] - value)
    if not equal and abs(both[0] - value) > half * max(abs(value), abs(both[0])):
        raise ValueError(
            f"objective.value_and_gradient must return the value first, {value!r} at x0, got {both[0]!r}"
        )
    gap = norm(objective, both[1] - gradient)
    if gap > half * (norm(objective, gradient) + norm(objective, both[1])):
        raise ValueError(
            "objective.value_and_gradient must return the gradient second, got one at the distance "
            f"{gap:.3g} from objective.gradient at x0, of norm {norm(objective, gradient):.3g}"
        )


def _check_unchanged(x: Array, kept: Array, what: str = "x") -> None:
    if not np.array_equal(x, kept, equal_nan=True):
        raise ValueError(
            f"objective must leave the arrays it is given as they are, got one that writes to {what}"
        )


def check_number(method: str, value: object) -> float:
    """Check that a method of the objective returned a number, and return it as a float."""
    if np.ndim(value) == 0:  # type: ignore[arg-type]
        try:
            return float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            pass
    raise ValueError(f"objective.{method} must return a number, got {shown(value)}")


def check_like(method: str, value: object, x: Array) -> Array:
    """Check that a method of the objective returned an array like x, and return it."""
    found: Array = np.asarray(value)
    if found.dtype.kind not in "fiu":
        raise ValueError(
            f"objective.{method} must return real numbers in an array like x, {x.shape}, got {shown(value)}"
        )
    if found.shape != x.shape:
        raise ValueError(
            f"objective.{method} must return an array like x, {x.shape}, got shape {found.shape}"
        )
    return found


def _check_hessian(objective: Any, x: Array) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, *x.shape)).astype(x.dtype)
    kept = x.copy()
    images = [check_like("hvp", objective.hvp(x, v), x) for v in (a, b)]
    _check_unchanged(x, kept)
    # A Hessian by differences of gradients is symmetric only to √eps.
    scale = norm(objective, a) * norm(objective, images[1]) + norm(objective, b) * norm(
        objective, images[0]
    )
    asymmetry = abs(inner(objective, b, images[0]) - inner(objective, a, images[1]))
    if asymmetry > np.finfo(x.dtype).eps ** 0.4 * scale:
        raise ValueError(
            "objective.hvp must be symmetric, got ⟨b, Ha⟩ and ⟨a, Hb⟩ that differ by "
            f"{asymmetry / scale:.1e} of their bound"
        )


# Sums of squares in double precision that lost no significant term to underflow.
_SQUARES = 1e-200, 1e200
# Sums and maxima of fewer numbers are taken over Python's floats, several times as fast. (NumPy adds so few in sequence, too.)
_FEW = 8
_FLOAT64 = np.dtype(np.float64)


class OwnResults:
    """An objective that returns a new array each time, even if the wrapped one reuses its arrays."""

    def __init__(self, objective: Any) -> None:
        self.original = objective
        # Looked up once: a failing attribute look-up is slow.
        self.is_spread = is_spread(objective)
        self.inner = getattr(objective, "inner", _dot)
        fresh = getattr(objective, "fresh_arrays", False) is True
        for name in ("gradient", "hvp", "third"):
            method = getattr(objective, name, None)
            if callable(method):
                setattr(self, name, method if fresh else _copying(name, method))
        both = getattr(objective, "value_and_gradient", None)
        if callable(both):
            self.value_and_gradient = both if fresh else _copying_second(both)

    def value(self, x: Array, **measure: Any) -> float:
        value = self.original.value(x, **measure)
        return float(value) if isinstance(value, float) else check_number("value", value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)


def _copying(name: str, method: Callable[..., Any]) -> Callable[..., Array]:
    """The method with a new array as its result, like its first argument, unless that is taken at particles given by keyword.

    The first call shows whether the method writes to its arguments.
    """
    is_first = True

    @wraps(method)
    def copied(*arguments: Any, **keywords: Any) -> Array:
        nonlocal is_first
        kept = [np.array(a) for a in arguments] if is_first else []
        found = np.array(method(*arguments, **keywords))
        for given, copy in zip(arguments, kept, strict=False):
            _check_unchanged(given, copy, "x" if given is arguments[0] else "a direction")
        is_first = False
        if not keywords and (
            found.shape != np.shape(arguments[0]) or found.dtype.kind not in "fiu"
        ):
            check_like(name, found, np.asarray(arguments[0]))
        return found

    return copied


def _copying_second(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def copied(x: Array) -> Any:
        both = method(x)
        whole = isinstance(both, tuple) and len(both) == 2
        return (both[0], np.array(both[1])) if whole else both

    return copied


def with_own_results(objective: Any) -> Any:
    """The objective, wrapped so that later calls do not change earlier results."""
    return objective if isinstance(objective, OwnResults) else OwnResults(objective)


def inner(objective: Any, u: Array, v: Array) -> float:
    """⟨u, v⟩ of the objective; by default the dot product, summed in an order independent of the number of threads."""
    return float(objective.inner(u, v)) if hasattr(objective, "inner") else _dot(u, v)


def _dot(u: Array, v: Array) -> float:
    if _is_small(u) and _is_small(v):
        total = 0.0
        for a, b in zip(u.tolist(), v.tolist(), strict=True):
            total += a * b
        return total
    return float(np.multiply(u, v).sum(dtype=np.float64))


def _is_small(u: Array) -> bool:
    """Whether u is a float64 vector of a few coordinates."""
    return u.size < _FEW and u.ndim == 1 and u.dtype is _FLOAT64


def is_spread(objective: Any) -> bool:
    """Whether x is one rank's part of a point."""
    if isinstance(objective, OwnResults):
        return objective.is_spread
    return hasattr(objective, "gather")


def require_same(objective: Any, what: str) -> None:
    """Compare the arguments of `solve` over the ranks that evaluate an objective together, if there are several.

    Raises
    ------
    ValueError
        On every rank, where a description differs from that of another rank.
    """
    if not hasattr(objective, "largest"):
        return
    number = float(zlib.crc32(what.encode()))
    extremes = -objective.largest(-number), objective.largest(number)  # collective
    if extremes != (number, number):
        raise ValueError(
            f"arguments of solve must be the same on every rank, got ({what}) here and others elsewhere"
        )


def peak(objective: Any, u: Array) -> float:
    """max |u|, over all ranks if the objective is distributed; NaN if u has a NaN."""
    own = _largest_of_few(u.tolist()) if _is_small(u) else float(np.abs(u).max(initial=0.0))
    return float(objective.largest(own)) if is_spread(objective) else own


def _largest_of_few(entries: list[float]) -> float:
    """The largest absolute value; NaN if there is one."""
    largest = 0.0
    for entry in entries:
        if entry != entry:
            return entry
        if abs(entry) > largest:
            largest = abs(entry)
    return largest


def is_finite(u: Array) -> bool:
    """Whether every entry is finite."""
    return bool(np.isfinite(u).all())


def all_finite(objective: Any, u: Array) -> bool:
    """Whether every entry is finite, on all ranks if the objective is distributed."""
    finite = is_finite(u)
    return objective.largest(not finite) == 0 if is_spread(objective) else finite


def norm(objective: Any, u: Array) -> float:
    """√⟨u, u⟩, safe from underflow and overflow of the squares."""
    if _is_small(u):
        square = inner(objective, u, u)
        if _SQUARES[0] < square < _SQUARES[1]:
            return math.sqrt(square)
    elif u.dtype == np.float64:
        with np.errstate(over="ignore", invalid="ignore"):
            square = inner(objective, u, u)
        if _SQUARES[0] < square < _SQUARES[1]:
            return math.sqrt(square)
    scale = peak(objective, u)
    if scale == 0.0 or not np.isfinite(scale):
        return scale
    scaled = u / u.dtype.type(scale)
    return scale * float(np.sqrt(inner(objective, scaled, scaled)))


def hessian_product(objective: Any, x: Array, v: Array, size: float | None = None) -> Array:
    """∇²E(x) v for v of any size: the objective's own ``hvp``, else a central difference of gradients.

    size : |v|, where it is known already.

    It is computed along v/|v|, so that nothing underflows. A difference with step h has relative errors of order h², if the
    derivatives of E vary over lengths of one, and ε(1 + max|x|)/h by rounding: they balance at the cube root.
    """
    size = norm(objective, v) if size is None else size
    if size == 0.0:
        return np.zeros_like(x)
    scalar = x.dtype.type
    q = v / scalar(size)
    if hasattr(objective, "hvp"):
        image: Array = objective.hvp(x, q)
    else:
        h = scalar(_rounding(objective, x) ** (1 / 3))
        difference = objective.gradient(x + h * q) - objective.gradient(x - h * q)
        image = difference / (2 * h)
    return scalar(size) * image


def third(objective: Any, x: Array, u: Array) -> Array:
    """∇³E(x)[u, u]: the objective's own, else the second central difference of its gradient.

    Along u/|u| the truncation error, h² if the derivatives of E vary over lengths of one, and rounding, ε(1 + max|x|)/h²,
    balance at the fourth root; the relative error is its square.
    """
    if hasattr(objective, "third"):
        result: Array = objective.third(x, u)
        return result
    size = norm(objective, u)
    if size == 0.0:
        return np.zeros_like(x)
    scalar = x.dtype.type
    h = scalar(_rounding(objective, x) ** 0.25)
    step = h * (u / scalar(size))
    outer = objective.gradient(x + step) + objective.gradient(x - step)
    difference: Array = (outer - 2 * objective.gradient(x)) * scalar(size / float(h)) ** 2
    return difference


def _rounding(objective: Any, x: Array) -> float:
    """Rounding error of positions, and of gradients over curvatures, in units of length."""
    return epsilon(x) * (1.0 + peak(objective, x))


def epsilon(x: Array) -> float:
    """The machine epsilon of an array's precision."""
    return _epsilon_of(x.dtype)


@lru_cache
def _epsilon_of(dtype: np.dtype[Any]) -> float:
    return float(np.finfo(dtype).eps)
