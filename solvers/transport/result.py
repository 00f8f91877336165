"""The result of transport distances, and their error class."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class TransportError(RuntimeError):
    """An optimal transport solver stopped before reaching the optimum. text : the message without the remedy.

    Examples
    --------
    >>> points = np.random.default_rng(0).normal(size=(2, 50, 2))
    >>> solvers.transport.w2(*points, max_iterations=1)
    Traceback (most recent call last):
    ...
    solvers.transport.result.TransportError: ...
    """

    def __init__(self, text: str, remedy: str = "") -> None:
        super().__init__(f"{text}; {remedy}" if remedy else text)
        self.text = text


@dataclass(frozen=True)
class TransportResult:
    """A distance between two measures, how it was found, and by how much it may be wrong.

    Attributes
    ----------
    distance : float
        W2, SW2 or √S_ε, by method.
    plan : (n, m) array, sparse array or None
        Its marginals are the weights; sparse with lazy=True, None where the distance follows from quantiles, projections or
        potentials.
    converged : bool
        Whether the solver reached the optimum.
    method : {"exact", "sliced", "sinkhorn"}
    error : float
        For "exact" the largest violation of a marginal; for "sliced" the standard error over directions, and rounding; for
        "sinkhorn" the error of √S_ε by rounding and iterations: a distance below it is indistinguishable from zero.
    discretization_error : float
        Bound of the difference to the distance of the given measures, where cells of a grid were replaced by points at their
        centers; NaN where unknown.
    regularization : float or None
        ε.
    gap : float
        Bound of the difference between the distance of a plan and W2, proved by dual potentials, rounding included; 0 without
        a plan.
    residual : float
        For "sinkhorn" the mass that violates a marginal.
    interval : (float, float) or None
        With error="bootstrap" the interval of 95% for the distance of the laws; ``error`` is then half its length.

    Examples
    --------
    >>> result = solvers.transport.w2([[0.0, 0.0], [9.0, 0.0]], [[3.0, 0.0], [9.0, 4.0]])
    >>> result.plan
    array([[0.5, 0. ],
           [0. , 0.5]])
    >>> result.converged, result.method
    (True, 'exact')
    """

    distance: float
    plan: Any = field(repr=False)
    converged: bool
    method: str
    error: float
    discretization_error: float = 0.0
    regularization: float | None = None
    gap: float = 0.0
    residual: float = 0.0
    interval: tuple[float, float] | None = None
