"""The edge flow: a symmetrised loss for the center, one tracked direction and magnitude for the fluctuation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from solvers.endpoints import endpoint_gradients
from solvers.flow import ContinuousFlow
from solvers.free_energy import FreeEnergy
from solvers.integrators import ROCK4, Chebyshev, Integrator
from solvers.objective import Array, inner, norm
from solvers.spectrum.eigenpairs import top_eigenpairs


@dataclass(frozen=True)
class EdgeFlow(ContinuousFlow):
    """The center on the symmetrised loss, the fluctuation u = m q with |q| = 1 along a tracked top eigenvector:

        ẇ = −(η/2)(∇E(w + u) + ∇E(w − u))
        q̇ = η (I − q q*) ∇²E(w) q
        d log m/dt = η (S − 2/η),    S = ⟨q, ∇²E(w) q⟩

    in iterations. Two gradients and one Hessian-vector product per evaluation. The state holds log m, so m can decay arbitrarily
    far without underflow. The flow starts from u_0 = (η/2)∇E(x_0), w_0 = x_0 − u_0, of which only the part along the top
    eigenvector is kept in q, m.

    Parameters
    ----------
    learning_rate : float
        η > 0.

    Raises
    ------
    ValueError
        For a learning rate that is not a finite number above zero.

    Notes
    -----
    The structure and the cost are as published, the constants are this package's derivation. The state holds w, q and log m in
    every entry of a third array.

    References
    ----------
    arXiv:2606.18080.

    Examples
    --------
    On E = 2x² the fluctuation is u_0 e^((ηE'' − 2)t), u_0 = (η/2)E'(1) = 0.8, here 0.8 e^(−2) at the end.

    >>> parabola = meanfield.landscapes.Landscape(lambda x: 2 * x[0] ** 2)
    >>> solution = solvers.solve(solvers.EdgeFlow(0.4), parabola, [1.0], steps=5)
    >>> round(float(np.sqrt(solution.fluctuation_trace[-1])), 6), round(float(0.8 * np.exp(-2)), 6)
    (0.108268, 0.108268)
    """

    learning_rate: float
    needs: ClassVar[tuple[str, ...]] = ("value", "gradient", "hvp")
    particlewise: ClassVar[bool] = True
    can_change_rate: ClassVar[bool] = True
    stiff: ClassVar[slice] = slice(2)
    default_integrator: ClassVar[Integrator] = Chebyshev(rtol=1.5e-3)
    few_integrator: ClassVar[Integrator | None] = ROCK4(rtol=1e-5)
    colour: ClassVar[str] = "pink"
    dashes: ClassVar[str] = "--"

    @classmethod
    def state_arrays(cls, options: Mapping[str, Any]) -> int:
        return 3

    def start(self, objective: Any, x0: Array) -> Array:
        """(w, q, log m), shape (3, *x)."""
        u = x0.dtype.type(0.5 * self.learning_rate) * objective.gradient(x0)
        q = top_eigenpairs(objective, x0, tol=1e-10).vectors[0]
        along = inner(objective, q, u)
        # A zero fluctuation has no finite logarithm; the exponential of this value is zero again.
        log_m = math.log(abs(along)) if along != 0.0 else float(np.finfo(x0.dtype).min)
        return np.stack([x0 - u, math.copysign(1.0, along) * q, np.full_like(x0, log_m)])

    def rates(self, objective: Any, time: float, state: Array) -> tuple[Array, float]:
        eta = self.learning_rate
        w, q, u = state[0], state[1], self._fluctuation(state)
        image = objective.hvp(w, q)
        mean, difference = endpoint_gradients(objective, w, u, self._magnitude(state) * image)
        sharpness = inner(objective, q, image) / inner(objective, q, q)
        growth = eta * sharpness - 2.0
        velocity = np.empty_like(state)
        velocity[0] = state.dtype.type(-eta) * mean
        velocity[1] = state.dtype.type(eta) * (image - state.dtype.type(sharpness) * q)
        velocity[2] = growth
        # dF/dt of the endpoint free energy along this path
        d_u = difference - state.dtype.type(2 / eta) * u
        u_dot = self._magnitude(state) * velocity[1] + state.dtype.type(growth) * u
        change = inner(objective, mean, velocity[0]) + inner(objective, d_u, u_dot)
        return velocity, change

    def units(self, objective: Any, state: Array) -> list[float]:
        """|w|, |q| and, for log m, one."""
        return [norm(objective, part) for part in (state[0], state[1], np.ones_like(state[2]))]

    def horizon(self, objective: Any, state: Array) -> float:
        """Without bound: only u = m q acts on the center, so that |q| need not be one."""
        return math.inf

    def constrain(self, objective: Any, state: Array) -> Array:
        state[1] /= state.dtype.type(norm(objective, state[1]))
        return state

    def center(self, step: int, state: Array) -> Array:
        return state[0]

    def fluctuation(self, step: int, state: Array) -> Array:
        return self._fluctuation(state)

    def mirrored(self, state: Array) -> Array:
        return np.stack([state[0], -state[1], state[2]])

    def carried(self, objective: Any, step: int, state: Array, ratio: float) -> Array:
        """From the same iterate, w + (−1)^k u, with a magnitude in proportion to η."""
        change = state.dtype.type((1.0 - ratio) * (-1.0) ** step)
        moved = state[0] + change * self._fluctuation(state)
        return np.stack([moved, state[1], state[2] + state.dtype.type(math.log(ratio))])

    def predicted_loss(self, objective: Any, step: int, state: Array) -> float:
        return FreeEnergy(objective, self.learning_rate).mean_loss(
            state[0], state[1:2] * self._magnitude(state)
        )

    def _magnitude(self, state: Array) -> Any:
        return np.exp(state[2].flat[0])

    def _fluctuation(self, state: Array) -> Array:
        u: Array = self._magnitude(state) * state[1]
        return u
