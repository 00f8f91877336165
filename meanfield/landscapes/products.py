"""Losses of a product of weights, scalars or matrices."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
from numpy.typing import ArrayLike

from meanfield.landscapes.base import Array, FiniteDimensional, Formula, Reference
from solvers._support.arguments import array, count, real, settle, wrong_shape

MOST_FACTORS = 10_000  # small landscapes: a start is stored as a tuple of numbers


def _times(left: Array, right: Array) -> Array:
    """The product of two power series of matrices, truncated at their order."""
    if len(left) == 1:  # the gradient, the most frequent case
        return left @ right
    orders = range(len(left))
    return np.stack([sum(left[i] @ right[k - i] for i in range(k + 1)) for k in orders])


class _Factors(Reference):
    """E = Σ ℓ(P) over the entries of P = W_L ⋯ W_1, square factors, x their flat stack.

    Derivatives are the Taylor coefficients along x + tu of the gradient ∂E/∂W_l = (W_L ⋯ W_{l+1})ᵀ ℓ'(P) (W_{l−1} ⋯ W_1)ᵀ, by
    exact arithmetic of series.
    """

    @property
    def _side(self) -> int:
        """Rows and columns of a factor."""
        return 1

    @abstractmethod
    def _loss(self, product: Array) -> Array:
        """ℓ, entry by entry."""

    @abstractmethod
    def _slopes(self, product: Array) -> tuple[ArrayLike, ArrayLike, ArrayLike]:
        """ℓ', ℓ'', ℓ''', entry by entry."""

    @property
    def minimum(self) -> float:
        return 0.0

    def _series(self, *coefficients: Array) -> Array:
        """The factors along a curve given by its Taylor coefficients, (L, orders, d, d)."""
        return np.stack([c.reshape(-1, self._side, self._side) for c in coefficients], axis=1)

    def _gradient_series(self, factors: Array) -> Array:
        return self._product_and_gradient(factors)[1]

    def _product_and_gradient(self, factors: Array) -> tuple[Array, Array]:
        """P along a curve, and the gradient."""
        one = np.zeros_like(factors[0])
        one[0] = np.eye(self._side)
        before = list(accumulate(factors, lambda product, w: _times(w, product), initial=one))
        after = list(accumulate(reversed(factors), _times, initial=one))[::-1]
        residual = self._residual_series(before[-1])
        transposed = (0, 2, 1)
        gradient = np.stack(
            [
                _times(_times(above.transpose(transposed), residual), below.transpose(transposed))
                for above, below in zip(after[1:], before[:-1], strict=True)
            ],
            axis=1,
        )
        return before[-1], gradient

    def _pair(self, x: ArrayLike) -> tuple[float, Array]:
        """E and ∇E at x, which share the product."""
        x = self._point("x", x)
        product, gradient = self._product_and_gradient(self._series(x))
        return float(np.sum(self._loss(product[0]))), np.array(gradient[0].ravel(), dtype=x.dtype)

    def _residual_series(self, product: Array) -> Array:
        """ℓ' of a series, by the chain rule."""
        slope, curvature, change = self._slopes(product[0])
        series = [slope, *(curvature * p for p in product[1:])]
        if len(product) > 2:
            series[2] = series[2] + 0.5 * np.multiply(change, product[1] ** 2)
        return np.stack(series)

    def _value(self, x: Array) -> float:
        product = list(accumulate(self._series(x)[:, 0], lambda product, w: w @ product))[-1]
        return float(np.sum(self._loss(product)))

    def _gradient(self, x: Array) -> ArrayLike:
        return self._gradient_series(self._series(x))[0].ravel()

    def _hvp(self, x: Array, v: Array) -> ArrayLike:
        return self._gradient_series(self._series(x, v))[1].ravel()

    def _third(self, x: Array, u: Array) -> ArrayLike:
        return 2 * self._gradient_series(self._series(x, u, np.zeros_like(u)))[2].ravel()


class _SquaredFactors(_Factors):
    """ℓ(P) = ½ (P − M)²."""

    @property
    @abstractmethod
    def _goal(self) -> Array | float:
        """M."""

    def _loss(self, product: Array) -> Array:
        return 0.5 * (product - self._goal) ** 2

    def _slopes(self, product: Array) -> tuple[ArrayLike, ArrayLike, ArrayLike]:
        return product - self._goal, 1.0, 0.0


def _scalar_start(depth: int, *first: float) -> tuple[float, ...]:
    return (*first, *(1.0,) * depth)[:depth]


