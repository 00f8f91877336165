"""The central flows of rules with a mean of squared gradients, whose metric moves: RMSProp, its scalar variant, and Adam."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from solvers._support.arguments import refusal
from solvers.flows.optimizer_central_flow import OptimizerCentralFlow
from solvers.objective import Array, inner, third


@dataclass(frozen=True, init=False)
class AdaptiveCentralFlow(OptimizerCentralFlow):
    """The time-averaged trajectory of RMSProp or Adam, with the covariance Σ that keeps it at its edge of stability e:

        ẇ = −P⁻¹ [∇E(w) + ½ ∇_w⟨∇²E(w), Σ⟩],    P = diag(√ν + ε)/η,    ν̇ = κ (∇E² + diag(∇²E Σ ∇²E) − ν),    κ = (1 − β₂)/β₂,
        Σ ⪰ 0,    ∇²E ⪯ e P,    ⟨Σ, e P − ∇²E⟩ = 0,

    in iterations and entry by entry, with e = 2 for RMSProp and 2(1 + β₁)/(1 − β₁) for Adam. Of scalar RMSProp every entry of ν
    follows the sum |∇E|² + tr(∇²E Σ ∇²E); with one critical mode at S = 2√ν/η and ε = 0 that is

        σ² = [−⟨∇S, ∇E⟩ + κ(S²/4 − |∇E|²/η²)] / [½|∇S|² + κS²/η²],

    and κ → 0 with ν at rest is gradient descent's `CentralFlow` with the learning rate η/(√ν + ε). With bias correction ν is
    divided by its weight s, ṡ = κ(1 − s), which replaces κ by κ/s. ``CentralFlow(RMSProp(…))`` makes it.

    Scheme and Σ are those of `CentralFlow` in the coordinates P^{1/2}w of each step, where the rate is 1 and the edge e. As P
    moves, the complementarity problem has two more terms. With ∇²E v_i = e P v_i, ⟨v_i, P v_j⟩ = δ_ij, Σ = Σ_ij X_ij v_i v_j* and
    b = eκ/(2η√ν), entry by entry,

        d⟨v_i, e P v_j⟩/dt = ⟨v_i v_j, b (∇E² − ν)⟩ + Σ_kl ⟨v_i v_j, b (eP)² v_k v_l⟩ X_kl.

    Parameters
    ----------
    optimizer : ScalarRMSProp, RMSProp or Adam
        With β₂ > 0.
    max_modes : int
        As of `CentralFlow`.

    Raises
    ------
    ValueError
        For another optimizer, or a parameter out of range.

    Notes
    -----
    ν(t) is the mean that divides the step from x_t. Over a step in time it relaxes exactly towards what it is the mean of, so it
    stays positive, and 1/√ν in b is the secant of that step. Adam's first mean is (1 − β₁)Σ_j β₁^j ḡ(t − j) = ḡ to leading order
    where ḡ = ∇E + ½∇⟨∇²E, Σ⟩ changes slowly over 1/(1 − β₁) iterations; the next order is dropped, and so is the growth of its
    weight during the first iterations of a run with bias correction.

    References
    ----------
    Cohen, Damian, Talwalkar, Kolter, Lee, arXiv:2410.24206 (RMSProp and its scalar variant); σ², Adam's and the scheme are this
    package's.

    Examples
    --------
    The sharpness follows its moving edge 2√ν/η on the valley E = ½(y + ζx)x² − ε(x + y), ζ = 0:

    >>> valley = meanfield.landscapes.Valley(zeta=0.0, epsilon=0.01)
    >>> rule = solvers.ScalarRMSProp(0.05, beta2=0.99, second_moment=0.0225)
    >>> flow = solvers.CentralFlow(rule)
    >>> solution = solvers.solve(flow, valley, [1e-3, 6.0], steps=100)
    >>> round(solvers.effective_sharpness(flow, valley, solution.state), 2)
    1.0
    """

    name: ClassVar[str] = "adaptive_central_flow"
    models: ClassVar[tuple[str, ...]] = ("scalar_rmsprop", "rmsprop", "adam")
    listed: ClassVar[str] = "a ScalarRMSProp, RMSProp or Adam"
    memories: ClassVar[int] = 3  # s, ν over s, and what ν follows

    def __init__(self, optimizer: Any, max_modes: int = 8) -> None:
        super().__init__(optimizer, max_modes)
        if optimizer.beta2 == 0:
            raise refusal("beta2", "above 0 for a central flow, where ν changes slowly", 0.0)

    def _between(self, step: int, pair: Array) -> Array:
        """The state at the optimizer's center, with the ν that divides its step."""
        state = super()._between(step, pair)
        weight = state.dtype.type(self.optimizer.weight(self.optimizer.beta2, step))
        state[-3] = weight
        state[-2:] = pair[1, -1] / weight
        return state

    def fluctuation(self, step: int, state: Array) -> Array:
        scaled: Array = super().fluctuation(step, state) * self._inverse_root(state)
        return scaled

    def predicted_loss(self, objective: Any, step: int, state: Array) -> float:
        """E + ½⟨∇²E, Σ⟩ = E + ½e tr(PΣ)."""
        trace = float(np.sum(self._numbers(state)[:-1] ** 2))
        return float(objective.value(state[0])) + 0.5 * self.edge * trace

    def preconditioner(self, step: int, state: Array) -> Array:
        return self._root_of_mean(state[-2]) / state.dtype.type(self.learning_rate)

    def _root_of_mean(self, nu: Array) -> Array:
        """√ν + ε."""
        root: Array = np.sqrt(nu) + nu.dtype.type(self.optimizer.eps)
        return root

    def _inverse_root(self, state: Array) -> Array:
        """P^(−1/2); 0 where no gradient has been seen and ε = 0: the optimizer does not move there."""
        root = np.sqrt(self.preconditioner(0, state))
        return np.divide(1, root, out=np.zeros_like(root), where=root > 0)

    @property
    def _relaxation(self) -> float:
        return self.edge

    def _rate(self, state: Array) -> float:
        return 1.0

    def _edge(self, state: Array) -> float:
        return self.edge

    @property
    def _kappa(self) -> float:
        return (1.0 - float(self.optimizer.beta2)) / float(self.optimizer.beta2)

    def _relaxed(self, state: Array, dt: float) -> tuple[float, float]:
        """The weight s after a time dt, and the part of its way to what it follows that ν then has gone."""
        weight, gone = float(state[-3].flat[0]), -math.expm1(-self._kappa * dt)
        weight = 1.0 if weight == 1.0 else weight + gone * (1.0 - weight)
        return weight, gone / weight

    def _mean_after(self, state: Array, dt: float) -> Array:
        """ν after a time dt."""
        mean: Array = state[-2] + state.dtype.type(self._relaxed(state, dt)[1]) * (
            state[-1] - state[-2]
        )
        return mean

    def _moved(self, state: Array, dt: float) -> Array:
        moved = super()._moved(state, dt)
        moved[-3], moved[-2] = self._relaxed(state, dt)[0], self._mean_after(state, dt)
        return moved

    def _metric(self, objective: Any, state: Array) -> _Metric:
        return _Metric(objective, self._inverse_root(state))

    def _plain(self, metric: _Metric, z: Array) -> Array:
        return metric.scale * z

    def _scaled(self, metric: _Metric, z: Array) -> Array:
        return metric.from_root(z)

    def _remember(
        self, objective: Any, metric: _Metric, state: Array, amplitudes: Array, vectors: Array
    ) -> None:
        """The mean of the squared gradients over the oscillation, ∇E² + diag(∇²E Σ ∇²E) with ∇²E = e P on the modes."""
        rule, total = self.optimizer, self.optimizer.squares(objective, metric.gradient_there)
        for amplitude, vector in zip(amplitudes, vectors, strict=True):
            if amplitude > 0.0:
                kick = state.dtype.type(amplitude * self.edge) * metric.from_root(vector)
                total = total + rule.squares(objective, kick)
        state[-1] = total

    def _fall(self, state: Array, dt: float) -> float:
        """An eigenvalue at the edge rises by this where ν only decays."""
        gone = self._relaxed(state, dt)[1]
        return self.edge * (1.0 / math.sqrt(1.0 - gone) - 1.0) if gone < 1.0 else math.inf

    def _motion(
        self, objective: Any, state: Array, gradient: Array, vectors: Array, dt: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The motion of e P during a time dt, or at this instant, per unit of time."""
        k, nu = len(vectors), state[-2]
        rate = (
            self._relaxed(state, dt)[1] / dt if dt > 0.0 else self._kappa / float(state[-3].flat[0])
        )
        both = np.sqrt(nu) + np.sqrt(self._mean_after(state, dt))
        speed = nu.dtype.type(self.edge * rate / self.learning_rate)
        b = np.divide(speed, both, out=np.zeros_like(nu), where=both > 0)
        drift = b * (self.optimizer.squares(objective, objective.gradient_there) - nu)
        v = vectors * objective.scale
        kicks = [nu.dtype.type(self.edge) * objective.from_root(q) for q in vectors]
        pairs = [(i, j) for i in range(k) for j in range(k)]
        products = [v[i] * v[j] for i, j in pairs]
        fed = [b * self._mixed(objective, kicks[i], kicks[j]) for i, j in pairs]
        at_rest = np.array([inner(objective, product, drift) for product in products])
        per_x = np.array([inner(objective, product, rise) for product in products for rise in fed])
        per_x = per_x.reshape(k, k, k, k)
        return at_rest.reshape(k, k), 0.5 * (per_x + per_x.transpose(2, 3, 0, 1))

    def _mixed(self, objective: Any, a: Array, b: Array) -> Array:
        """The bilinear form of the squares, by polarisation."""
        if a is b:
            return np.asarray(self.optimizer.squares(objective, a))
        plus, minus = (self.optimizer.squares(objective, c) for c in (a + b, a - b))
        mixed: Array = 0.25 * (plus - minus)
        return mixed


class _Metric:
    """An objective in the coordinates P^{1/2}w of a fixed P, its points still given as w."""

    def __init__(self, objective: Any, scale: Array) -> None:
        self._objective = objective
        self.scale = scale  #: P^(−1/2)
        self.gradient_there = scale  #: ∇E, where `gradient` was called last

    def gradient(self, w: Array) -> Array:
        self.gradient_there = self._objective.gradient(w)
        return self.scale * self.gradient_there

    def hvp(self, w: Array, q: Array) -> Array:
        product: Array = self.scale * self._objective.hvp(w, self.scale * q)
        return product

    def third(self, w: Array, q: Array) -> Array:
        return self.scale * third(self._objective, w, self.scale * q)

    def from_root(self, q: Array) -> Array:
        """P^{1/2} q, 0 where `scale` is."""
        return np.divide(q, self.scale, out=np.zeros_like(q), where=self.scale > 0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objective, name)
