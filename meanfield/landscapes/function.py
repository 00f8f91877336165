"""A plain Python function as a landscape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meanfield._validation import check_choice, check_count
from meanfield.landscapes.base import Array, FiniteDimensional, check_real

_EPS = float(np.finfo(np.float64).eps)
#: Far below rounding: the complex step takes no difference, so there is nothing to cancel.
_TINY = 1e-20


@dataclass(frozen=True)
class Landscape(FiniteDimensional):
    """E from a Python function of one array, its derivatives by complex step or by differences.

    The function always gets float64 or complex128 arrays (n,), and each derivative costs 2n to 6n calls of it. With ε the float64
    rounding 2.2e-16, F the size of E and of its derivatives over lengths of 1 + |x|, and every step the best for its order,
    errors are about

        derivatives      gradient              hvp                   third
        "complex"        ε F (1e-16)           ε^(2/3) F (4e-11)     ε^(1/2) F (1e-8)
        "differences"    ε^(2/3) F (4e-11)     ε^(1/2) F (1e-8)      ε^(2/5) F (5e-7)

    "complex" evaluates the function at x + ih e_j, h = 1e-20 (1 + |x_j|). It must be analytic: abs, max, .real and comparisons
    are out (write x**2 for abs(x)**2). One that is found not to be is refused when it is first differentiated.

    Parameters
    ----------
    function : callable
        E, of an array (n,), returning one number. One compiled by ``numba.njit`` is welcome: gradient descent then takes millions
        of steps in seconds.
    dimension : int, optional
        n; any n goes where it is left out.
    minimum : float, optional
        The infimum of E, where it is known.
    derivatives : {"complex", "differences"}
        How to differentiate.

    Raises
    ------
    ValueError
        For a function that is not callable, a dimension below 1, a minimum that is not finite, an unknown kind of derivatives;
        in use, for a function that does not return one number or, with "complex", is not analytic.
    """

    function: Callable[[NDArray[Any]], Any]
    dimension: int | None = None
    minimum: float | None = None
    derivatives: str = "complex"
    _found_analytic: bool = field(default=False, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ValueError(f"function: {self.function!r} came, a callable is needed")
        if self.dimension is not None:
            check_count("dimension", self.dimension)
        if self.minimum is not None:
            check_real("minimum", self.minimum)
        check_choice("derivatives", self.derivatives, ("complex", "differences"))

    @property
    def compiled_gradient(self) -> Any:
        """The complex step in compiled code, if the function is (``numba.njit``) and analytic; None otherwise."""
        if self.derivatives != "complex" or not hasattr(self.function, "py_func"):
            return None
        from meanfield._kernels.landscapes import by_complex_step

        return by_complex_step(self.function, _TINY)

    def _value(self, x: Array) -> float:
        value = self._call(x.astype(np.float64))
        if np.iscomplexobj(value):
            raise ValueError(f"function: it returned {value!r}, complex, for a real array")
        return float(value)

    def _gradient(self, x: Array) -> ArrayLike:
        x = x.astype(np.float64)
        self._check_analytic(x)
        return self._slopes(x, self._step(1))

    def _hvp(self, x: Array, v: Array) -> ArrayLike:
        x = x.astype(np.float64)
        self._check_analytic(x)
        h, length = self._along(x, v, 2)
        if length == 0:
            return np.zeros_like(x)
        ahead, behind = (self._slopes(x + s, self._step(2)) for s in (h, -h))
        return (ahead - behind) / (2 * length)

    def _third(self, x: Array, u: Array) -> ArrayLike:
        x = x.astype(np.float64)
        self._check_analytic(x)
        h, length = self._along(x, u, 3)
        if length == 0:
            return np.zeros_like(x)
        ahead, here, behind = (self._slopes(x + s, self._step(3)) for s in (h, 0 * h, -h))
        return (ahead - 2 * here + behind) / length**2

    def _step(self, order: int) -> float:
        """The relative step h of a derivative of this order, that balances its error h² against the rounding.

        A difference of d-th order loses ε/h^d, so h = ε^(1/(d + 2)); the complex step's own derivative loses nothing.
        """
        return _EPS ** (1 / (order + (1 if self.derivatives == "complex" else 2)))

    def _along(self, x: Array, v: Array, order: int) -> tuple[Array, float]:
        """The step along v, and how many v it is."""
        norm = float(np.linalg.norm(v))
        if norm == 0:
            return np.zeros_like(x), 0.0
        length = self._step(order) * (1 + float(np.linalg.norm(x))) / norm
        return length * v.astype(np.float64), length

    def _slopes(self, x: Array, step: float) -> Array:
        """The gradient, coordinate by coordinate."""
        if self.derivatives == "complex":
            return np.array([self._complex_slope(x, e) for e in np.eye(x.size)])
        return np.array([self._difference(x, e, step) for e in np.eye(x.size)])

    def _complex_slope(self, x: Array, e: Array) -> float:
        h = _TINY * (1 + float(np.abs(x @ e)))
        value = self._call(x + 1j * h * e)
        if not np.iscomplexobj(value):
            raise ValueError(
                f"function: it returned {value!r}, real, for a complex array: it is not analytic; "
                'write it without abs, max and .real, or use derivatives="differences"'
            )
        return float(np.imag(value)) / h

    def _difference(self, x: Array, e: Array, step: float) -> float:
        h = step * (1 + float(np.abs(x @ e)))
        ahead, behind = x + h * e, x - h * e
        # The step as rounded, not as asked for.
        return (self._value(ahead) - self._value(behind)) / float((ahead - behind) @ e)

    def _check_analytic(self, x: Array) -> None:
        """Whether the complex step agrees with a difference, along one direction and once."""
        if self.derivatives != "complex" or self._found_analytic:
            return
        # Of no particular direction, so that what is wrong in one coordinate does not hide.
        e = np.cos(1.0 + np.arange(x.size))
        e /= np.linalg.norm(e)
        value, slope = self._value(x), self._complex_slope(x, e)
        difference = self._difference(x, e, _EPS ** (1 / 3))
        if abs(slope - difference) > 1e-4 * abs(difference) + 1e-6 * (1 + abs(value)):
            raise ValueError(
                f"function: its complex step gives the slope {slope:.6g}, a difference {difference:.6g}: "
                'it is not analytic; write it without abs, max and .real, or use derivatives="differences"'
            )
        object.__setattr__(self, "_found_analytic", True)

    def _call(self, x: NDArray[Any]) -> Any:
        value = np.asarray(self.function(x))
        if value.shape != () or value.dtype.kind not in "fciu":
            raise ValueError(
                f"function: it returned an array of shape {value.shape} and dtype {value.dtype}, "
                "one number is needed"
            )
        return value[()]