def _scalar_names(depth: int) -> tuple[str, ...]:
    return ("x", "y") if depth == 2 else tuple(f"x{i + 1}" for i in range(depth))


def _scalar_gradient(x: Array, out: Array, target: float) -> None:
    """(x_1 ⋯ x_L − m) Π_{j≠i} x_j, without a division by x_i."""
    product = x[0]
    out[0] = 1.0
    for i in range(1, x.size):
        out[i] = product
        product = product * x[i]
    after = product - target
    for i in range(x.size - 1, -1, -1):
        out[i] = after * out[i]
        after = x[i] * after


class _SquaredScalars(_SquaredFactors):
    """½ (x_1 ⋯ x_L − m)²: scalars in place of matrices, with a closed formula for the gradient."""

    @property
    @abstractmethod
    def _goal(self) -> float: ...

    @property
    def _formula(self) -> Formula:
        return _scalar_gradient, (self._goal,)

    def _gradient(self, x: Array) -> ArrayLike:
        return FiniteDimensional._gradient(self, x)


@dataclass(frozen=True)
class ScalarFactorization(_SquaredScalars):
    """E(x) = ½ (x_1 ⋯ x_L − m)², a linear network with one neuron per layer.

    The sharpness at a minimiser is Σ_i (m/x_i)², of depth two x² + y². There the gradient flow conserves c = x² − y², while under
    gradient descent exactly c ← c (1 − η² r²) with the residual r = xy − m: every step off the minimisers balances the factors
    and so leads to a flatter minimiser.

    Reference: depth 2, m = 1 from (3, 0.2): the gradient flow ends at sharpness √(c² + 4) = 9.1805, gradient descent with η = 0.3
    at 2.9727, below 2/η = 6.667. With more factors the others start at 1.

    Parameters
    ----------
    depth : int
        L, 1 to 10,000.
    target : float
        m.

    Raises
    ------
    ValueError
        For a depth out of its range and a target that is not finite.

    Examples
    --------
    At a minimiser of depth two the sharpness is x² + y².

    >>> product = meanfield.landscapes.ScalarFactorization(depth=2, target=1.0)
    >>> product.value([3.0, 1.0])  # ½ (3 − 1)²
    2.0
    >>> solvers.top_eigenpairs(product, np.array([2.0, 0.5])).values.round(6)
    array([4.25])
    """

    depth: int = 2
    target: float = 1.0

    def __post_init__(self) -> None:
        settle(self, depth=count("depth", self.depth, most=MOST_FACTORS))
        settle(self, target=real("target", self.target))

    @property
    def start(self) -> tuple[float, ...]:
        return _scalar_start(self.depth, 3.0, 0.2)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return _scalar_names(self.depth)

    @property
    def _goal(self) -> float:
        return float(self.target)


@dataclass(frozen=True)
class DegreeFour(_SquaredScalars):
    """E(x, y, z, w) = ½ (1 − xyzw)², of degree four in the product xy where z = x, w = y, which gradient descent keeps.

    Gradient descent oscillates beyond 2/η for a long time and ends just below (arXiv:2210.03294).

    Reference: from (12.5, 0.05, 12.5, 0.05) with η = 0.01 it ends, after some 300,000 steps, near x = 9.99938, y = 0.100006,
    sharpness 199.995 against 2/η = 200.

    Examples
    --------
    >>> meanfield.landscapes.DegreeFour().value([1.0, 2.0, 1.0, 2.0])  # ½ (1 − 4)²
    4.5
    """

    @property
    def start(self) -> tuple[float, ...]:
        return 12.5, 0.05, 12.5, 0.05

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return "x", "y", "z", "w"

    @property
    def _goal(self) -> float:
        return 1.0


