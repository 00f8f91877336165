"""The rod flow of rules with a mean of squared gradients: RMSProp, its scalar variant, and Adam."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from solvers._support.arguments import refusal, settle
from solvers.endpoints import endpoint_gradients
from solvers.flows.momentum import HeavyBall
from solvers.flows.optimizer_rod_flow import OptimizerRodFlow
from solvers.flows.rod_flow import RodFlow, largest_factors
from solvers.objective import Array, inner
from solvers.optimizer import Optimizer


@dataclass(frozen=True, init=False)
class AdaptiveRodFlow(OptimizerRodFlow):
    """A rod in the space of the weights, of Adam the weights and momenta, and a smooth mean ν of squares beside it:

        ċ = V̄ − ½ DV̄ V̄,    Σ̇ = ¼(V₊V₊* + V₋V₋*) − 2Σ,    ν̇ = −log β₂ (½(g₊² + g₋²) − ν),    V± = V(c ± u),  g± = ∇E(c ± u),

    in iterations, with V the change by one step whose preconditioner P = diag(√ν + ε)/η is held, and V̄, DV̄ and start
    as of `OptimizerRodFlow`. The squares are entry by entry, of scalar RMSProp |g±|². u is the leading axis of Σ in units in
    which P is the identity, P^{1/2}x and P^{−1/2}m, where RMSProp is gradient descent of rate 1 and Adam the heavy ball
    ``HeavyBall(1 − β₁, β₁)``: Σ P v = λ₁ v, ⟨v, P v⟩ = 1, u = √λ₁ v. With bias correction ν in P is divided by its weight, and P
    multiplied by that of m. ``RodFlow(Adam(…))`` makes it.

    Over a step ν relaxes exactly towards the mean of what it follows at both ends of the step, so that it stays positive; c and Σ
    take a step of `RodFlow` or `OptimizerRodFlow` in those units at the middle of the step. Two more gradients per step.

    Parameters
    ----------
    optimizer : ScalarRMSProp, RMSProp or Adam
        With β₂ > 0.
    rank : int
        As of `RodFlow`.

    Raises
    ------
    ValueError
        For another optimizer, or a parameter out of range.

    Notes
    -----
    ν(t) is the mean that divides the step from x_t, as of the central flow. Both ends of the rod have one P, as the part
    of ν that alternates, of relative size (1 − β₂)(g₊² − g₋²)/4ν, is dropped.

    References
    ----------
    Regis, Chewi, arXiv:2605.06821: rod flows of these rules, in the space of weights and momenta with ν beside the rod. The
    equations of ν and the metric of u are this package's, and may differ from theirs.

    Examples
    --------
    On E = ½Sx² the steps of scalar RMSProp with ε = 0 come to have the length η: x alternates between ±½η, a rod of that
    half-extent.

    >>> parabola = meanfield.landscapes.Landscape(lambda x: 1.5 * x[0] ** 2)
    >>> rule = solvers.ScalarRMSProp(0.1, beta2=0.9, second_moment=0.01)
    >>> solution = solvers.solve(solvers.RodFlow(rule), parabola, [0.2], steps=300)
    >>> abs(solution.centers[-1]).max() < 1e-9, (solution.fluctuation_trace[-1] ** 0.5).round(3)
    (np.True_, np.float64(0.05))
    """

    name: ClassVar[str] = "adaptive_rod_flow"
    step_arrays: ClassVar[int] = 12
    models: ClassVar[tuple[str, ...]] = ("scalar_rmsprop", "rmsprop", "adam")

    def __init__(self, optimizer: Any, rank: int = 16) -> None:
        if not isinstance(optimizer, Optimizer) or optimizer.name not in self.models:
            raise refusal("optimizer", "a ScalarRMSProp, RMSProp or Adam", optimizer)
        rule: Any = optimizer
        if rule.beta2 == 0:
            raise refusal("beta2", "above 0 for a rod flow, where ν changes slowly", 0.0)
        settle(self, optimizer=optimizer, rank=rank, learning_rate=optimizer.learning_rate)
        self.__post_init__()

    @classmethod
    def state_arrays(cls, options: Mapping[str, Any]) -> int:
        rows = int(options["optimizer"].memories)
        return rows * (1 + int(options["rank"]) + _beside(rows))

    @property
    def default_dt(self) -> float:  # type: ignore[override]
        return float(self._held.default_dt)

    def preconditioner(self, step: int, state: Array) -> Array:
        """(√ν̂ + ε)/η, of Adam times the weight of m, of the step from the iterate."""
        parts = _Parts.of(state)
        return self._preconditioner(parts.nu, parts.time)

    def fluctuation_trace(self, objective: Any, step: int, state: Array) -> float:
        return sum(inner(objective, s, s) for s in _Parts.of(state).factors[:, 0])

    def mirrored(self, state: Array) -> Array:
        parts = _Parts.of(state)
        return parts._replace(factors=-parts.factors).whole()

    def carried(self, objective: Any, step: int, state: Array, ratio: float) -> Array:
        """From the same center and means, with weights' parts of the factors in proportion to η."""
        parts = _Parts.of(state)
        factors = parts.factors.copy()
        factors[:, 0] *= state.dtype.type(ratio)
        followed = self._squares(objective, parts.z[0], factors[0, 0])
        return parts._replace(factors=factors, followed=followed).whole()

    def advance(self, objective: Any, state: Array, dt: float) -> Array:
        z, factors, nu, followed, time = _Parts.of(state)
        units = self._units(self._relaxed(nu, followed, 0.5 * dt), time + 0.5 * dt)
        rod = np.concatenate([units.into(z)[None], largest_factors(units.into(factors))])
        rod = units.back(self._step_held(_InUnits(objective, z[0], units.scale), rod, dt))
        z = np.where(units.scale > 0, rod[0], z)
        at_end = self._units(self._relaxed(nu, followed, dt), time + dt)
        factors = at_end.largest(rod[1:])
        followed_then = self._squares(objective, z[0], factors[0, 0])
        nu = self._relaxed(nu, nu.dtype.type(0.5) * (followed + followed_then), dt)
        return _Parts(z, factors, nu, followed_then, time + dt).whole()

    def _at(self, objective: Any, step: int, z: Array) -> Array:
        """c = z + ½V(z) and u = ∓½V(z) at step k, for which z = c + (−1)^k u; of ν the part c is that of half a step before."""
        half = z.dtype.type(0.5) * self.optimizer.change(objective, step, z)
        middle, u = z + half, half[:-1]
        factors = np.zeros((min(self.rank, u.size), *u.shape), z.dtype)
        factors[0] = -u if step % 2 == 0 else u
        followed = self._squares(objective, middle[0], u[0])
        nu = self._relaxed(middle[-1], followed, 0.5)
        return _Parts(middle[:-1], factors, nu, followed, float(step)).whole()

    @property
    def _held(self) -> RodFlow:
        """The rod flow in units in which P is the identity, while it is held."""
        if self.optimizer.memories == 1:
            return RodFlow(1.0, self.rank)
        beta = float(self.optimizer.beta1)
        return OptimizerRodFlow(HeavyBall(1.0 - beta, beta), self.rank)

    def _step_held(self, objective: Any, state: Array, dt: float) -> Array:
        """A step of that flow; RMSProp has no row of momenta, which gradient descent has not either."""
        if state.shape[1] == 1:
            return self._held.advance(objective, state[:, 0], dt)[:, None]
        return self._held.advance(objective, state, dt)

    def _squares(self, objective: Any, x: Array, u: Array) -> Array:
        """What ν follows, the mean of the squares at both ends."""
        mean, difference = endpoint_gradients(objective, x, u)
        squares: Array = self.optimizer.squares(objective, mean)
        return squares + self.optimizer.squares(objective, difference)

    def _relaxed(self, nu: Array, followed: Array, dt: float) -> Array:
        """ν after a time dt in which it follows a constant."""
        rate, scalar = math.log(self.optimizer.beta2), nu.dtype.type
        relaxed: Array = scalar(math.exp(rate * dt)) * nu - scalar(math.expm1(rate * dt)) * followed
        return relaxed

    def _weight(self, beta: float, time: float) -> float:
        """The weight of the data in a mean at time t, ½(1 + β) β^{t + ½} below 1 with bias correction."""
        if not self.optimizer.bias_correction or beta == 0.0:
            return 1.0
        return -math.expm1((time + 0.5) * math.log(beta) + math.log1p(0.5 * (beta - 1.0)))

    def _preconditioner(self, nu: Array, time: float) -> Array:
        rule, scalar = self.optimizer, nu.dtype.type
        root = np.sqrt(nu) / scalar(self._weight(rule.beta2, time) ** 0.5) + scalar(rule.eps)
        made: Array = root * scalar(
            self._weight(getattr(rule, "beta1", 0.0), time) / rule.learning_rate
        )
        return made

    def _units(self, nu: Array, time: float) -> _Units:
        return _Units(np.sqrt(self._preconditioner(nu, time)), self.optimizer.memories)


