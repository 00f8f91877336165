"""Entropic transport between point clouds without a cost matrix: every sum over pairs is taken in blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from solvers.measures.quantile_functions import Float64
from solvers.transport.positions import squared_distances

#: Pairs of points per block, 2 MB, which fits the cache.
BLOCK = 2**18
#: ε over the sum of the two measures' variances, by default.
SHARE_OF_VARIANCE = 0.05
MAX_ITERATIONS = 1000
#: Tolerated relative error of the divergence by the iterations; above it they continue, down to this tolerance.
RESOLUTION, LAST_TOLERANCE, MORE_ITERATIONS = 1e-2, 1e-12, 200
#: Tolerated rounding error of the exponents |x_i − y_j|²/ε by |x|² − 2 x·y + |y|².
EXPONENT_ROUNDING = 1e-9
#: Multiple of the last gain that may still follow: slowly converging modes may be hidden by faster ones.
SLOWEST = 2e4
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Divergence:
    """The value S_ε, its error, the violation of the plans' marginals, and whether that is within the tolerance."""

    value: float
    error: float
    residual: float
    converged: bool


def default_regularization(x: Float64, y: Float64, a: Float64, b: Float64) -> float:
    """ε = 0.05 (tr Cov(x) + tr Cov(y)): in units of the cost, and invariant under translations of the measures."""
    return SHARE_OF_VARIANCE * (_variance(x, a) + _variance(y, b))


def sinkhorn_divergence(
    x: Float64,
    y: Float64,
    a: Float64,
    b: Float64,
    regularization: float,
    tolerance: float,
    max_iterations: int,
) -> Divergence:
    """S_ε(α, β) = OT_ε(α, β) − ½ OT_ε(α, α) − ½ OT_ε(β, β), the debiased entropic cost.

        OT_ε = min_P Σ P_ij |x_i − y_j|² + ε KL(P | a bᵀ) = max_{f,g} a·f + b·g − ε Σ a_i b_j (exp((f_i + g_j − C_ij)/ε) − 1)

    The measures are centered first, as S_ε(α, β) = |mean(α) − mean(β)|² + S_ε of the centered ones: this converges faster, with
    less rounding. For close measures S_ε is a small difference of OT_ε: where the tolerance does not distinguish it from zero,
    the iterations continue until it does or rounding dominates.

    Parameters
    ----------
    x, y : (n, D), (m, D)
    a, b : (n,), (m,)
        Weights of sum one, none of them zero.
    regularization : float
        ε > 0, in units of the cost.
    tolerance : float
        Tolerance of the residual Σ_i |(P 1)_i − a_i|, the largest over the three plans.
    max_iterations : int
        Limit for each of the three problems.

    References
    ----------
    Feydy et al. 2019 (arXiv:1810.08278).
    """
    x, y, shift = _centered(x, y, a, b)
    own = [_SelfCost(points, w, regularization) for points, w in ((x, a), (y, b))]
    cross = _CrossCost(x, y, a, b, own[1])
    problems, asked = (*own, cross), tolerance
    while True:
        for problem in problems:
            problem.solve(tolerance, max_iterations)
        value = shift + cross.value - 0.5 * (own[0].value + own[1].value)
        rounding = EPS * shift + cross.rounding + 0.5 * (own[0].rounding + own[1].rounding)
        missing = cross.missing + 0.5 * (own[0].missing + own[1].missing)
        ended = any(problem.residual > tolerance for problem in problems)
        if ended or missing <= max(rounding, RESOLUTION * value) or tolerance <= LAST_TOLERANCE:
            break
        if tolerance == asked:
            done = max(problem.iterations for problem in problems)
            max_iterations = min(max_iterations, done + MORE_ITERATIONS)
        tolerance = max(0.01 * tolerance, LAST_TOLERANCE)
    residual = max(problem.residual for problem in problems)
    return Divergence(value, rounding + missing, residual, residual <= asked)


def _centered(x: Float64, y: Float64, a: Float64, b: Float64) -> tuple[Float64, Float64, float]:
    """Centered positions, and the squared distance of the means."""
    nearby = np.median(x, axis=0)  # so that no digit is lost far from the origin
    x, y = x - nearby, y - nearby
    from_x, from_y = a @ x, b @ y
    apart = from_x - from_y
    if x.shape == y.shape and np.array_equal(a, b):  # particles of equal index may be close
        apart = a @ (x - y)
    return x - from_x, y - from_y, float(np.sum(apart**2))


