"""The rod flow of gradient descent with momentum, on weights and momenta."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from solvers._support.arguments import refusal, settle
from solvers.endpoints import endpoint_gradients
from solvers.flow import Flow
from solvers.flows.rod_flow import LOOSE, Rates, RodFlow
from solvers.objective import Array, all_finite, inner
from solvers.optimizer import Optimizer
from solvers.spectrum.eigenpairs import top_eigenpairs


@dataclass(frozen=True, init=False)
class OptimizerRodFlow(RodFlow):
    """A rod of center c and half-extent u in the space of z = (x, ηm), for the heavy ball or Nesterov's rule z ← z + V(z):

        ċ = V̄ − ½ DV̄ V̄,    Σ̇ = ¼(V₊V₊* + V₋V₋*) − 2Σ,    V± = V(c ± u),  V̄ = ½(V₊ + V₋),  DV̄ = ½(DV(c + u) + DV(c − u)),

    in iterations, from c_0 = z_0 + ½V(z_0), u_0 = −½V(z_0), Σ_0 = u_0u_0*, with u = √λ₁ v₁ of Σ. For V = −η∇E this is `RodFlow`.
    ``RodFlow(HeavyBall(…))`` makes it. Form of Σ and scheme are those of `RodFlow`, with dt = ½ and four stages,
    or as many as the sharpness of the center needs. The fluctuation is the weights' part of u, and tr Σ that of the weights' part
    of the whole Σ.

    Parameters
    ----------
    optimizer : HeavyBall or Nesterov
    rank : int
        As of `RodFlow`.

    Raises
    ------
    ValueError
        For another optimizer, or a parameter out of range.

    Notes
    -----
    The leading axis of Σ depends on the units of the memory. A momentum has the natural one: ηm is a step. For rules with a mean
    of squares see `solvers.flows.adaptive_rod_flow`.

    References
    ----------
    That of gradient descent: Regis, Chewi, arXiv:2602.01480; with momentum, in the space of weights and momenta, too:
    arXiv:2605.06821, from which this one, derived independently, may differ.

    Examples
    --------
    On E = ½Sx² at the edge, ηS = 2(1 + β), the rule alternates: a rod of center 0 that keeps its length.

    >>> parabola = meanfield.landscapes.Landscape(lambda x: 1.5 * x[0] ** 2)
    >>> rule = solvers.HeavyBall(1.0, momentum=0.5)
    >>> x0 = solvers.solve(rule, parabola, [1.0], steps=100).state
    >>> solution = solvers.solve(solvers.RodFlow(rule), parabola, x0, steps=10)
    >>> abs(solution.centers).max() < 1e-12, np.ptp(solution.fluctuation_trace) < 1e-9
    (np.True_, np.True_)
    """

    optimizer: Any = None

    name: ClassVar[str] = "optimizer_rod_flow"
    # with much momentum perturbations turn while they decay, at rates that a step of one iteration does not follow
    least_reach: ClassVar[float] = 8.0
    default_dt: ClassVar[float] = 0.5

    def __init__(self, optimizer: Any, rank: int = 16) -> None:
        if not isinstance(optimizer, Optimizer) or not optimizer.is_linear:
            raise refusal("optimizer", "a HeavyBall or Nesterov", optimizer)
        settle(self, optimizer=optimizer, rank=rank, learning_rate=optimizer.learning_rate)
        self.__post_init__()

    @classmethod
    def state_arrays(cls, options: Mapping[str, Any]) -> int:
        return (1 + options["optimizer"].memories) * (1 + int(options["rank"]))

    @property
    def edge(self) -> float:
        return float(self.optimizer.edge)

    def with_rate(self, learning_rate: float) -> Self:
        return type(self)(self.optimizer.with_rate(learning_rate), self.rank)

    def start(self, objective: Any, x0: Array) -> Array:
        """The center and the factors of Σ, largest first, shape (1 + r, 1 + memories, *x) with r = min(rank, x.size)."""
        return self._at(objective, 0, np.stack([x0, *self.optimizer.memory(x0)]))

    def begun(self, objective: Any, step: int, rule: Flow, pair: Array) -> Array | None:
        """From the optimizer's weights and momenta."""
        is_own = isinstance(rule, type(self.optimizer))
        return self._at(objective, step, pair[0]) if is_own else None

    def center(self, step: int, state: Array) -> Array:
        return state[0, 0]

    def fluctuation(self, step: int, state: Array) -> Array:
        return state[1, 0]

    def fluctuation_trace(self, objective: Any, step: int, state: Array) -> float:
        return sum(inner(objective, s, s) for s in state[1:, 0])

    def carried(self, objective: Any, step: int, state: Array, ratio: float) -> Array:
        """From the same center and momentum, as the sign of u is free, with factors in proportion to η."""
        moved = state.dtype.type(ratio) * state
        moved[0, 0] = state[0, 0]
        return moved

    def predicted_loss(self, objective: Any, step: int, state: Array) -> float:
        """The mean of E over both ends of the rod."""
        w, u = state[0, 0], state[1, 0]
        return 0.5 * float(objective.value(w + u) + objective.value(w - u))

    def free_energy(self, objective: Any, step: int, state: Array) -> float:
        """NaN, as of the optimizer: it is not descent–ascent on a free energy of x alone."""
        return math.nan

    def _at(self, objective: Any, step: int, z: Array) -> Array:
        """c = z + ½V(z) and u = ∓½V(z) at step k, for which z = c + (−1)^k u."""
        half = z.dtype.type(0.5) * self.optimizer.change(objective, step, z)
        state = np.zeros((1 + min(self.rank, z[0].size), *z.shape), z.dtype)
        state[0], state[1] = z + half, -half if step % 2 == 0 else half
        state[:, 1:] *= z.dtype.type(self.learning_rate)
        return state

    def _relaxation(self, objective: Any, w: Array, velocity: Array, dt: float) -> float:
        """The largest rate |a − a²/2| at which the center relaxes along a mode, a the eigenvalues of V on it; 0 below the edge.

        There |1 + a| ≤ 1, so that no rate is above 4, for which every step is stable.
        """
        if not (all_finite(objective, w[0]) and all_finite(objective, velocity)):
            return 0.0  # the run ends here
        above = self.edge / self.learning_rate
        sharpness = float(top_eigenpairs(objective, w[0], 1, LOOSE, above=above).values[0])
        if not sharpness > above:
            return 0.0
        units = np.eye(2)[:, :, None]
        columns = [self._change(unit, sharpness * unit[0]) for unit in units]
        a = np.linalg.eigvals(np.array(columns)[:, :, 0])
        return float(np.max(np.abs(a - 0.5 * a**2)))

    def _rates(self, objective: Any, w: Array, u: Array) -> Rates:
        """V₊V₊* + V₋V₋* = 2(V̄V̄* + dd*) for mean and half difference of V±."""
        mean, difference = endpoint_gradients(objective, w[0], u[0])
        average, turned = self._change(w, mean), self._change(u, difference)
        ahead = objective.hvp(w[0] + u[0], average[0]) + objective.hvp(w[0] - u[0], average[0])
        half = w.dtype.type(0.5)
        correction = half * self._change(average, half * ahead)
        feeds = w.dtype.type(0.5**0.5) * np.array([average, turned])
        return Rates.of(average, correction, feeds)

    def _change(self, z: Array, gradient: Array) -> Array:
        """V of z = (x, ηm) at which the gradient is this one: linear in both."""
        eta = z.dtype.type(self.learning_rate)
        plain = np.concatenate([z[:1], z[1:] / eta])
        changed = self.optimizer.change(_Given(gradient), 0, plain)
        return np.concatenate([changed[:1], eta * changed[1:]])


class _Given:
    """An objective that has one gradient everywhere."""

    def __init__(self, gradient: Array) -> None:
        self._gradient = gradient

    def gradient(self, x: Array) -> Array:
        return self._gradient
