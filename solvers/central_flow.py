"""The central flow: the sharpness held at 2/η by the smallest covariance that does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from solvers._arguments import count, settle
from solvers.complementarity import Complementarity, solve_complementarity
from solvers.flow import SteppedFlow, check_learning_rate
from solvers.integrators import SchemeError
from solvers.objective import Array, inner, third
from solvers.spectrum import top_eigenpairs

# Of the eigenpairs: eigenvalues are then good to its square, over the relative gap.
_TOLERANCE = 1e-3
# Modes within this fraction below 2/η take part in the complementarity problem: a step may carry them there.
_MARGIN = 0.05


@dataclass(frozen=True)
class _Critical:
    """The critical modes at a point: v (k, *x), and the complementarity problem of their covariance."""

    vectors: Array
    watched: Array  #: Σ v over these modes and the next, (*x)
    drift: Array  #: ∇E (*x)
    turns: Array  #: ∇³E[v_i, v_j], (k, k, *x)
    solution: Complementarity


@dataclass(frozen=True)
class CentralFlow(SteppedFlow):
    """The averaged trajectory w with the covariance Σ that keeps it at the edge of stability:

        ẇ = −η [∇E(w) + ½ ∇_w⟨∇²E(w), Σ⟩],    Σ ⪰ 0,    ∇²E ⪯ (2/η) I,    ⟨Σ, (2/η) I − ∇²E⟩ = 0,

    in iterations, from w_0 = x_0 − (η/2)∇E(x_0), the first center of gradient descent. With one critical mode at S = 2/η this is
    σ² = max(0, −2⟨∇S, ∇E⟩/|∇S|²). The predicted loss is E + tr Σ/η.

    At every step Σ = V X V* in the span V of the eigenvectors whose eigenvalue is above (1 − 5%)·2/η, where X solves the
    semidefinite complementarity problem

        X ⪰ 0,    Y = ((2/η) I − V*HV)/(η dt) + ∇³E[V, V]·∇E + ½ 𝒦X ⪰ 0,    ⟨X, Y⟩ = 0,

    (𝒦X)_ij = Σ_kl ⟨∇³E[v_i, v_j], ∇³E[v_k, v_l]⟩ X_kl: Y is, over η dt, how far below 2/η the Hessian will be after the step,
    so modes enter and leave by themselves and what a step overshoots the next one takes back. It is of order one in dt. With k
    modes a step costs the eigenpairs (warm-started), a gradient, and k(k + 1)/2 third derivatives.

    Parameters
    ----------
    learning_rate : float
        η > 0.
    max_modes : int
        Most modes that may take part; where more are needed, the run stops with status "failed" and says so.

    Raises
    ------
    ValueError
        For a value outside what is listed.

    Notes
    -----
    The fluctuations are u_r = √x_r V q_r, (max_modes, *x), from the eigenpairs of X, zero where there are none. Third
    derivatives are the objective's ``third``, or differences of its gradients. The state's last array is the sum of the
    eigenvectors that were followed, critical or next to it, from which the next eigenproblem starts; its squared norm is
    their number.

    References
    ----------
    Cohen et al., arXiv:2410.24206.
    """

    learning_rate: float
    max_modes: int = 8
    needs: ClassVar[tuple[str, ...]] = ("value", "gradient", "hvp")
    diagnostic_names: ClassVar[tuple[str, ...]] = ("modes", "complementarity_residual")
    order: ClassVar[int] = 1
    default_dt: ClassVar[float] = 0.25

    def __post_init__(self) -> None:
        settle(
            self,
            learning_rate=check_learning_rate(self.learning_rate),
            max_modes=count("max_modes", self.max_modes),
        )

    def start(self, objective: Any, x0: Array) -> Array:
        """(w, u_1, …, u_max_modes, sum of the eigenvectors known), shape (2 + max_modes, *x)."""
        state = np.zeros((2 + self.max_modes, *x0.shape), x0.dtype)
        state[0] = x0 - x0.dtype.type(0.5 * self.learning_rate) * objective.gradient(x0)
        return state

    def advance(self, objective: Any, state: Array, dt: float) -> Array:
        critical = self._critical(objective, state, dt)
        x, turns = critical.solution.x, critical.turns
        following = np.zeros_like(state)
        push = 0.5 * np.tensordot(x, turns, axes=2) if len(x) else 0.0
        scale = state.dtype.type(self.learning_rate * dt)
        following[0] = state[0] - scale * (critical.drift + push).astype(state.dtype)
        values, q = np.linalg.eigh(x)
        for r, (value, column) in enumerate(zip(values[::-1], q.T[::-1], strict=True)):
            along = np.tensordot(column, critical.vectors, axes=1)
            following[1 + r] = np.sqrt(max(value, 0.0)) * along
        following[-1] = critical.watched
        return following

    def center(self, step: int, state: Array) -> Array:
        return state[0]

    def fluctuation(self, step: int, state: Array) -> Array:
        return state[1:-1]

    def predicted_loss(self, objective: Any, step: int, state: Array) -> float:
        trace = self.fluctuation_trace(objective, step, state)
        return float(objective.value(state[0])) + trace / self.learning_rate

    def diagnostics(self, objective: Any, step: int, state: Array) -> dict[str, float]:
        """The rank of Σ, and the residual of the complementarity problem at the next step (see `Complementarity`)."""
        solution = self._critical(objective, state, self.default_dt).solution
        values = np.linalg.eigvalsh(solution.x)
        modes = np.count_nonzero(values > 1e-8 * np.max(values, initial=0.0))
        return {"modes": float(modes), "complementarity_residual": solution.residual}

    def _critical(self, objective: Any, state: Array, dt: float) -> _Critical:
        w = state[0]
        values, vectors, watched = self._critical_modes(objective, w, state[-1])
        drift = objective.gradient(w)
        k = len(values)
        turns = turns_of(objective, w, vectors)
        products = np.array([inner(objective, drift, turn) for row in turns for turn in row])
        flat = turns.reshape(k * k, *w.shape)
        operator = np.array([inner(objective, s, t) for s in flat for t in flat])
        slack = np.diag(2.0 / self.learning_rate - values) / (self.learning_rate * dt)
        try:
            solution = solve_complementarity(
                slack + products.reshape(k, k), 0.5 * operator.reshape(k, k, k, k)
            )
        except (ArithmeticError, ValueError) as error:  # none, or of numbers that are not finite
            raise SchemeError(str(error)) from None
        return _Critical(vectors, watched, drift, turns, solution)

    def _critical_modes(
        self, objective: Any, w: Array, start: Array
    ) -> tuple[NDArray[np.float64], Array, Array]:
        """Eigenvalues above the margin, their eigenvectors, and the sum of these and the next one."""
        threshold = (1.0 - _MARGIN) * 2.0 / self.learning_rate
        known = round(inner(objective, start, start))
        k = max(known, 1)
        while True:
            pairs = top_eigenpairs(objective, w, k, _TOLERANCE, start if known else None)
            if not pairs.converged:
                raise SchemeError("the top eigenpairs of the Hessian were not found")
            critical = int(np.count_nonzero(pairs.values > threshold))
            if critical < k or k == w.size:
                break
            k = min(k + 1, w.size)
        if critical > self.max_modes:
            raise SchemeError(
                f"{critical} modes are critical, max_modes = {self.max_modes} allows no more"
            )
        watched = pairs.vectors[: critical + 1].sum(axis=0)
        return pairs.values[:critical], pairs.vectors[:critical], watched


def turns_of(objective: Any, w: Array, vectors: Array) -> Array:
    """∇³E(w)[v_i, v_j], (k, k, *x), from ∇³E[v, v] by polarisation."""
    k = len(vectors)
    turns = np.empty((k, k, *w.shape), w.dtype)
    for i in range(k):
        turns[i, i] = third(objective, w, vectors[i])
    for i in range(k):
        for j in range(i):
            both = third(objective, w, vectors[i] + vectors[j])
            turns[i, j] = turns[j, i] = 0.5 * (both - turns[i, i] - turns[j, j])
    return turns
