"""Entropic transport between point clouds, with no matrix of costs: every sum over pairs is taken in blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from solvers.line import Float64

#: Pairs of points that are held at a time, 2 MB: they stay in the cache.
BLOCK = 2**18
#: ε over the sum of the two measures' variances, by default.
SHARE_OF_VARIANCE = 0.05
MAX_ITERATIONS = 1000


@dataclass(frozen=True)
class Divergence:
    """The value S_ε, the mass that the plans put in wrong places, and whether that is tolerated."""

    value: float
    residual: float
    converged: bool


def default_regularization(x: Float64, y: Float64, a: Float64, b: Float64) -> float:
    """ε = 0.05 (tr Cov(x) + tr Cov(y)): of the units of the cost, and blind to where the measures are."""
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

    The measures are centered first, as S_ε(α, β) = |mean(α) − mean(β)|² + S_ε of the centered ones: it converges faster, with
    less rounding.

    Parameters
    ----------
    x, y : (n, D), (m, D)
    a, b : (n,), (m,)
        Weights of sum one, none of them zero.
    regularization : float
        ε > 0, in units of the cost.
    tolerance : float
        Of the residual Σ_i |(P 1)_i − a_i|, the largest of the three plans'. The value errs by about ε times its square.
    max_iterations : int
        Of each of the three problems.

    References
    ----------
    Feydy et al. 2019 (arXiv:1810.08278).
    """
    from_x, from_y = a @ x, b @ y
    x, y = x - from_x, y - from_y
    shift = float(np.sum((from_x - from_y) ** 2))
    cross = _cross(x, y, a, b, regularization, tolerance, max_iterations)
    own = [_self(z, c, regularization, tolerance, max_iterations) for z, c in ((x, a), (y, b))]
    all_three = [cross, *own]
    return Divergence(
        value=shift + cross.value - 0.5 * (own[0].value + own[1].value),
        residual=max(part.residual for part in all_three),
        converged=all(part.converged for part in all_three),
    )


def _cross(
    x: Float64, y: Float64, a: Float64, b: Float64, eps: float, tolerance: float, limit: int
) -> Divergence:
    """Sinkhorn's iterations: f from g, and g from f. Then (f_old, g) has the column sums b, and row sums a exp((f_old − f)/ε)."""
    log_a, log_b = np.log(a), np.log(b)
    f = softmin(x, y, log_b, eps)
    for _ in range(limit):
        g = softmin(y, x, log_a + f / eps, eps)
        old, f = f, softmin(x, y, log_b + g / eps, eps)
        residual = float(a @ np.abs(np.expm1((old - f) / eps)))
        if residual <= tolerance:
            break
    return Divergence(float(a @ f + b @ g), residual, residual <= tolerance)


def _self(x: Float64, a: Float64, eps: float, tolerance: float, limit: int) -> Divergence:
    """Of a measure with itself there is one potential; the mean of old and new converges in a few iterations."""
    log_a, f = np.log(a), np.zeros(len(x))
    for _ in range(limit):
        new = softmin(x, x, log_a + f / eps, eps)
        residual = float(a @ np.abs(np.expm1((f - new) / eps)))
        if residual <= tolerance:
            break
        f = 0.5 * (f + new)
    return Divergence(float(a @ f + a @ new), residual, residual <= tolerance)


def softmin(x: Float64, y: Float64, log_weights: Float64, eps: float) -> Float64:
    """−ε log Σ_j exp(h_j − |x_i − y_j|²/ε), (n,): block by block, safe from underflow.

    With |x − y|² = |x|² − 2 x·y + |y|² a block of exponents is one product of matrices.
    """
    squares = np.sum(x * x, axis=1)
    left = np.column_stack([x * (2.0 / eps), np.ones(len(x))])
    right = np.column_stack([y, log_weights - np.sum(y * y, axis=1) / eps]).T
    rows = max(1, BLOCK // len(y))
    sums = np.empty(len(x))
    for start in range(0, len(x), rows):
        exponents = left[start : start + rows] @ right
        top = exponents.max(axis=1)
        exponents -= top[:, None]
        np.exp(exponents, out=exponents)
        sums[start : start + rows] = top + np.log(exponents.sum(axis=1))
    return squares - eps * sums


def _variance(x: Float64, weights: Float64) -> float:
    centered = x - weights @ x
    return float(weights @ np.sum(centered * centered, axis=1))
