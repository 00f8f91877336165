"""The free-energy flow: on particles, the kinetic equation over weights and fluctuations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from solvers._support.annotations import Ge
from solvers._support.arguments import refusal
from solvers.flow import ContinuousFlow, Seed
from solvers.flows.optimizer_flow import OptimizerFlow
from solvers.free_energy import Closure, FreeEnergy, free_energy_gradient
from solvers.integrators import ROCK4, Chebyshev, Integrator
from solvers.noise import is_rounded, spread_normal, step_rounding
from solvers.objective import (
    Array,
    hessian_product,
    inner,
    norm,
    peak,
    with_own_results,
)
from solvers.optimizer import of_optimizers
from solvers.spectrum.eigenpairs import top_eigenpairs

#: Within so many times a floor that is a number, a fluctuation may soon be there.
_NEAR = 1e5


@of_optimizers(OptimizerFlow)
@dataclass(frozen=True)
class FreeEnergyFlow(ContinuousFlow):
    """Descent of the center, ascent of the fluctuation, on the free energy of gradient descent:

        ẇ = −η ∂_w F_η(w, u),    u̇ = +η ∂_u F_η(w, u),    t in iterations.

    On the risk of a two-layer network, with x in R^{N×D}, this is the particle system of the kinetic equation

        ∂_t μ + ∇_θ·(μ (−η ∇_θ F'[μ])) + ∇_u·(μ (+η ∇_u F'[μ])) = 0

    for the joint law μ(dθ, du) of weights and fluctuations. Stepped by explicit Euler with dt = 1, the endpoint closure with
    linear growth *is* gradient descent: x_k = w_k + (−1)^k u_k.

    Parameters
    ----------
    learning_rate : float or Optimizer
        η > 0. An optimizer, as ``HeavyBall(0.1)``: the split of that rule, an `solvers.flows.optimizer_flow.OptimizerFlow`, which
        takes the options `delay`, `fluctuation_floor` ("rounding" or 0) and `seed`.
    closure : {"endpoint", "taylor"}
        See `FreeEnergy`. Per evaluation and fluctuation: two gradients, or one hvp and one third derivative.
    growth : {"linear", "exact"}
        "linear": u̇ as above, which on a mode of curvature λ grows like exp((ηλ − 2)t). "exact": with A u = u + η ∂_u F and
        ρ = ⟨u, Au⟩/|u|², u̇ = log|ρ| u + (Au − ρu), which grows as fast per unit of time as gradient descent per step. Where
        |ρ| < e⁻², the rate along u is held at −2, the fastest decay of the linear law: log|ρ| is unbounded as u turns from modes
        that relax (ρ < 0) to one that oscillates (ρ > 0), and no explicit scheme could follow it.
    rank : int
        Number of fluctuations. Above 1 the first fluctuation is split at t = 0 along the rank − 1 top eigenvectors of ∇²E, the
        remainder last: tr Σ is unchanged, the coherence between the modes is dropped.
    fluctuation_floor : "rounding" or float
        "rounding" (default): after every iteration u receives the rounding errors of gradient descent's step as noise: that of
        its difference, normal, of variance ulp(w_i)²/12, on the coordinates where u is not zero, and that of its gradient, which
        is measured, by two gradients and a product. Several fluctuations share it, and with exact growth only the part along u
        is added. It is omitted while the largest |u_i| is above 10⁴ε (or √ε) times the largest |w_i|, where it cannot be seen.
        A number above 0: after every time step, each u_r with 0 < |u_r| < floor is scaled up to it. 0: neither, u decays to
        underflow.
    delay : bool
        Whether the velocity is taken half an iteration before, ż(t) = V(z(t − ½)) for z = (w, u): second-order accurate in
        time where the flow without delay is first-order, at no extra gradient. Has its own scheme in time, for dt = 1/m
        (default ¼); dt = 1 is gradient descent. Not with growth="exact", which corrects the same error.
    seed : int
        Seed of the rounding noise, at least 0 and below 2¹²⁸.

    Raises
    ------
    ValueError
        For a parameter out of range.

    Notes
    -----
    Start: w_0 = x_0 − (η/2)∇E(x_0), u_0 = (η/2)∇E(x_0). Below the edge of stability u decays; that of gradient
    descent decays to the rounding of its iterates, from which it grows again once the edge is crossed. So rounding sets the
    onset wherever the decay gets that far: it differs between float32 and float64, and between two runs of gradient descent one
    rounding apart. The noise has the size and the directions of that rounding, in its step and in its gradient, and other seeds
    give other onsets, distributed as gradient descent's are over such runs. For d = ½(∇E(w + u) − ∇E(w − u)) at any |u| see
    `endpoint_gradients`.

    References
    ----------
    Chodron de Courcel, arXiv:2606.05326 (free energy, kinetic equation); the exact growth law is this package's.

    Examples
    --------
    By explicit Euler with dt = 1 it is gradient descent, x_k = w_k + (−1)^k u_k:

    >>> parabola = meanfield.landscapes.Landscape(lambda x: 2 * x[0] ** 2)
    >>> flow = solvers.FreeEnergyFlow(0.4, fluctuation_floor=0.0)
    >>> model = solvers.solve(flow, parabola, [1.0], steps=2, dt=1.0, integrator="euler")
    >>> signs = (-1.0) ** model.times[:, None]
    >>> (model.centers + signs * model.fluctuations).ravel().round(12)
    array([ 1.  , -0.6 ,  0.36])
    """

    learning_rate: float
    closure: Closure = "endpoint"
    growth: Literal["linear", "exact"] = "linear"
    rank: Annotated[int, Ge(1)] = 1
    fluctuation_floor: Literal["rounding"] | Annotated[float, Ge(0)] = "rounding"
    delay: bool = False
    seed: Seed = 0

    particlewise: ClassVar[bool] = True
    can_change_rate: ClassVar[bool] = True
    growing: ClassVar[slice] = slice(1, None)
    default_integrator: ClassVar[Integrator] = Chebyshev(rtol=2e-3)
    few_integrator: ClassVar[Integrator | None] = ROCK4(rtol=1e-5)
    colour: ClassVar[str] = "orange"

    @classmethod
    def state_arrays(cls, options: Mapping[str, Any]) -> int:
        return 1 + int(options["rank"])

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.delay and self.growth != "linear":
            raise refusal("growth", "'linear' where delay=True", self.growth)

    def start(self, objective: Any, x0: Array) -> Array:
        """The center and the r fluctuations, shape (1 + r, *x)."""
        u = x0.dtype.type(0.5 * self.learning_rate) * objective.gradient(x0)
        fluctuations = [u] if self.rank == 1 else self._split(objective, x0, u)
        return np.stack([x0 - u, *fluctuations])

    def rates(self, objective: Any, time: float, state: Array) -> tuple[Array, float]:
        velocity, d_center, d_fluctuations = self._velocity(objective, state)
        ascent = sum(
            inner(objective, d, u_dot)
            for d, u_dot in zip(d_fluctuations, velocity[1:], strict=True)
        )
        return velocity, ascent - self.learning_rate * inner(objective, d_center, d_center)

    def velocity(self, objective: Any, time: float, state: Array) -> Array:
        return self._velocity(objective, state)[0]

    def _velocity(self, objective: Any, state: Array) -> tuple[Array, Array, Array]:
        """The velocity, and the derivatives of F that it is made of."""
        eta, own = self.learning_rate, with_own_results(objective)
        d_center, d_fluctuations = free_energy_gradient(own, eta, self.closure, state[0], state[1:])
        velocity = state.dtype.type(eta) * np.concatenate([-d_center[None], d_fluctuations])
        if self.growth == "exact":
            for u, u_dot in zip(state[1:], velocity[1:], strict=True):
                u_dot += _exact_growth_correction(objective, u, u_dot)
        return velocity, d_center, d_fluctuations

    def constrain(self, objective: Any, state: Array) -> Array:
        if self.fluctuation_floor not in (0.0, "rounding"):
            floor = float(self.fluctuation_floor)
            for u in state[1:]:
                size = norm(objective, u)
                if 0.0 < size < floor:
                    u *= u.dtype.type(floor / size)
        return state

    def horizon(self, objective: Any, state: Array) -> float:
        """One iteration where rounding or the floor determine u."""
        if self.fluctuation_floor == "rounding":
            reached = is_rounded(objective, *state)
        else:
            least = _NEAR * self.fluctuation_floor
            reached = any(0.0 < norm(objective, u) < least for u in state[1:])
        return 1.0 if reached else math.inf

    def disturb(self, objective: Any, step: int, state: Array, iterations: int) -> Array:
        """The state with the rounding errors that these iterations of gradient descent would leave in u."""
        if self.fluctuation_floor != "rounding" or not is_rounded(objective, *state):
            return state
        # A coordinate that does not move, as of a dead neuron, is not rounded.
        share = state.dtype.type((iterations / self.rank) ** 0.5) * state[1:].any(axis=0)
        own, w = with_own_results(objective), state[0]
        eta, gradient = state.dtype.type(self.learning_rate), own.gradient(w)

        def difference(r: Array) -> Array:
            lost: Array = own.gradient(w + r) - gradient - hessian_product(own, w, r)
            return -eta * lost

        disturbed = state.copy()
        for r, u in enumerate(disturbed[1:]):
            draw = spread_normal(objective, self.seed, self.rank * step + r, u)
            noise = share * step_rounding(w, draw, difference)
            u += _along(objective, noise, u) if self.growth == "exact" else noise
        return disturbed

    def center(self, step: int, state: Array) -> Array:
        return state[0]

    def fluctuation(self, step: int, state: Array) -> Array:
        return state[1] if self.rank == 1 else state[1:]

    def mirrored(self, state: Array) -> Array:
        return np.concatenate([state[:1], -state[1:]])

    def carried(self, objective: Any, step: int, state: Array, ratio: float) -> Array:
        """From the same iterate, w + (−1)^k Σ_r u_r, with fluctuations in proportion to η."""
        change = state.dtype.type((1.0 - ratio) * (-1.0) ** step)
        fluctuations = state[1:]
        moved = state[:1] + change * np.sum(fluctuations, axis=0, keepdims=True)
        return np.concatenate([moved, state.dtype.type(ratio) * fluctuations])

    def next_gradients(self, step: int, state: Array) -> Sequence[Array]:
        if self.delay or self.closure == "taylor":
            return ()
        w = state[0]
        ends = [end for u in state[1:] for end in (w + u, w - u)]
        return ends if self.rank == 1 else [*ends, w]

    def predicted_loss(self, objective: Any, step: int, state: Array) -> float:
        energy = FreeEnergy(objective, self.learning_rate, self.closure)
        return energy.mean_loss(state[0], state[1:])

    def _split(self, objective: Any, x0: Array, u: Array) -> list[Array]:
        """u along the top eigenvectors of the Hessian at x0, and what remains: mutually orthogonal, of sum u."""
        if self.rank > x0.size:
            raise refusal("rank", f"at most x0.size = {x0.size}", self.rank)
        _, vectors = top_eigenpairs(objective, x0, k=self.rank - 1)
        parts = [u.dtype.type(inner(objective, v, u)) * v for v in vectors]
        return [*parts, u - sum(parts)]


def _along(objective: Any, noise: Array, u: Array) -> Array:
    """The part of the noise along u: otherwise ρ would be a mean over all directions, most of which do not grow."""
    q = u / u.dtype.type(peak(objective, u) or 1.0)
    part: Array = u.dtype.type(inner(objective, noise, q) / (inner(objective, q, q) or 1.0)) * q
    return part


def _exact_growth_correction(objective: Any, u: Array, linear: Array) -> Array:
    """(log|ρ| − (ρ − 1)) u: from the linear law's growth along u, ρ − 1, to gradient descent's, log|ρ| (at least −2)."""
    scale = u.dtype.type(peak(objective, u))
    if scale == 0.0:
        return np.zeros_like(u)
    q = u / scale  # u may be so small that |u|² underflows
    growth = inner(objective, q, linear / scale) / inner(objective, q, q)
    exact = math.log(max(abs(1.0 + growth), math.exp(-2.0)))
    correction: Array = u.dtype.type(exact - growth) * u
    return correction
