"""Newton's method over non-decreasing values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, solveh_banded

from solvers.jko.quantile.energy import Derivatives
from solvers.measures.quantile_functions import Float64

Function = Callable[[Float64], Derivatives]

#: Largest fraction by which a step may shrink a gap, halvings of a step, fraction of the slope that may remain after it.
_SHRINK, _HALVINGS, _SLOPE_LEFT = 0.9, 40, 0.9
#: Relative rounding of a sum over cells.
_ROUNDING = 1e-14
#: The first barrier, in units of the forces times the mean gap.
_CENTERING = 0.1


@dataclass(frozen=True)
class Minimum:
    """The result: q (k,), the residual of its optimality conditions, the number of Newton steps."""

    q: Float64
    residual: float
    iterations: int
    converged: bool


def newton(
    function: Function, q: Float64, unit: float, tolerance: float, max_iterations: int
) -> Minimum:
    """A local minimiser over increasing q of a function that is infinite, or infinitely steep, where two values coincide.

    Monotone descent from an increasing q, continued beyond the tolerance while the residual decreases, so it ends near rounding.
    unit : of the shift added to the diagonal of an indefinite Hessian.
    """
    at, steps = function(q), 0
    if not math.isfinite(at.value):
        raise FloatingPointError(f"the energy must be finite, got {at.value}")
    while steps < max_iterations:
        moved = _inner_step(function, q, at, unit)
        if moved is None or (at.residual <= tolerance and moved[1].residual >= 0.5 * at.residual):
            break
        (q, at), steps = moved, steps + 1
    return Minimum(q, at.residual, steps, at.residual <= tolerance)


def interior_point(
    function: Function, q: Float64, unit: float, tolerance: float, max_iterations: int
) -> Minimum:
    """A local minimiser over non-decreasing q of a smooth function, by the primal–dual interior-point method.

    With multipliers λ_i ≥ 0 of the gaps s_i = q_{i+1} − q_i ≥ 0, Newton's method on ∇f = Dᵀλ, λ_i s_i = μ, for μ decreasing to
    1e-3 of the tolerance, in units of the forces times the width.
    """
    at, gaps = function(q), np.diff(q)
    force, width = float(at.sizes.max()), float(q[-1] - q[0])
    centering = _CENTERING * force * width / len(gaps)
    least = 1e-3 * tolerance * force * width
    forces = centering / gaps
    for iteration in range(max_iterations):
        force = float(at.sizes.max())
        unbalanced = float(np.abs(at.gradient - _between(forces)).max()) / force
        mismatch = float(np.abs(forces * gaps - centering).max()) / (force * width)
        if unbalanced <= tolerance and centering <= least and mismatch <= tolerance:
            return Minimum(np.maximum.accumulate(q), unbalanced, iteration, True)
        if max(unbalanced, mismatch) <= 10.0 * centering / (force * width):
            centering = max(0.1 * centering, 0.5 * least)
        moved = _central_step(function, q, at, gaps, forces, centering, unit)
        if moved is None:
            break
        q, at, gaps, forces = moved
    return Minimum(np.maximum.accumulate(q), unbalanced, iteration, False)


def _central_step(
    function: Function,
    q: Float64,
    at: Derivatives,
    gaps: Float64,
    forces: Float64,
    centering: float,
    unit: float,
) -> tuple[Float64, Derivatives, Float64, Float64] | None:
    """A step towards λ s = μ: q, its derivatives, the gaps and their multipliers, none of which shrinks by more than 99 %."""
    stiffness = forces / gaps
    bands = at.bands.copy()
    bands[0, :-1] += stiffness
    bands[0, 1:] += stiffness
    bands[1, :-1] -= stiffness
    barrier = replace(at, gradient=at.gradient - _between(centering / gaps), bands=bands)
    direction = _direction(barrier, unit)
    opening = np.diff(direction)
    change = centering / gaps - forces - stiffness * opening
    length, dual_length = _room(gaps, opening), _room(forces, change)
    bound = at.value - centering * float(np.sum(np.log(gaps)))
    bound += _ROUNDING * (abs(at.value) + abs(bound))
    for _ in range(_HALVINGS):
        point, opened = q + length * direction, gaps + length * opening
        there = function(point)
        if there.value - centering * float(np.sum(np.log(opened))) <= bound:
            return point, there, opened, forces + dual_length * change
        length *= 0.5
    return None


def _between(forces: Float64) -> Float64:
    """Dᵀλ: the gradient of forces that push neighbours apart."""
    result: Float64 = -np.diff(np.concatenate([[0.0], forces, [0.0]]))
    return result


def _room(positive: Float64, change: Float64) -> float:
    """The longest step, at most 1, by which no entry shrinks by more than 99 %."""
    share = float(np.max(-change / positive))
    return 1.0 if share <= 0.99 else 0.99 / share


def _inner_step(
    function: Function, q: Float64, at: Derivatives, unit: float
) -> tuple[Float64, Derivatives] | None:
    """The longest of the halved Newton steps that keeps the order, does not increase the value and decreases the slope."""
    direction = _direction(at, unit)
    slope = float(at.gradient @ direction)
    closing, gaps = -np.diff(direction), np.diff(q)
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(closing > 0, _SHRINK * gaps / closing, np.inf)
    length = min(1.0, float(room.min()))
    for _ in range(_HALVINGS):
        point = q + length * direction
        if np.all(np.diff(point) > 0):
            there = function(point)
            flat = float(there.gradient @ direction) <= -_SLOPE_LEFT * slope
            if there.value <= at.value + _ROUNDING * abs(at.value) and flat:
                return point, there
        length *= 0.5
    return None


def _direction(at: Derivatives, unit: float) -> Float64:
    """−H⁻¹ g, with the smallest of unit · (0, ½, 1, 2, …) added to the diagonal that makes H positive definite."""
    parts = (at.gradient, at.bands) if at.dense is None else (at.gradient, at.bands, at.dense)
    if bad := sum(np.count_nonzero(~np.isfinite(part)) for part in parts):
        raise FloatingPointError(
            f"the derivatives of the energy must be finite, got {bad} entries of gradient and Hessian that are not"
        )
    shift = 0.0
    while True:
        try:
            return -_solve(at, shift * unit)
        except LinAlgError:
            shift = max(2.0 * shift, 0.5)


def _solve(at: Derivatives, shift: float) -> Float64:
    bands = at.bands + np.array([[shift], [0.0]])
    if at.dense is None:
        result: Float64 = solveh_banded(bands, at.gradient, lower=True)
        return result
    k = np.arange(len(at.gradient))
    matrix = at.dense.copy()
    matrix[k, k] += bands[0]
    matrix[k[1:], k[:-1]] += bands[1, :-1]
    result = cho_solve(cho_factor(matrix, lower=True), at.gradient)
    return result
