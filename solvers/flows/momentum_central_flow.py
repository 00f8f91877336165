"""The central flow of gradient descent with momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from solvers.flows.optimizer_central_flow import OptimizerCentralFlow
from solvers.objective import Array


@dataclass(frozen=True, init=False)
class MomentumCentralFlow(OptimizerCentralFlow):
    """The time-averaged trajectory of the heavy ball, or of Nesterov's rule, at its own edge of stability S*:

        ẇ = −η/(1 − β) [∇E(w) + ½ ∇_w⟨∇²E(w), Σ⟩],    Σ ⪰ 0,    ∇²E ⪯ S* I,    ⟨Σ, S* I − ∇²E⟩ = 0,

    in iterations, with S* = 2(1 + β)/η for the heavy ball and 2(1 + β)/((1 + 2β)η) for Nesterov's rule.
    ``CentralFlow(HeavyBall(…))`` makes it. Scheme and Σ are those of `CentralFlow`; the default dt is as short, relative to the
    center's relaxation at the rate S*η/(1 − β), as that of gradient descent.

    Parameters
    ----------
    optimizer : HeavyBall or Nesterov
    max_modes : int
        As of `CentralFlow`.

    Raises
    ------
    ValueError
        For another optimizer, or a parameter out of range.

    Notes
    -----
    Averaged over its oscillation, m obeys m ← βm + ḡ with ḡ = ∇E + ½∇⟨∇²E, Σ⟩, so that m = ḡ/(1 − β) to leading order where ḡ
    changes slowly over 1/(1 − β) iterations: both rules then move by −ηḡ/(1 − β). The next order, the memory of past ḡ, is
    dropped.

    References
    ----------
    That of gradient descent: arXiv:2410.24206; with momentum it is this package's.

    Examples
    --------
    At rest on the valley E = ½(y + x)x² − ε(x + y) the oscillation holds the sharpness at 2(1 + β)/η = 8, with tr Σ ≈ 2ε:

    >>> valley = meanfield.landscapes.Valley(epsilon=0.01)
    >>> flow = solvers.CentralFlow(solvers.HeavyBall(0.3, momentum=0.2))
    >>> solution = solvers.solve(flow, valley, [-0.0025, 8.0075], steps=20)
    >>> round(float(solution.fluctuation_trace[-1]), 3)
    0.02
    """

    models: ClassVar[tuple[str, ...]] = ("heavy_ball", "nesterov")
    listed: ClassVar[str] = "a HeavyBall or Nesterov"

    @property
    def _relaxation(self) -> float:
        return self.edge / (1.0 - float(self.optimizer.momentum))

    def _rate(self, state: Array) -> float:
        return self.learning_rate / (1.0 - float(self.optimizer.momentum))

    def _edge(self, state: Array) -> float:
        return self.edge / self.learning_rate