@dataclass(frozen=True)
class LogCoshProduct(_Factors):
    """E(x) = log cosh(x_1 ⋯ x_L − m): convex in the product, of slope at most 1, so that large residuals do not diverge.

    With L = 2 and m = 0 the minimisers are the axes, of sharpness x² + y². Where the gradient flow, which conserves x² − y²,
    would end above 2/η, gradient descent crosses the axis to and fro and ends just below 2/η (arXiv:2212.07469, for even losses
    of a product).

    Reference: L = 2, m = 0 from (6, 1): the gradient flow ends at sharpness 35, gradient descent with η = 0.1 at 19.8495, against
    2/η = 20. With more factors the others start at 1.

    Parameters
    ----------
    depth : int
        L, 1 to 10,000.
    target : float
        m.

    Raises
    ------
    ValueError
        For a depth out of its range and a target that is not finite.

    Examples
    --------
    >>> product = meanfield.landscapes.LogCoshProduct()
    >>> round(product.value([2.0, 3.0]), 6), round(float(np.log(np.cosh(6.0))), 6)
    (5.306859, 5.306859)
    """

    depth: int = 2
    target: float = 0.0

    def __post_init__(self) -> None:
        settle(self, depth=count("depth", self.depth, most=MOST_FACTORS))
        settle(self, target=real("target", self.target))

    @property
    def start(self) -> tuple[float, ...]:
        return _scalar_start(self.depth, 6.0, 1.0)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return _scalar_names(self.depth)

    def _loss(self, product: Array) -> Array:
        r = np.abs(product - float(self.target))
        # Neither form is accurate for all r: sinh overflows for large r, the logarithm of a sum cancels for small r.
        small = 0.5 * np.log1p(np.sinh(np.minimum(r, 1)) ** 2)
        return np.where(r < 1, small, r + np.log1p(np.exp(-2 * r)) - math.log(2))

    def _slopes(self, product: Array) -> tuple[ArrayLike, ArrayLike, ArrayLike]:
        slope = np.tanh(product - float(self.target))
        curvature = 1 - slope**2
        return slope, curvature, -2 * slope * curvature

    def value_and_gradient(self, x: ArrayLike) -> tuple[float, Array]:
        """E and ∇E at x, which share the product."""
        return self._pair(x)


@dataclass(frozen=True)
class MatrixFactorization(_SquaredFactors):
    """E(W) = ½ ‖W_L ⋯ W_1 − M‖²_F with square factors: a deep linear network on white data (arXiv:2606.05326, with η = 0.077).

    x is the stack W_1, …, W_L, each by rows. The flattest minimisers are balanced, with sharpness L σ^(2 − 2/L), σ the largest
    singular value of M.

    The start: multiples of the identity, evenly spaced from 1.5 in W_1 to 0.5 in W_L, and 0.5 above the diagonal of W_1, so that
    the factors are not balanced and do not commute with M.

    Reference: L = 3, η = 0.077, with M = diag(5, 4.8), our choice: the flattest sharpness 25.65 is just below 2/η = 25.97, and
    the Hessian's second eigenvalue is close. At the iterates ηS rises from 0.89 to 2.50 within 3 steps; the loss, after a first
    fall to 0.08, spikes to 0.50, 0.28 and 0.16 at steps 37, 60 and 100, while ηS swings between 1.91 and 2.47; from step 1,000
    to 3,000 it stays between 1.97 and 2.05.

    Parameters
    ----------
    target : array-like
        M, square; kept as a tuple of its rows.
    depth : int
        L, 1 to 10,000.

    Raises
    ------
    ValueError
        For a target that is not a finite square matrix and a depth out of its range.

    Examples
    --------
    >>> product = meanfield.landscapes.MatrixFactorization(target=[[2.0]], depth=2)
    >>> product.value([3.0, 1.0])  # ½ (3 − 2)²
    0.5
    """

    target: ArrayLike = ((5.0, 0.0), (0.0, 4.8))
    depth: int = 3

    def __post_init__(self) -> None:
        settle(self, depth=count("depth", self.depth, most=MOST_FACTORS))
        matrix = array("target", self.target).astype(np.float64)
        if matrix.ndim != 2 or matrix.size == 0 or matrix.shape[0] != matrix.shape[1]:
            raise wrong_shape("target", "(n, n) with n ≥ 1", matrix.shape)
        if not np.all(np.isfinite(matrix)):
            raise ValueError("target must be finite, got non-finite entries")
        settle(self, target=tuple(map(tuple, matrix.tolist())))

    @cached_property
    def _goal(self) -> Array:
        return np.array(self.target)

    @property
    def _side(self) -> int:
        return len(self._goal)

    @property
    def start(self) -> tuple[float, ...]:
        scales = np.linspace(1.5, 0.5, self.depth) if self.depth > 1 else np.ones(1)
        factors = scales[:, None, None] * np.eye(self._side)
        factors[0] += 0.5 * np.eye(self._side, k=1)
        return tuple(factors.ravel().tolist())

    @property
    def parameter_names(self) -> tuple[str, ...]:
        rows = range(1, self._side + 1)
        factors = range(1, self.depth + 1)
        return tuple(f"W{k}[{i},{j}]" for k in factors for i in rows for j in rows)

    def value_and_gradient(self, x: ArrayLike) -> tuple[float, Array]:
        """E and ∇E at x, which share the product."""
        return self._pair(x)
