"""Rod flow, with its covariance in low-rank form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from solvers._support.annotations import Ge
from solvers.endpoints import endpoint_gradients
from solvers.flow import SteppedFlow
from solvers.free_energy import FreeEnergy
from solvers.objective import Array, inner
from solvers.optimizer import of_optimizers


@of_optimizers(lambda rule, *arguments, **options: rule.rod_flow(*arguments, **options))
@dataclass(frozen=True)
class RodFlow(SteppedFlow):
    """A rod of center w and half-extent u, the leading axis of a covariance Σ:

        ẇ = −(η/2)(g₊ + g₋) − (η²/8)(H₊ + H₋)(g₊ + g₋),    g± = ∇E(w ± u), H± = ∇²E(w ± u)
        Σ̇ = (η²/4)(g₊g₊* + g₋g₋*) − 2Σ,    u = √λ₁ v₁ of Σ,

    in iterations, from w_0 = x_0 − u_0, Σ_0 = u_0u_0*, u_0 = (η/2)∇E(x_0). The fluctuation is u; tr Σ is that of the whole Σ.

    Σ is kept as Σ_r s_r s_r*, in r ≤ rank orthogonal factors: never a matrix of the size of x squared. Its scheme is the
    exponential midpoint rule, of order two: over a step with constant g±, Σ ← e^{−2dt}Σ + ½(1 − e^{−2dt})(η²/4)(g₊g₊* +
    g₋g₋*) is exact and adds two factors; then all but the largest `rank` are dropped. Two gradients and two Hessian-vector
    products per evaluation, two evaluations per step.

    Parameters
    ----------
    learning_rate : float or Optimizer
        η > 0. Of a `HeavyBall` or `Nesterov` the rod flow on weights and momenta: see `solvers.flows.optimizer_rod_flow`.
    rank : int
        Largest number of factors kept. Σ decays like e^{−2t}; with sixteen, what is dropped is below its rounding where x is not
        so small that none is dropped.

    Raises
    ------
    ValueError
        For a parameter out of range.

    References
    ----------
    Regis, Chewi, arXiv:2602.01480; taking u from Σ is this package's interpretation.

    Examples
    --------
    On E = 2x² with η = 0.5, the edge of stability, gradient descent alternates between 1 and −1: a rod of center 0 that keeps
    its length.

    >>> parabola = meanfield.landscapes.Landscape(lambda x: 2 * x[0] ** 2)
    >>> solution = solvers.solve(solvers.RodFlow(0.5), parabola, [1.0], steps=10)
    >>> abs(solution.centers).max() < 1e-12, solution.fluctuation_trace[[0, -1]].round(9)
    (np.True_, array([1., 1.]))
    """

    learning_rate: float
    rank: Annotated[int, Ge(1)] = 16
    needs: ClassVar[tuple[str, ...]] = ("value", "gradient", "hvp")
    order: ClassVar[int] = 2
    # Along a mode at the edge the center relaxes at rate ηS + (ηS)²/2 = 4: the midpoint rule is stable below dt = ½.
    default_dt: ClassVar[float] = 0.25
    is_signed: ClassVar[bool] = False
    can_change_rate: ClassVar[bool] = True
    colour: ClassVar[str] = "green"
    dashes: ClassVar[str] = "--"

    @classmethod
    def state_arrays(cls, options: Mapping[str, Any]) -> int:
        return 1 + int(options["rank"])

    def start(self, objective: Any, x0: Array) -> Array:
        """The center and the factors of Σ, largest first, shape (1 + r, *x) with r = min(rank, x.size)."""
        u = x0.dtype.type(0.5 * self.learning_rate) * objective.gradient(x0)
        state = np.zeros((1 + min(self.rank, x0.size), *x0.shape), x0.dtype)
        state[0], state[1] = x0 - u, u
        return state

    def advance(self, objective: Any, state: Array, dt: float) -> Array:
        half = self._moved(state, self._rates(objective, state), 0.5 * dt)
        return self._moved(state, self._rates(objective, half), dt)

    def center(self, step: int, state: Array) -> Array:
        return state[0]

    def fluctuation(self, step: int, state: Array) -> Array:
        return state[1]

    def fluctuation_trace(self, objective: Any, step: int, state: Array) -> float:
        return sum(inner(objective, s, s) for s in state[1:])

    def mirrored(self, state: Array) -> Array:
        return np.concatenate([state[:1], -state[1:]])

    def carried(self, objective: Any, step: int, state: Array, ratio: float) -> Array:
        """From the same center, as the sign of u is free, with factors in proportion to η."""
        return np.concatenate([state[:1], state.dtype.type(ratio) * state[1:]])

    def predicted_loss(self, objective: Any, step: int, state: Array) -> float:
        return FreeEnergy(objective, self.learning_rate).mean_loss(state[0], state[1])

    def _rates(self, objective: Any, state: Array) -> tuple[Array, Array]:
        """ẇ, and the factors added to Σ: g₊g₊* + g₋g₋* = 2(mm* + dd*) for mean and half difference m, d of the gradients."""
        eta = self.learning_rate
        w, u = state[0], state[1]
        mean, difference = endpoint_gradients(objective, w, u)
        total = 2 * mean
        curved = objective.hvp(w + u, total) + objective.hvp(w - u, total)
        half = state.dtype.type(0.5 * eta)
        feeds = state.dtype.type(eta * 0.5**0.5) * np.array([mean, difference])
        return -half * (total + 0.5 * half * curved), feeds

    def _moved(self, state: Array, rates: tuple[Array, Array], dt: float) -> Array:
        velocity, feeds = rates
        scalar = state.dtype.type
        decay, gain = scalar(np.exp(-dt)), scalar(np.sqrt(0.5 * -np.expm1(-2.0 * dt)))
        factors = _compressed(np.concatenate([decay * state[1:], gain * feeds]), len(state) - 1)
        return np.concatenate([(state[0] + scalar(dt) * velocity)[None], factors])


def _compressed(factors: Array, rank: int) -> Array:
    """The `rank` largest orthogonal factors of Σ_r s_r s_r*, largest first, the first one along the first given.

    From the eigenvectors of the factors' Gram matrix: the error is below the rounding of Σ, though not of its square root.
    """
    flat = factors.reshape(len(factors), -1)
    scale = np.max(np.abs(flat))
    if scale == 0.0 or not np.isfinite(scale):
        return factors[:rank]
    unit = flat / scale
    _, mixing = np.linalg.eigh(unit @ unit.T)
    kept = mixing.T[::-1][:rank] @ flat
    if np.dot(kept[0], unit[0]) < 0:  # the sign of u is arbitrary; keep it continuous in time
        kept[0] *= -1
    return kept.reshape(rank, *factors.shape[1:])
