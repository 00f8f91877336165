"""Gradients at the two endpoints w ± u of an oscillation of any size."""

from __future__ import annotations

from typing import Any

import numpy as np

from solvers.objective import Array, epsilon, hessian_product, norm, peak

# Rounding of a gradient, in units of ε(|m| + λ|w|): sums over the data lose a few units.
_ROUNDINGS = 8.0


def endpoint_gradients(
    objective: Any, w: Array, u: Array, product: Array | None = None
) -> tuple[Array, Array]:
    """Mean and half difference of the gradients at both ends,

        m = ½ (g₊ + g₋),    d = ½ (g₊ − g₋),    g± = ∇E(w ± u).

    Subtracting the gradients gives d with an error of order ε(|m| + λ|r|), where ε is the machine epsilon, λ the curvature
    along u and r the rounding error of w ± u, |r_i| ≤ min(|u_i|, ε|w_i|). A fluctuation far below the rounding of w is lost:
    the difference is zero or noise, whatever the curvature. But then d = ∇²E(w) u + O(|u|³), and the product has no such
    error. So where u is small, both are computed, and the product is returned where the two agree within the error of the
    difference; where they do not, the terms of order |u|³ are larger than the rounding, and the difference is the better one.
    Only the precision and the objective's curvatures enter, no step size has to be chosen, and d is that of w ± u to the rounding
    of the gradients everywhere.

    Parameters
    ----------
    objective : Objective
        Without an ``hvp``, a central difference of gradients replaces it.
    w, u : arrays (*x)
    product : array (*x), optional
        ∇²E(w) u, if already known.

    Returns
    -------
    m, d : arrays (*x)

    Notes
    -----
    Two gradients; where max|u| < ε^(1/3) max|w| also a Hessian product (above, rounding affects at most ε^(2/3) of d); where |u|
    is below the rounding ε |w ∘ u| / |u| of w along u, one gradient and one product.
    """
    eps, largest = epsilon(w), peak(objective, u)
    if largest == 0.0:
        return objective.gradient(w), np.zeros_like(u)
    extent = peak(objective, w)
    if not largest < eps ** (1 / 3) * extent:
        return _subtracted(objective, w, u)
    size = norm(objective, u)
    if product is None:
        product = hessian_product(objective, w, u, size)
    # |w ∘ u| / |u| is at most max|w|.
    if size <= 2 * eps * extent and size <= eps * norm(objective, w * (u / w.dtype.type(size))):
        return objective.gradient(w), product
    mean, difference = _subtracted(objective, w, u)
    agree = _agree(objective, w, u, size, mean, difference, product)
    return mean, product if agree else difference


def _agree(
    objective: Any,
    w: Array,
    u: Array,
    size: float,
    mean: Array,
    difference: Array,
    product: Array,
) -> bool:
    """Whether the two are one within the rounding of the difference."""
    misfit = norm(objective, difference - product)
    rounding = epsilon(w) * norm(objective, mean)
    if misfit <= _ROUNDINGS * rounding:
        return True  # whatever rounding takes from w ± u
    lost = norm(objective, np.minimum(np.abs(u), w.dtype.type(epsilon(w)) * np.abs(w)))
    rounding += lost * (norm(objective, product) / size)
    return misfit <= _ROUNDINGS * rounding


def _subtracted(objective: Any, w: Array, u: Array) -> tuple[Array, Array]:
    plus, minus = objective.gradient(w + u), objective.gradient(w - u)
    return 0.5 * (plus + minus), 0.5 * (plus - minus)
