"""A Python function as a landscape."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meanfield.landscapes.base import Array, FiniteDimensional
from solvers._support.arguments import choice, count, real, refusal, settle

_EPS = float(np.finfo(np.float64).eps)
#: The complex step involves no difference, so nothing cancels, but two limits remain: its error is h² times the third
#: derivative, and h times a slope must not underflow. At h = 1e-100 neither affects slopes above 1e-200.
_TINY = 1e-100
#: Slopes above this may be the quotient of a value that is not real and the step.
_SUSPICIOUS = 1e50
#: Slopes below this, with a margin for large derivatives and partial products, are recomputed in extended range.
_RESOLVED = 1e-170
#: Where the exponent of a long double has more bits than that of a float64 (on most machines with Linux), h² vanishes beside the
#: smallest float64, and h times several of them is still a normal number.
_EXTENDED_TINY = "1e-1000"
_HAS_EXTENDED_RANGE = np.finfo(np.longdouble).minexp < -16000
#: Points around the first point of differentiation, at which the function must be analytic too.
_ANALYTIC_POINTS = 3


class _NotAnalyticError(ValueError):
    """The complex step is not the derivative of this function."""


@dataclass(frozen=True)
class Landscape(FiniteDimensional):
    """E from a Python function of one array, its derivatives by complex step or by differences.

    The function always gets float64 or complex128 arrays (n,), and each derivative costs 2n to 6n calls of it. With ε the float64
    rounding 2.2e-16, F the size of E and of its derivatives over lengths of 1 + |x|, and every step the best for its order,
    the errors are about

        derivatives      gradient              hvp                   third
        "complex"        ε F (1e-16)           ε^(2/3) F (4e-11)     ε^(1/2) F (1e-8)
        "differences"    ε^(2/3) F (4e-11)     ε^(1/2) F (1e-8)      ε^(2/5) F (5e-7)

    "complex" evaluates the function at x + ih e_j, h = 1e-100 (1 + |x_j|). It must be analytic: abs, max, .real and comparisons
    are not (write x**2 for abs(x)**2). A function found not to be analytic raises when it is first differentiated.

    A coordinate that decays below the edge of stability determines the onset of its oscillation, however small it is.
    "complex" resolves it down to 1e-170, and below in extended precision (complex256) down to underflow, where machine and
    function support it; otherwise a warning says that slopes are no longer resolved. "differences" has an error of 4e-11 F in
    every coordinate, so oscillations start early.

    Parameters
    ----------
    function : callable
        E, of an array (n,), returning one number. It may be compiled by ``numba.njit``: gradient descent then takes millions
        of steps in seconds.
    dimension : int, optional
        n; by default arbitrary.
    minimum : float, optional
        The infimum of E, if known.
    derivatives : {"complex", "differences"}
        Method of differentiation.

    Raises
    ------
    ValueError
        For a function that is not callable, a dimension below 1, a minimum that is not finite, an unknown kind of derivatives;
        in use, for a function that does not return one number or, with "complex", is not analytic.

    Warns
    -----
    RuntimeWarning
        In use, where a slope is too small for the complex step and cannot be computed in extended precision.

    Examples
    --------
    Derivatives of x³ at 2 by complex step:

    >>> cube = meanfield.landscapes.Landscape(lambda x: x[0] ** 3)
    >>> cube.gradient([2.0]), cube.hvp([2.0], [1.0]).round(6), cube.third([2.0], [1.0]).round(4)
    (array([12.]), array([12.]), array([6.]))
    """

    function: Callable[[NDArray[Any]], Any]
    dimension: int | None = None
    minimum: float | None = None
    derivatives: str = "complex"
    _found_analytic: bool = field(default=False, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise refusal("function", "a function", self.function)
        if self.dimension is not None:
            settle(self, dimension=count("dimension", self.dimension))
        if self.minimum is not None:
            settle(self, minimum=real("minimum", self.minimum))
        choice("derivatives", self.derivatives, ("complex", "differences"))

    @property
    def compiled_gradient(self) -> Any:
        """The complex step in compiled code, if the function is (``numba.njit``) and analytic; None otherwise."""
        if self.derivatives != "complex" or not hasattr(self.function, "py_func"):
            return None
        from meanfield._kernels.landscapes import by_complex_step

        return by_complex_step(self.function, _TINY, _RESOLVED)

    def _value(self, x: Array) -> float:
        value = self._call(x.astype(np.float64))
        if np.iscomplexobj(value):
            raise ValueError(f"function must return a real number for a real array, got {value!r}")
        return float(value)

    def _gradient(self, x: Array) -> ArrayLike:
        x = x.astype(np.float64)
        self._check_analytic(x)
        return self._slopes(x, self._step(1))

    def _hvp(self, x: Array, v: Array) -> ArrayLike:
        x = x.astype(np.float64)
        self._check_analytic(x)
        size, direction = _unit(v)
        if size == 0:
            return np.zeros_like(x)
        h = self._length(x, direction, 2)
        ahead, behind = (self._slopes(x + s * direction, self._step(2), limit=0.0) for s in (h, -h))
        return size * ((ahead - behind) / (2 * h))

    def _third(self, x: Array, u: Array) -> ArrayLike:
        x = x.astype(np.float64)
        self._check_analytic(x)
        size, direction = _unit(u)
        if size == 0:
            return np.zeros_like(x)
        h = self._length(x, direction, 3)
        ahead, here, behind = (
            self._slopes(x + s * direction, self._step(3), limit=0.0) for s in (h, 0.0, -h)
        )
        return size * (size * ((ahead - 2 * here + behind) / h**2))

    def _step(self, order: int) -> float:
        """The relative step h of a derivative of this order that balances its error h² against rounding.

        A difference of order d has a rounding error ε/h^d, so h = ε^(1/(d + 2)); the complex step itself has none.
        """
        return _EPS ** (1 / (order + (1 if self.derivatives == "complex" else 2)))

    def _length(self, x: Array, direction: Array, order: int) -> float:
        """The step along a unit vector, scaled by the size of the coordinates that it moves."""
        return self._step(order) * (1 + float(np.abs(x) @ np.abs(direction)))

    def _slopes(self, x: Array, step: float, limit: float = _RESOLVED) -> Array:
        """The gradient, coordinate by coordinate; by complex step also resolved below `limit`, which differences do not need."""
        if self.derivatives == "complex":
            return np.array([self._complex_slope(x, e, limit) for e in np.eye(x.size)])
        return np.array([self._difference(x, e, step) for e in np.eye(x.size)])

    def _complex_slope(self, x: Array, e: Array, limit: float = _RESOLVED) -> float:
        h = _TINY * (1 + float(np.abs(x @ e)))
        slope = self._imaginary(x, h * e) / h
        # Where the function is not defined, such as a logarithm below zero, the complex one has values off the real axis.
        if abs(slope) > _SUSPICIOUS and np.isnan(self._value(x)):
            return float("nan")
        return slope if not abs(slope) < limit else self._small_slope(x, e, slope)

    def _imaginary(self, x: Array, step: Array) -> float:
        """Im E(x + i step)."""
        try:
            value = self._call(x + 1j * step)
        except TypeError as error:
            raise _NotAnalyticError(
                f"function must be analytic, got one that does not take complex numbers ({error}); "
                'use derivatives="differences"'
            ) from error
        if not np.iscomplexobj(value):
            raise _NotAnalyticError(
                f"function must be analytic, got the real {value!r} for a complex array; "
                'write it without abs, max and .real, or use derivatives="differences"'
            )
        return float(np.imag(value))

    def _small_slope(self, x: Array, e: Array, rounded: float) -> float:
        """A slope that the complex step in float64 may not resolve, in extended range if available."""
        extended = self._extended_slope(x, e) if _HAS_EXTENDED_RANGE else None
        if extended is not None:
            return extended
        # If the function does not depend on the coordinate, or is even in it, every step has a zero imaginary part.
        if rounded != 0.0 or self._imaginary(x, e) != 0.0:
            warnings.warn(
                f"the slope {rounded:.1e} of function is too small for the complex step: coordinates stop decaying there, "
                "and their oscillations start early",
                RuntimeWarning,
                stacklevel=2,
            )
        return rounded

    def _extended_slope(self, x: Array, e: Array) -> float | None:
        """The complex step in long doubles; None for a function that does not support them."""
        h = np.longdouble(_EXTENDED_TINY) * (1 + np.abs(x @ e))
        function = getattr(self.function, "py_func", self.function)
        try:
            value = np.asarray(function(x + np.clongdouble(1j) * h * e))
        except Exception:  # of any kind: the function need only support complex128
            return None
        if value.shape != () or value.dtype != np.clongdouble:
            return None
        return float(np.imag(value[()]) / h)

    def _difference(self, x: Array, e: Array, step: float) -> float:
        h = step * (1 + float(np.abs(x @ e)))
        ahead, behind = x + h * e, x - h * e
        # The step as rounded, not as requested.
        return (self._value(ahead) - self._value(behind)) / float((ahead - behind) @ e)

    def _check_analytic(self, x: Array) -> None:
        """Check once that the complex step agrees with a difference, at x and at points around it."""
        if self.derivatives != "complex" or self._found_analytic:
            return
        self._compare(x)
        rng = np.random.default_rng(0)
        for _ in range(_ANALYTIC_POINTS):
            with np.errstate(all="ignore"):
                try:
                    self._compare(x + 0.3 * (1 + np.abs(x)) * rng.standard_normal(x.size))
                except _NotAnalyticError:
                    raise
                except Exception:  # the function need not be defined there
                    continue
        object.__setattr__(self, "_found_analytic", True)

    def _compare(self, x: Array) -> None:
        # A generic direction, so that an error in one coordinate is visible; scaled by the size of each coordinate.
        e = np.cos(1.0 + np.arange(x.size)) * (1 + np.abs(x))
        value, slope = self._value(x), self._imaginary(x, _TINY * e) / _TINY
        difference, wider = (
            (self._value(x + h * e) - self._value(x - h * e)) / (2 * h)
            for h in (_EPS ** (1 / 3), 2 * _EPS ** (1 / 3))
        )
        error = abs(wider - difference) + 1e-4 * abs(difference) + 1e-6 * (1 + abs(value))
        if abs(slope - difference) > error:
            raise _NotAnalyticError(
                f"function must be analytic, got the slope {slope:.6g} by a complex step and {difference:.6g} by a difference; "
                'write it without abs, max and .real, or use derivatives="differences"'
            )

    def _call(self, x: NDArray[Any]) -> Any:
        value = np.asarray(self.function(x))
        if value.shape != () or value.dtype.kind not in "fciu":
            raise ValueError(
                f"function must return one number, got an array of shape {value.shape} and dtype {value.dtype}"
            )
        return value[()]


def _unit(v: Array) -> tuple[float, Array]:
    """|v| and v/|v|, safe from the underflow of squares; v itself where it is zero or not finite."""
    v = v.astype(np.float64)
    largest = float(np.max(np.abs(v)))
    if largest == 0.0 or not np.isfinite(largest):
        return largest, v
    scaled = v / largest
    size = float(np.linalg.norm(scaled))
    return largest * size, scaled / size
