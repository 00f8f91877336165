"""Second order in the step size: the two-step backward differentiation formula (BDF2) as a minimisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solvers._support.arguments import real, refusal

#: The largest ratio of a step to the one before: the two-step formula is unstable above 1 + √2.
_LARGEST_RATIO = 2.0

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class TwoSteps:
    """The step that minimises, from the last two states x_n and x_{n−1}, with r = τ/τ_{n−1},

        E[x] + A |x − x_n|² − B |x − x_{n−1}|² = E[x] + |x − x̃|²/(2ητ') + constant,
        x̃ = x_n + β (x_n − x_{n−1}),   β = r²/(1 + 2r),   τ' = τ (1 + r)/(1 + 2r),   A = (1 + β)/(2ητ'),   B = β/(2ητ')

    for squared distances of a Hilbert space; in W2 the left side. For equal steps β = 1/3, τ' = 2τ/3, A = 1/ητ, B = 1/4ητ.
    Compared with x_n,

        E[x] + A |x − x_n|² − B |x − x_{n−1}|² ≤ E[x_n] − B |x_n − x_{n−1}|²

    References
    ----------
    Matthes & Plazotta, arXiv:1711.02935; Gallouët, Natale & Todeschini, arXiv:2209.14622.
    """

    step_size: float
    earlier_step_size: float

    @classmethod
    def of(cls, step_size: float, earlier_step_size: float | None) -> TwoSteps:
        """By default of equal steps; a ValueError where the step grows more than twofold."""
        if earlier_step_size is None:
            return cls(step_size, step_size)
        before = real("earlier_step_size", earlier_step_size, above=0)
        if step_size > _LARGEST_RATIO * before:
            raise refusal(
                "earlier_step_size",
                f"at least half of step_size = {step_size:g}",
                before,
                "the two-step formula is unstable for steps that grow faster",
            )
        return cls(step_size, before)

    @property
    def beyond(self) -> float:
        """β."""
        r = self.step_size / self.earlier_step_size
        return r * r / (1.0 + 2.0 * r)

    @property
    def shorter(self) -> float:
        """τ'."""
        r = self.step_size / self.earlier_step_size
        return self.step_size * (1.0 + r) / (1.0 + 2.0 * r)

    def extrapolated(self, state: Float64, earlier: Float64) -> Float64:
        """x̃."""
        return state + self.beyond * (state - earlier)
