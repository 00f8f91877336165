"""The result of `evolve`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solvers._support.reprs import compact_repr
from solvers.measures.representations import Measure

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Evolution:
    """The result of `evolve`: n steps, and the measures at s of their ends.

    Examples
    --------
    The dissipation balance of the heat flow closes up to the error of the scheme:

    >>> start = solvers.Quantiles(np.linspace(-1, 1, 21))
    >>> result = solvers.evolve(solvers.energies.Entropy(), start, 0.5, step_size=0.01, order=2)
    >>> result.status, len(result.measures), result.energies.shape
    ('complete', 51, (51,))
    >>> bool(abs(result.balance[-1]) < 0.05 * (result.energies[0] - result.energies[-1]))
    True
    """

    times: Float64  #: (n + 1,), of all steps
    energies: Float64  #: (n + 1,), E
    measures: tuple[Measure, ...]  #: s of them, like the one given
    saved: NDArray[np.intp]  #: (s,), their indices in `times`
    step_sizes: Float64  #: (n,), τ
    transport_costs: Float64  #: (n,), W2² of every step
    excesses: Float64  #: (n,), by how much the energy inequality of a step is exceeded: at most 0 up to rounding
    residuals: Float64  #: (n,), of the optimality conditions, as the scheme gives them
    iterations: NDArray[np.intp]  #: (n,), of the inner solver
    errors: Float64  #: (n,), W2 between the steps of both orders; NaN for steps of given size
    rejected: int  #: steps that were taken again, shorter
    learning_rate: float  #: η
    #: "complete"; "failed", a step could not be solved, as where a density blows up; or "interrupted", by Ctrl-C
    status: str
    message: str  #: where and why it ended, if it is not complete

    __repr__ = compact_repr

    @property
    def dissipated(self) -> Float64:
        """(n + 1,), Σ W2²/ητ, which approximates ½∫|v|²/η + ½∫η|∇E'|²."""
        steps = self.transport_costs / (self.learning_rate * self.step_sizes)
        return np.concatenate([[0.0], np.cumsum(steps)])

    @property
    def balance(self) -> Float64:
        """(n + 1,), E(0) − E(t) less what was dissipated: of the order of the scheme in τ."""
        return self.energies[0] - self.energies - self.dissipated
