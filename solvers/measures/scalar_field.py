"""A function of points and its derivatives, by default by differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from solvers._support.arguments import array, wrong_shape
from solvers._support.arguments import function as checked_function
from solvers.measures.quantile_functions import Float64

#: Fourth-order central difference: f'(x) = Σ c_k f(x + k h)/h.
_STENCIL = ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12))


class ScalarField:
    """V: R^D -> R, evaluated at many points at once.

    Parameters
    ----------
    function : (M, D) -> (M,)
    gradient : (M, D) -> (M, D), optional
    hessian : (M, D) -> (M, D, D), optional
        A missing derivative is a central difference of fourth order, of V or of its gradient, accurate to about 12 digits of the
        function's size.

    Raises
    ------
    ValueError
        Where a function returns another shape.
    """

    def __init__(
        self,
        function: Callable[[Float64], ArrayLike],
        gradient: Callable[[Float64], ArrayLike] | None = None,
        hessian: Callable[[Float64], ArrayLike] | None = None,
    ) -> None:
        for name, given in (("gradient", gradient), ("hessian", hessian)):
            if given is not None:
                checked_function(name, given)
        self._function = checked_function("function", function)
        self._gradient, self._hessian = gradient, hessian

    def values(self, points: Float64) -> Float64:
        """V (M,) at points (M, D)."""
        return _evaluated("function", self._function, points, (len(points),))

    def gradients(self, points: Float64) -> Float64:
        """∇V (M, D) at points (M, D)."""
        return self._gradients(points, "")

    def _gradients(self, points: Float64, missing: str) -> Float64:
        if self._gradient is None:
            function = self._function
            return _differences(
                lambda x: _evaluated("function", function, x, (len(x),), "gradient"), points
            )
        return _evaluated("gradient", self._gradient, points, points.shape, missing)

    def hessians(self, points: Float64) -> Float64:
        """∇²V (M, D, D) at points (M, D)."""
        if self._hessian is None:
            rough = _differences(lambda x: self._gradients(x, "hessian"), points)
            return 0.5 * (rough + np.swapaxes(rough, -1, -2))
        return _evaluated("hessian", self._hessian, points, (*points.shape, points.shape[1]))


def _evaluated(
    name: str,
    function: Callable[[Float64], ArrayLike],
    points: Float64,
    shape: tuple[int, ...],
    missing: str = "",
) -> Float64:
    """The values at a copy of the points, which a function may work in; `missing` is the derivative that is their difference."""
    with np.errstate(divide="ignore", invalid="ignore"):  # a kernel may be singular at 0
        result = array(name, function(points.copy()))
    if result.shape != shape:
        raise wrong_shape(f"{name}'s value", shape, result.shape)
    if missing and result.dtype != np.float64:
        raise ValueError(
            f"{missing} must be given for a {name} in {result.dtype}, whose differences are rounding, got None; "
            "or return float64"
        )
    return result.astype(np.float64, copy=False)


def _differences(function: Callable[[Float64], Float64], points: Float64) -> Float64:
    """∂_k of the function at points (M, D): (*shape of the function, D)."""
    # the truncation error h⁴ balances the rounding error ε/h
    h = np.finfo(np.float64).eps ** 0.2 * np.maximum(1.0, np.abs(points))
    columns = []
    for k in range(points.shape[1]):
        step = np.zeros_like(points)
        step[:, k] = h[:, k]
        with np.errstate(invalid="ignore"):
            total = sum(weight * function(points + shift * step) for shift, weight in _STENCIL)
        columns.append((np.asarray(total).T / h[:, k]).T)
    return np.stack(columns, axis=-1)
