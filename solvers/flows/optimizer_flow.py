"""The averaged dynamics of any optimizer, on its whole state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np

from solvers._support.arguments import instance, refusal, settle
from solvers.flow import ContinuousFlow, Flow, Seed
from solvers.noise import is_rounded, spread_normal, step_rounding
from solvers.objective import Array, epsilon, peak
from solvers.optimizer import Optimizer


@dataclass(frozen=True)
class OptimizerFlow(ContinuousFlow):
    """The split of an optimizer z ← z + V(z), z = (x, its memory), into a center c and a fluctuation u, in continuous time:

        ċ = ½[V(c + u) + V(c − u)],    u̇ = −2u − ½[V(c + u) − V(c − u)],    t in iterations.

    With explicit Euler steps of length 1 it *is* the optimizer, z_k = c_k + (−1)^k u_k. For gradient descent, V = −η∇E, these are
    the equations of `FreeEnergyFlow`, which is where this flow is made: ``FreeEnergyFlow(HeavyBall(0.1))``.

    Parameters
    ----------
    optimizer : Optimizer
        Its options are those of the flow.
    delay : bool
        Whether the velocity is taken half an iteration before, ż(t) = V(z(t − ½)): second order in time. dt = 1 is the optimizer.
    fluctuation_floor : {"rounding", 0}
        "rounding": u receives the rounding error of the optimizer's step as noise, where u is so small that it matters;
        see `FreeEnergyFlow`.
    seed : int
        Seed of this noise.

    Raises
    ------
    ValueError
        For what is no optimizer, or an option out of range.

    Notes
    -----
    Start: c_0 = z_0 + ½V(z_0), u_0 = −½V(z_0). A rule with bias correction depends on the step; its number is then one more
    coordinate of z, of velocity 1. Two gradients per evaluation. Where u is below ε^(1/3) of x, the difference, which would lose
    digits to rounding, is taken at a multiple of u and scaled back: two more gradients, and a relative error of order ε^(2/3).

    References
    ----------
    The equations for a general rule are this package's; those of gradient descent: arXiv:2606.05326.

    Examples
    --------
    >>> import numpy as np, solvers
    >>> class Quadratic:
    ...     def value(self, x): return 0.5 * float(x @ x)
    ...     def gradient(self, x): return x
    >>> rule = solvers.HeavyBall(0.5, momentum=0.5)
    >>> model = solvers.FreeEnergyFlow(rule, delay=True)
    >>> x = np.array([1.0])
    >>> exact = solvers.solve(rule, Quadratic(), x, steps=20)
    >>> same = solvers.solve(model, Quadratic(), x, steps=20, dt=1.0)
    >>> bool(np.allclose(same.centers, exact.centers, rtol=0, atol=1e-15))
    True
    """

    optimizer: Optimizer
    delay: bool = False
    fluctuation_floor: Literal["rounding"] | float = "rounding"
    seed: Seed = 0

    particlewise: ClassVar[bool] = True
    can_change_rate: ClassVar[bool] = True
    colour: ClassVar[str] = "orange"

    def __post_init__(self) -> None:
        settle(self, optimizer=instance("optimizer", self.optimizer, Optimizer, "as Adam(1e-3)"))
        settle(self, learning_rate=self.optimizer.learning_rate)
        if self.fluctuation_floor not in ("rounding", 0):
            raise refusal(
                "fluctuation_floor", "'rounding' or 0 for an optimizer", self.fluctuation_floor
            )
        super().__post_init__()

    @classmethod
    def state_arrays(cls, options: Mapping[str, Any]) -> int:
        return 2 * (options["optimizer"].memories + 2)

    @property
    def edge(self) -> float:
        return self.optimizer.edge

    def preconditioner(self, step: int, state: Array) -> Any:
        rows = 1 + self.optimizer.memories
        return self.optimizer.preconditioner(step, np.stack([state[0, :rows]] * 2))

    def start(self, objective: Any, x0: Array) -> Array:
        """The pair (c_0, u_0), shape (2, rows, *x)."""
        return self._at(objective, 0, np.stack([x0, *self.optimizer.memory(x0)]))

    def begun(self, objective: Any, step: int, rule: Flow, pair: Array) -> Array | None:
        """From the optimizer's weights and memory."""
        is_own = isinstance(rule, type(self.optimizer))
        return self._at(objective, step, pair[0]) if is_own else None

    def _at(self, objective: Any, step: int, z: Array) -> Array:
        """c = z + ½V(z) and u = ∓½V(z), for which z = c + (−1)^k u at step k."""
        clock = [np.full_like(z[:1], step)] if self._has_clock else []
        z = np.concatenate([z, *clock])
        half = z.dtype.type(0.5) * self._change(objective, z)
        return np.stack([z + half, -half if step % 2 == 0 else half])

    def with_rate(self, learning_rate: float) -> Self:
        return replace(self, optimizer=self.optimizer.with_rate(learning_rate))

    def carried(self, objective: Any, step: int, state: Array, ratio: float) -> Array:
        """From the same weights and memory, with a fluctuation of the weights in proportion to η."""
        moved = state.copy()
        moved[1, 0] *= state.dtype.type(ratio)
        moved[0, 0] += state.dtype.type((-1.0) ** step) * (state[1, 0] - moved[1, 0])
        return moved

    def velocity(self, objective: Any, time: float, state: Array) -> Array:
        mean, difference = self._ends(objective, state[0], state[1])
        return np.stack([mean, -2 * state[1] - difference])

    def disturb(self, objective: Any, step: int, state: Array, iterations: int) -> Array:
        """The state with the rounding errors that these iterations of the optimizer would leave in u."""
        z, u = state
        if self.fluctuation_floor != "rounding" or not is_rounded(objective, z[0], u[0]):
            return state
        changed = self._change(objective, z)

        def difference(r: Array) -> Array:
            if self._has_clock:
                r[-1] = 0
            moved = z + r
            expected = self._ends(objective, z, r)[1]
            lost: Array = self._change(objective, moved) - changed - expected
            return lost

        draws = [
            spread_normal(objective, self.seed, len(u) * step + row, part)
            for row, part in enumerate(u)
        ]
        noise = step_rounding(z, np.stack(draws), difference)
        share = state.dtype.type(iterations**0.5) * (u != 0)
        return np.stack([z, u + share * noise])

    def center(self, step: int, state: Array) -> Array:
        return state[0, 0]

    def fluctuation(self, step: int, state: Array) -> Array:
        return state[1, 0]

    def mirrored(self, state: Array) -> Array:
        return np.stack([state[0], -state[1]])

    def predicted_loss(self, objective: Any, step: int, state: Array) -> float:
        """The mean of E over both ends of the oscillation of x."""
        x, u = state[0, 0], state[1, 0]
        return 0.5 * float(objective.value(x + u) + objective.value(x - u))

    def free_energy(self, objective: Any, step: int, state: Array) -> float:
        """NaN: the split of a rule with a memory is not descent–ascent on a free energy of x alone."""
        return math.nan

    @property
    def _has_clock(self) -> bool:
        return bool(getattr(self.optimizer, "bias_correction", False))

    def _change(self, objective: Any, z: Array) -> Array:
        """V(z), with the step as the last row where the rule depends on it."""
        if not self._has_clock:
            changed: Array = self.optimizer.change(objective, 0, z)
            return changed
        step = float(z[-1].flat[0])
        return np.concatenate(
            [self.optimizer.change(objective, step, z[:-1]), np.ones_like(z[-1:])]
        )

    def _ends(self, objective: Any, c: Array, u: Array) -> tuple[Array, Array]:
        """½[V(c + u) + V(c − u)] and ½[V(c + u) − V(c − u)], the latter free of rounding of c where u is small."""
        plus, minus = self._change(objective, c + u), self._change(objective, c - u)
        mean, difference = 0.5 * (plus + minus), 0.5 * (plus - minus)
        factor = c.dtype.type(self._magnification(objective, c, u))
        if factor <= 1:
            return mean, difference
        plus = self._change(objective, c + factor * u)
        minus = self._change(objective, c - factor * u)
        return mean, (plus - minus) / (2 * factor)

    def _magnification(self, objective: Any, c: Array, u: Array) -> float:
        """By what u is multiplied to reach ε^(1/3) of c in x, and at most half of c where that is a mean of squares."""
        size = peak(objective, u[0])
        if size == 0.0:
            return 1.0
        factor = epsilon(c) ** (1 / 3) * peak(objective, c[0]) / size
        if self.optimizer.has_squares:
            nu, change = c[self.optimizer.memories], u[self.optimizer.memories]
            relative = peak(objective, np.divide(change, nu, out=np.zeros_like(nu), where=nu > 0))
            factor = min(factor, 0.5 / relative) if relative > 0 else factor
        return factor