class _EntropicCost:
    """One of the three OT_ε, by iterations that can be continued.

    value : of the dual. missing : estimated remaining increase, from the last gain and the rate of convergence.
    rounding : of the value.
    """

    def __init__(self, moment: float, largest: float, eps: float) -> None:
        self.eps = eps
        self.by_products = EPS * largest / eps <= EXPONENT_ROUNDING
        self.value, self.residual, self.missing, self.rounding = 0.0, np.inf, np.inf, 0.0
        self.moment, self.largest, self.iterations = moment, largest, 0

    def solve(self, tolerance: float, limit: int) -> None:
        """Iterate until the residual is at most the tolerance, or up to the limit over all calls."""
        while self.residual > tolerance and self.iterations < limit:
            self.iterations += 1
            before = self.residual
            weights, logarithms, size = self._iterate()
            excess = np.expm1(logarithms)  # relative excess of the mass of each point
            self.residual = float(weights @ np.abs(excess))
            rate = min(self.residual / before, 1 - 1e-6) if np.isfinite(before) else 0.5
            gain = self.eps * float(weights @ np.maximum(excess - logarithms, 0.0))
            slowest = max(SLOWEST, 32.0 * self.iterations, 8.0 / (1.0 - rate))
            self.missing = slowest * gain
            self.rounding = 4.0 * EPS * (size + (self.moment if self.by_products else 0.0))

    def _iterate(self) -> tuple[Float64, Float64, float]:
        """One iteration: weights, the logarithms of masses of points over weights, and the size of the terms of the value."""
        raise NotImplementedError


class _SelfCost(_EntropicCost):
    """A measure with itself has one potential; the mean of old and new converges in a few iterations."""

    def __init__(self, x: Float64, a: Float64, eps: float) -> None:
        of_x = np.sum(x**2, axis=1)
        super().__init__(2.0 * float(a @ of_x), float(of_x.max()), eps)
        self._x, self._a, self._log_a = x, a, np.log(a)
        self.potential = np.zeros(len(x))

    def _iterate(self) -> tuple[Float64, Float64, float]:
        old, x, a = self.potential, self._x, self._a
        new = softmin(x, x, self._log_a + old / self.eps, self.eps, self.by_products)
        self.potential = 0.5 * (old + new)
        self.value = float(a @ old + a @ new)
        return a, (old - new) / self.eps, float(a @ np.abs(old) + a @ np.abs(new))


class _CrossCost(_EntropicCost):
    """Sinkhorn's iterations: f from g, and g from f. Then (f_old, g) has the column sums b, and row sums a exp((f_old − f)/ε).

    The first g is that of y with itself, a good start where x is close to y.
    """

    def __init__(self, x: Float64, y: Float64, a: Float64, b: Float64, of_y: _SelfCost) -> None:
        squares = np.sum(x**2, axis=1)
        moment, largest = float(a @ squares) + 0.5 * of_y.moment, max(squares.max(), of_y.largest)
        super().__init__(moment, largest, of_y.eps)
        self._points, self._weights, self._of_y = (x, y), (a, b), of_y
        self._logs = np.log(a), np.log(b)
        self._f: Float64 | None = None

    def _iterate(self) -> tuple[Float64, Float64, float]:
        (x, y), (a, b), (log_a, log_b), eps = self._points, self._weights, self._logs, self.eps
        if self._f is None:
            self._f = softmin(x, y, log_b + self._of_y.potential / eps, eps, self.by_products)
        g = softmin(y, x, log_a + self._f / eps, eps, self.by_products)
        old, self._f = self._f, softmin(x, y, log_b + g / eps, eps, self.by_products)
        self.value = float(a @ self._f + b @ g)
        return a, (old - self._f) / eps, float(a @ np.abs(self._f) + b @ np.abs(g))


def softmin(
    x: Float64, y: Float64, log_weights: Float64, eps: float, by_products: bool = True
) -> Float64:
    """−ε log Σ_j exp(h_j − |x_i − y_j|²/ε), (n,): block by block, safe from underflow.

    With |x − y|² = |x|² − 2 x·y + |y|² a block of exponents is one matrix product; otherwise it takes several times as long,
    but loses no digits for points far from the origin.
    """
    rows = max(1, BLOCK // len(y))
    blocks = [slice(start, start + rows) for start in range(0, len(x), rows)]
    if not by_products:
        return -eps * np.concatenate(
            [_log_sums(log_weights - squared_distances(x[at], y) / eps) for at in blocks]
        )
    squares = np.sum(x * x, axis=1)
    left = np.column_stack([x * (2.0 / eps), np.ones(len(x))])
    right = np.column_stack([y, log_weights - np.sum(y * y, axis=1) / eps]).T
    return squares - eps * np.concatenate([_log_sums(left[at] @ right) for at in blocks])


def _log_sums(exponents: Float64) -> Float64:
    """Logarithms of the sums of exponentials over rows; the array is overwritten."""
    top = exponents.max(axis=1)
    exponents -= top[:, None]
    np.exp(exponents, out=exponents)
    result: Float64 = top + np.log(exponents.sum(axis=1))
    return result


def _variance(x: Float64, weights: Float64) -> float:
    centered = x - np.median(x, axis=0)  # so that no digit is lost far from the origin
    centered -= weights @ centered
    return float(weights @ np.sum(centered * centered, axis=1))
