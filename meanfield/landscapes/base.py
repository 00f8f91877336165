"""The base class of landscapes, and sums, multiples and shifts of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers._support.arguments import array, finite_array, instance, real, settle, wrong_shape

Array = NDArray[np.floating[Any]]
_EXAMPLE = "for instance Valley()"
Formula = tuple[Callable[..., None], tuple[float, ...]]


class FiniteDimensional(ABC):
    """An objective E on flat arrays x of shape (dimension,), Euclidean.

    Arrays are checked here; a landscape implements its formulas as ``_value``, ``_gradient``, ``_hvp`` and ``_third``, of
    float64 or float32 arrays, and results have the precision of x. Landscapes can be added, E₁ + E₂, scaled, 2.0 * E, and
    shifted, ``E.shifted(offset)``.

    Examples
    --------
    >>> trough = meanfield.landscapes.VaryingTrough()
    >>> combined = 2.0 * trough + trough.shifted([1.0, 0.0])
    >>> isinstance(combined, meanfield.landscapes.FiniteDimensional), combined.value([1.0, 1.0])  # 2·2 + 1
    (True, 5.0)
    """

    # Lets NumPy scalars defer 2.0 * E to the landscape rather than build an array.
    __array_ufunc__ = None
    fresh_arrays = True

    @property
    def start(self) -> tuple[float, ...] | None:
        """The start of the reference experiment; None without one."""
        return None

    @property
    def dimension(self) -> int | None:
        """Number of coordinates; None if arbitrary."""
        return None

    @property
    def minimum(self) -> float | None:
        """The infimum of E; None if unknown or if E is unbounded below."""
        return None

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the coordinates; empty if their number is arbitrary."""
        return tuple(f"x{i + 1}" for i in range(self.dimension or 0))

    def value(self, x: ArrayLike) -> float:
        """E(x)."""
        return float(self._value(self._point("x", x)))

    def gradient(self, x: ArrayLike) -> Array:
        """∇E(x)."""
        x = self._point("x", x)
        return np.array(self._gradient(x), dtype=x.dtype)

    def hvp(self, x: ArrayLike, v: ArrayLike) -> Array:
        """∇²E(x) v."""
        x = self._point("x", x)
        return np.array(self._hvp(x, self._point("v", v, x)), dtype=x.dtype)

    def third(self, x: ArrayLike, u: ArrayLike) -> Array:
        """∇³E(x)[u, u], the second derivative of the gradient along u."""
        x = self._point("x", x)
        return np.array(self._third(x, self._point("u", u, x)), dtype=x.dtype)

    @property
    def compiled_gradient(self) -> Any:
        """∇E compiled by numba, ``g(x, out)`` of float64 arrays, for millions of gradient steps; None if unavailable."""
        formula = self._formula
        if formula is None:
            return None
        from meanfield._kernels.landscapes import from_formula

        return from_formula(*formula)

    @property
    def _formula(self) -> Formula | None:
        """∇E as a function ``f(x, out, *parameters)`` valid in both Python and numba, and its parameters."""
        return None

    def shifted(self, offset: ArrayLike) -> Shifted:
        """The landscape x ↦ E(x − offset)."""
        return Shifted(self, tuple(array("offset", offset).ravel().tolist()))

    def __add__(self, other: object) -> Sum:
        return Sum(self, other) if isinstance(other, FiniteDimensional) else NotImplemented

    def __mul__(self, factor: object) -> Scaled:
        known = isinstance(factor, Real | np.ndarray)
        return Scaled(self, factor) if known else NotImplemented  # type: ignore[arg-type]

    __rmul__ = __mul__

    @abstractmethod
    def _value(self, x: Array) -> float: ...
    def _gradient(self, x: Array) -> ArrayLike:
        assert self._formula is not None, "a landscape has a formula or a _gradient of its own"
        function, parameters = self._formula
        out = np.empty_like(x)
        function(x, out, *parameters)
        return out

    @abstractmethod
    def _hvp(self, x: Array, v: Array) -> ArrayLike: ...
    @abstractmethod
    def _third(self, x: Array, u: Array) -> ArrayLike: ...

    def _point(self, name: str, value: ArrayLike, like: Array | None = None) -> Array:
        """A flat array of the landscape's dimension, or that of `like`, in the precision of `like` or its own."""
        x = array(name, value)
        if like is not None and x.shape == like.shape and x.dtype == like.dtype:
            return x
        size = self.dimension if like is None else like.size
        if x.ndim != 1 or x.size == 0 or size not in (None, x.size):
            needed = "(n,) with n ≥ 1" if size is None else f"({size},)"
            raise wrong_shape(name, needed, x.shape)
        return x if like is None else np.asarray(x, dtype=like.dtype)