def _beside(rows: int) -> int:
    """The number of arrays (rows, *x) that hold ν, what it follows, and the time."""
    return -(-3 // rows)


class _Parts(NamedTuple):
    """A state by its parts: c and the factors of Σ, each (rows, *x); ν, what it follows, and the time."""

    z: Array
    factors: Array
    nu: Array
    followed: Array
    time: float

    @classmethod
    def of(cls, state: Array) -> _Parts:
        count = _beside(state.shape[1])
        nu, followed, time = state[-count:].reshape(-1, *state.shape[2:])[:3]
        return cls(state[0], state[1:-count], nu, followed, float(time.flat[0]))

    def whole(self) -> Array:
        rows, shape = self.z.shape[0], self.z.shape[1:]
        beside = np.zeros((_beside(rows) * rows, *shape), self.z.dtype)
        beside[0], beside[1], beside[2] = self.nu, self.followed, self.time
        return np.concatenate([self.z[None], self.factors, beside.reshape(-1, rows, *shape)])


class _Units:
    """P^{1/2}x and P^{−1/2}m of (x, m); 0 where P is, as no gradient has been seen there and ε = 0."""

    def __init__(self, root: Array, rows: int) -> None:
        self.scale = np.divide(1, root, out=np.zeros_like(root), where=root > 0)  #: P^{−1/2}
        self._into = np.stack([root, self.scale])[:rows]
        self._back = self._into[::-1] if rows == 2 else self.scale[None]

    def into(self, z: Array) -> Array:
        return self._into * z

    def back(self, z: Array) -> Array:
        return self._back * z

    def largest(self, factors: Array) -> Array:
        """Factors of the same Σ, orthogonal in these units, largest first."""
        return self.back(largest_factors(self.into(factors)))


class _InUnits:
    """An objective as a function of y = P^{1/2}x; where P is 0, x stays."""

    def __init__(self, objective: Any, x: Array, scale: Array) -> None:
        self._objective, self._x, self._scale = objective, x, scale

    def gradient(self, y: Array) -> Array:
        gradient: Array = self._scale * self._objective.gradient(self._point(y))
        return gradient

    def hvp(self, y: Array, v: Array) -> Array:
        product: Array = self._scale * self._objective.hvp(self._point(y), self._scale * v)
        return product

    def _point(self, y: Array) -> Array:
        return np.where(self._scale > 0, self._scale * y, self._x)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objective, name)
