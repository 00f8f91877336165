"""The free energy of gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from solvers._support.arguments import array, choice, methods, settle, wrong_shape
from solvers.endpoints import endpoint_gradients
from solvers.flow import check_learning_rate
from solvers.objective import Array, hessian_product, inner, third, with_own_results

Closure = Literal["endpoint", "taylor"]


@dataclass(frozen=True)
class FreeEnergy:
    """Free energy of a center w and a fluctuation u, for gradient descent with learning rate η on E.

    ``closure="endpoint"``:

        F_η(w, u) = ½ [E(w + u) + E(w − u)] − |u|²/η

    ``closure="taylor"``, its second-order expansion in u:

        F_η(w, u) = E(w) + ½ ⟨u, (∇²E(w) − (2/η) I) u⟩

    With r fluctuations u_r, of covariance Σ = Σ_r u_r u_rᵀ, the contributions of each to E(w) are added; r = 1 gives the
    formulas above. Gradient descent is the unit-step explicit Euler scheme of ẇ = −η ∂_w F, u̇ = +η ∂_u F with the endpoint
    closure.

    Parameters
    ----------
    objective : Objective
        E; the Taylor closure uses ``hvp`` and ``third`` (or central differences of the gradient).
    learning_rate : float
        η > 0.
    closure : {"endpoint", "taylor"}

    Raises
    ------
    ValueError
        For a learning rate that is not a finite number above zero, or another closure.

    References
    ----------
    Chodron de Courcel, arXiv:2606.05326.

    Examples
    --------
    For E = 2x² it is 2w² + (2 − 1/η)u², in u stationary at the edge of stability, η = ½.

    >>> parabola = meanfield.landscapes.Landscape(lambda x: 2 * x[0] ** 2)
    >>> w, u = np.array([1.0]), np.array([3.0])
    >>> round(solvers.FreeEnergy(parabola, 0.5).value(w, u), 12), round(solvers.FreeEnergy(parabola, 1.0).value(w, u), 12)
    (2.0, 11.0)
    >>> solvers.FreeEnergy(parabola, 1.0).gradient(w, u)
    (array([4.]), array([6.]))
    """

    objective: Any
    learning_rate: float
    closure: str = "endpoint"

    def __post_init__(self) -> None:
        methods("objective", self.objective, ["value", "gradient"], "a free energy")
        settle(
            self,
            learning_rate=check_learning_rate(self.learning_rate),
            closure=choice("closure", self.closure, get_args(Closure)),
        )

    @cached_property
    def _own(self) -> Any:
        return with_own_results(self.objective)

    def value(self, center: Array, fluctuation: Array) -> float:
        """F at w (*x) and u, (*x) or (r, *x)."""
        center, fluctuation = array("center", center), array("fluctuation", fluctuation)
        trace = sum(inner(self.objective, u, u) for u in _stacked(center, fluctuation))
        return self.mean_loss(center, fluctuation) - trace / self.learning_rate

    def mean_loss(self, center: Array, fluctuation: Array) -> float:
        """F + tr Σ/η: the loss averaged over the oscillation, shapes as in `value`."""
        e = self._own
        center, fluctuation = array("center", center), array("fluctuation", fluctuation)
        us = _stacked(center, fluctuation)
        if self.closure == "taylor":
            curvatures = sum(inner(e, u, e.hvp(center, u)) for u in us)
            return float(e.value(center)) + 0.5 * curvatures
        means = sum(0.5 * float(e.value(center + u) + e.value(center - u)) for u in us)
        return means if len(us) == 1 else means - (len(us) - 1) * float(e.value(center))

    def gradient(self, center: Array, fluctuation: Array) -> tuple[Array, Array]:
        """(∂_w F, ∂_u F) in the objective's inner product, shaped like center and fluctuation."""
        center, fluctuation = array("center", center), array("fluctuation", fluctuation)
        us = _stacked(center, fluctuation)
        d_center, d_us = free_energy_gradient(
            self._own, self.learning_rate, self.closure, center, us
        )
        return d_center, d_us.reshape(fluctuation.shape)


def free_energy_gradient(
    own: Any, learning_rate: float, closure: str, center: Array, us: Array
) -> tuple[Array, Array]:
    """`FreeEnergy.gradient` for u (r, *x), nothing checked, of an objective whose results are arrays of their own."""
    pair = _taylor_gradient if closure == "taylor" else _endpoint_gradient
    d_center, curvature = pair(own, center, us)
    return d_center, curvature - center.dtype.type(2.0 / learning_rate) * us


def _endpoint_gradient(own: Any, center: Array, us: Array) -> tuple[Array, Array]:
    means, differences = zip(*[endpoint_gradients(own, center, u) for u in us], strict=True)
    d_center = sum(means)
    if len(us) > 1:
        d_center = d_center - (len(us) - 1) * own.gradient(center)
    return d_center, np.array(differences)


def _taylor_gradient(own: Any, center: Array, us: Array) -> tuple[Array, Array]:
    d_center = own.gradient(center) + sum(0.5 * third(own, center, u) for u in us)
    return d_center, np.array([hessian_product(own, center, u) for u in us])


def _stacked(center: Array, fluctuation: Array) -> Array:
    """One or several fluctuations as (r, *x)."""
    us = fluctuation[None] if fluctuation.ndim == center.ndim else fluctuation
    if us.shape[1:] != center.shape or us.size == 0:
        needed = f"{center.shape} or (r, *{center.shape}), as the center"
        raise wrong_shape("fluctuation", needed, fluctuation.shape)
    return us