class Reference(FiniteDimensional):
    """A landscape with a reference experiment, whose start fixes the dimension.

    Examples
    --------
    >>> valley = meanfield.landscapes.Valley()
    >>> isinstance(valley, meanfield.landscapes.Reference), valley.start
    (True, (0.0, 6.0))
    """

    @property
    @abstractmethod
    def start(self) -> tuple[float, ...]: ...

    @property
    def dimension(self) -> int:
        return len(self.start)


@dataclass(frozen=True)
class Sum(FiniteDimensional):
    """E₁(x) + E₂(x). Its infimum does not follow from theirs; its start is that of the first with one.

    Examples
    --------
    >>> trough, valley = meanfield.landscapes.VaryingTrough(), meanfield.landscapes.Valley()
    >>> round((trough + valley).value([1.0, 2.0]), 6)  # 8 + 1.47
    9.47
    """

    first: FiniteDimensional
    second: FiniteDimensional

    def __post_init__(self) -> None:
        instance("first", self.first, FiniteDimensional, _EXAMPLE)
        instance("second", self.second, FiniteDimensional, _EXAMPLE)
        dimensions = self.first.dimension, self.second.dimension
        if None not in dimensions and dimensions[0] != dimensions[1]:
            raise ValueError(
                f"second must have dimension {dimensions[0]}, as first, got {dimensions[1]}"
            )

    @property
    def start(self) -> tuple[float, ...] | None:
        return self.second.start if self.first.start is None else self.first.start

    @property
    def dimension(self) -> int | None:
        first = self.first.dimension
        return self.second.dimension if first is None else first

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return self.first.parameter_names or self.second.parameter_names

    def _value(self, x: Array) -> float:
        return self.first.value(x) + self.second.value(x)

    def _gradient(self, x: Array) -> ArrayLike:
        return self.first.gradient(x) + self.second.gradient(x)

    def _hvp(self, x: Array, v: Array) -> ArrayLike:
        return self.first.hvp(x, v) + self.second.hvp(x, v)

    def _third(self, x: Array, u: Array) -> ArrayLike:
        return self.first.third(x, u) + self.second.third(x, u)


class _Derived(FiniteDimensional):
    """A landscape derived from another one."""

    landscape: FiniteDimensional

    @property
    def start(self) -> tuple[float, ...] | None:
        return self.landscape.start

    @property
    def dimension(self) -> int | None:
        return self.landscape.dimension

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return self.landscape.parameter_names


@dataclass(frozen=True)
class Scaled(_Derived):
    """factor · E(x). Gradient descent with factor c and learning rate η is that on E with cη.

    Examples
    --------
    >>> (3.0 * meanfield.landscapes.VaryingTrough()).value([2.0, 3.0])
    135.0
    """

    landscape: FiniteDimensional
    factor: float

    def __post_init__(self) -> None:
        instance("landscape", self.landscape, FiniteDimensional, _EXAMPLE)
        settle(self, factor=real("factor", self.factor))

    @property
    def minimum(self) -> float | None:
        lowest = self.landscape.minimum
        return None if lowest is None or self.factor <= 0 else self.factor * lowest

    def _value(self, x: Array) -> float:
        return self.factor * self.landscape.value(x)

    def _gradient(self, x: Array) -> ArrayLike:
        return self.factor * self.landscape.gradient(x)

    def _hvp(self, x: Array, v: Array) -> ArrayLike:
        return self.factor * self.landscape.hvp(x, v)

    def _third(self, x: Array, u: Array) -> ArrayLike:
        return self.factor * self.landscape.third(x, u)


@dataclass(frozen=True)
class Shifted(_Derived):
    """E(x − offset); its start is shifted too.

    Examples
    --------
    >>> meanfield.landscapes.VaryingTrough().shifted([1.0, 0.0]).value([2.0, 3.0])  # (1 + 1)·9
    18.0
    """

    landscape: FiniteDimensional
    offset: tuple[float, ...]

    def __post_init__(self) -> None:
        instance("landscape", self.landscape, FiniteDimensional, _EXAMPLE)
        offset = self.landscape._point("offset", finite_array("offset", self.offset))
        settle(self, offset=tuple(offset.tolist()))

    @property
    def start(self) -> tuple[float, ...] | None:
        start = self.landscape.start
        return start and tuple(s + o for s, o in zip(start, self.offset, strict=True))

    @property
    def dimension(self) -> int:
        return len(self.offset)

    @property
    def minimum(self) -> float | None:
        return self.landscape.minimum

    def _back(self, x: Array) -> Array:
        return x - np.array(self.offset, dtype=x.dtype)

    def _value(self, x: Array) -> float:
        return self.landscape.value(self._back(x))

    def _gradient(self, x: Array) -> ArrayLike:
        return self.landscape.gradient(self._back(x))

    def _hvp(self, x: Array, v: Array) -> ArrayLike:
        return self.landscape.hvp(self._back(x), v)

    def _third(self, x: Array, u: Array) -> ArrayLike:
        return self.landscape.third(self._back(x), u)
