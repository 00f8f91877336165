"""The balance of the free energy."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 0.01  # relative to the largest change
ROUNDING = 1e-10  # relative to the energy itself


class Balance(NamedTuple):
    """Free energy at start and end; for a flow also ∫ (dF/dt) dt at the end, and the largest |F(t) − F(0) − ∫ (dF/dt) dt|.

    `span` is the largest |F(t) − F(0)|. A map has no rate: its integral and residual are None.
    """

    start: float
    end: float
    span: float
    integral: float | None
    residual: float | None

    @property
    def relative(self) -> float | None:
        """The residual divided by the span; None if either is missing."""
        return None if self.residual is None or not self.span else self.residual / self.span

    @property
    def holds(self) -> bool:
        """Whether the residual is small relative to the span, or within rounding."""
        allowed = TOLERANCE * self.span + ROUNDING * max(abs(self.start), abs(self.end))
        return self.residual is None or self.residual <= allowed


def balance(data: dict[str, NDArray[Any]]) -> Balance | None:
    """The balance of a process from its observables, over the times at which they are finite; None if they never are."""
    energy, integral = data["free_energy"], data["dissipated"]
    is_flow = bool(np.any(np.isfinite(integral)))
    there = np.isfinite(energy) & (np.isfinite(integral) | (not is_flow))
    if not there.any():
        return None
    energy, integral = energy[there], integral[there]
    with np.errstate(over="ignore", invalid="ignore"):  # the last steps of a divergence
        change = energy - energy[0]
        residual = float(np.max(np.abs(change - integral))) if is_flow else None
        span = float(np.max(np.abs(change)))
    end = float(integral[-1]) if is_flow else None
    return Balance(float(energy[0]), float(energy[-1]), span, end, residual)
