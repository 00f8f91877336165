"""The balance of the free energy in numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 0.01  # of the largest change: then the scheme in time is what the numbers show
ROUNDING = 1e-10  # of the energy itself


class Balance(NamedTuple):
    """Free energy at start and end; along a flow also ∫ (dF/dt) dt at the end, and the largest |F(t) − F(0) − ∫ (dF/dt) dt|.

    `span` is the largest |F(t) − F(0)|. A map has no rate: its integral and residual are None.
    """

    start: float
    end: float
    span: float
    integral: float | None
    residual: float | None

    @property
    def relative(self) -> float | None:
        """The residual over the span; None without either."""
        return None if self.residual is None or not self.span else self.residual / self.span

    @property
    def holds(self) -> bool:
        """Whether the residual is small against the span, or against rounding."""
        allowed = TOLERANCE * self.span + ROUNDING * max(abs(self.start), abs(self.end))
        return self.residual is None or self.residual <= allowed


def balance(data: dict[str, NDArray[Any]]) -> Balance | None:
    """The balance of a process by its observables, over the times at which it is finite; None if it never is."""
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
