"""One layer of linear neurons."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from meanfield.landscapes.base import Array, Reference
from solvers._support.arguments import count, settle

MOST_NEURONS = 100_000  # a small landscape: its start is stored as a tuple of numbers


@dataclass(frozen=True)
class LinearNeurons(Reference):
    """E(a, b) = ½ f², f = a·b/√m: m linear neurons on one sample with target 0, the model of the catapult.

    With the tangent kernel λ = (|a|² + |b|²)/m, gradient descent reduces exactly to two numbers:

        f ← f (1 − ηλ + η² f²/m),        λ ← λ + (η f²/m)(ηλ − 4).

    For 2/η < λ < 4/η the loss first grows, until λ has fallen below 2/η. At f = 0 the sharpness is λ.

    Reference: m = 100 from f = 1, λ = 30 (all a_i equal, all b_i equal) with η = 0.1: λ ends at 2.22678.

    Parameters
    ----------
    width : int
        m, 1 to 100,000.

    Raises
    ------
    ValueError
        For a width out of its range.

    Examples
    --------
    >>> neurons = meanfield.landscapes.LinearNeurons(width=4)
    >>> x = np.ones(8)  # all a_i and b_i
    >>> neurons.output(x), neurons.kernel(x), neurons.value(x)  # 4/√4, 8/4, ½·2²
    (2.0, 2.0, 2.0)
    """

    width: int = 100

    def __post_init__(self) -> None:
        settle(self, width=count("width", self.width, most=MOST_NEURONS))

    @property
    def start(self) -> tuple[float, ...]:
        # (a + b)² and (a − b)² from a² + b² = 30 and ab = 1/√m.
        product = 1 / math.sqrt(self.width)
        total, difference = math.sqrt(30 + 2 * product), math.sqrt(30 - 2 * product)
        a, b = (total + difference) / 2, (total - difference) / 2
        return (a,) * self.width + (b,) * self.width

    @property
    def minimum(self) -> float:
        return 0.0

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return tuple(f"{name}{i + 1}" for name in "ab" for i in range(self.width))

    def output(self, x: ArrayLike) -> float:
        """f."""
        x = self._point("x", x)
        return float(0.5 * x @ self._slope(x))

    def kernel(self, x: ArrayLike) -> float:
        """λ = (|a|² + |b|²)/m."""
        x = self._point("x", x)
        return float(x @ x) / self.width

    def value_and_gradient(self, x: ArrayLike) -> tuple[float, Array]:
        """E and ∇E at x, which share the output."""
        x = self._point("x", x)
        slope = self._slope(x)
        f = float(0.5 * x @ slope)
        return 0.5 * f**2, np.array(f * slope, dtype=x.dtype)

    def _slope(self, x: Array) -> Array:
        """∇f = (b, a)/√m, linear in x = (a, b)."""
        return np.roll(x, self.width) / math.sqrt(self.width)

    def _value(self, x: Array) -> float:
        return 0.5 * self.output(x) ** 2

    def _gradient(self, x: Array) -> ArrayLike:
        return self.output(x) * self._slope(x)

    def _hvp(self, x: Array, v: Array) -> ArrayLike:
        slope = self._slope(x)
        return (slope @ v) * slope + self.output(x) * self._slope(v)

    def _third(self, x: Array, u: Array) -> ArrayLike:
        slope, along = self._slope(x), self._slope(u)
        return (along @ u) * slope + 2 * (slope @ u) * along
