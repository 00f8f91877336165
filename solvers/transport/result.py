"""What a transport distance is returned as, and the error where it is not known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class TransportError(RuntimeError):
    """An optimal transport solver stopped before it had the optimum. text : what happened, without the remedy."""

    def __init__(self, text: str, remedy: str = "") -> None:
        super().__init__(f"{text}; {remedy}" if remedy else text)
        self.text = text


@dataclass(frozen=True)
class TransportResult:
    """distance : W2, SW2 or √S_ε, by method. plan (n, m) : its marginals are the weights; sparse where costs were lazy, None
    where quantiles, projections or potentials gave the distance.

    gap : how far the distance of a plan may be from W2, proved by dual potentials of the plan, rounding included; 0 without one.
    error : of "exact" the largest violation of a marginal; of "sliced" the standard error over directions, and rounding; of
    "sinkhorn" how far the distance may be from √S_ε by rounding and iterations: a distance below it may as well be zero.
    residual : of "sinkhorn" the mass that violates a marginal. discretization_error : how far the distance may be from that of
    the measures given, where cells of a grid were taken for points at their centers; NaN where that is not known.
    regularization : ε.
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
