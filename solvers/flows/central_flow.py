"""The central flow: the sharpness held at 2/η by the smallest covariance that does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from solvers._support.annotations import Ge
from solvers.flow import SteppedFlow
from solvers.integrators import SchemeError
from solvers.objective import Array, all_finite, inner, norm, third
from solvers.optimizer import of_optimizers
from solvers.spectrum.complementarity import Complementarity, solve_complementarity
from solvers.spectrum.eigenpairs import Eigenpairs, top_eigenpairs
from solvers.spectrum.modes import Modes, principal, pushed, third_derivatives
from solvers.spectrum.relaxation import Relaxation, transported

# Tolerance of the eigenpairs: eigenvalues are then accurate to its square over the relative gap, and Σ to about 1e-4.
_TOLERANCE = 1e-4
# Modes within this fraction below 2/η are tracked: a step may bring them to 2/η.
_MARGIN = 0.05


@of_optimizers(lambda rule, *arguments, **options: rule.central_flow(*arguments, **options))
@dataclass(frozen=True)
class CentralFlow(SteppedFlow):
    """The time-averaged trajectory w with the covariance Σ that keeps it at the edge of stability:

        ẇ = −η [∇E(w) + ½ ∇_w⟨∇²E(w), Σ⟩],    Σ ⪰ 0,    ∇²E ⪯ (2/η) I,    ⟨Σ, (2/η) I − ∇²E⟩ = 0,

    in iterations, from w_0 = x_0 − (η/2)∇E(x_0), the first center of gradient descent. With one critical mode at S = 2/η this is
    σ² = max(0, −2⟨∇S, ∇E⟩/|∇S|²). The predicted loss is E + tr Σ/η.

    At every step Σ = V X V* in the span V of eigenvectors whose eigenvalue is near 2/η, where X solves the semidefinite
    complementarity problem

        X ⪰ 0,    Y = ((2/η) I − V*HV)/(η dt) + ∇³E[V, V]·∇E + ½ 𝒦X ⪰ 0,    ⟨X, Y⟩ = 0,

    (𝒦X)_ij = Σ_kl ⟨∇³E[v_i, v_j], ∇³E[v_k, v_l]⟩ X_kl: Y is, over η dt, how far below 2/η the Hessian would be after an Euler
    step, so modes enter and leave by themselves, and a step corrects the overshoot of the last. The Σ of a state, the first
    included, is the solution at its center with the run's dt.

    The step itself is the exponential midpoint rule, of order two in dt. From w half a step is taken with this Σ. There the
    problem is solved again for the whole step, with ∇E and ∇³E of the midpoint, its eigenvectors in the basis that is the
    parallel transport of V, and 2/η I − V*HV of the step's start: Y is then, to second order, how far below 2/η the Hessian is
    at the end.
    Along the tracked eigenvectors the center relaxes at rates of about ηS = 2, too fast for explicit steps of dt = 1; that part
    of the motion, −ηV(V*HV)V*w, is integrated exactly in both halves.

    All eigenvectors above (1 − 5%)·2/η are tracked, warm-started from those of the last step. V consists of the first, and of
    those others that could reach 2/η within the step: whose eigenvalue is below it by no more than η dt |∇E| |∇³E[v_i, v_i]|,
    with the largest of the norms known. (ẇ/η is ∇E minus a projection of it, so an eigenvalue moves no faster.) Where none could,
    the midpoint takes a gradient only. That none is missing is verified when another is found, and when an untracked one might
    have reached 2/η since: the eigenvalues move by no more than the length of the steps times the largest |∇³E[v_i, v_i]|. With k
    modes in V a step costs k(k + 1) third derivatives, two gradients and the eigenpairs of two points.

    Parameters
    ----------
    learning_rate : float or Optimizer
        η > 0. Of an optimizer its own central flow: see `solvers.flows.momentum_central_flow` for `HeavyBall` and `Nesterov`,
        `solvers.flows.adaptive_central_flow` for `ScalarRMSProp`, `RMSProp` and `Adam`.
    max_modes : int
        Largest number of tracked modes; where more are needed, the run stops with status "failed".

    Raises
    ------
    ValueError
        For a parameter out of range.

    Notes
    -----
    The fluctuations are u_r = √x_r V q_r, (max_modes, *x), from the eigenpairs of X, zero where there are none. Third
    derivatives are the objective's ``third``, or differences of its gradients. A state has 4 + max_modes arrays: w, its mean
    velocity over the next step, an array whose first numbers are √x_r and by how much untracked eigenvalues may still rise, and
    the orthonormal vectors V q_r, the other tracked eigenvectors and the next one below them, from all of which the next
    eigenproblem starts.

    References
    ----------
    Cohen et al., arXiv:2410.24206.

    Examples
    --------
    At its fixed point on the valley E = ½(y + x)x² − ε(x + y) the oscillation holds the sharpness at 2/η with tr Σ ≈ 2ε.

    >>> valley = meanfield.landscapes.Valley(epsilon=0.01)
    >>> solution = solvers.solve(solvers.CentralFlow(0.3), valley, [-0.003, 6.6757], steps=20)
    >>> round(float(solution.fluctuation_trace[-1]), 3)
    0.02
    """

    learning_rate: float
    max_modes: Annotated[int, Ge(1)] = 8
    needs: ClassVar[tuple[str, ...]] = ("value", "gradient", "hvp")
    diagnostic_names: ClassVar[tuple[str, ...]] = ("modes", "complementarity_residual")
    order: ClassVar[int] = 2
    default_dt: ClassVar[float] = 1.0
    is_signed: ClassVar[bool] = False
    can_change_rate: ClassVar[bool] = True
    colour: ClassVar[str] = "brown"
    dashes: ClassVar[str] = "-."

    #: rows of a state after the vectors
    memories: ClassVar[int] = 0

    @classmethod
    def state_arrays(cls, options: Mapping[str, Any]) -> int:
        return 4 + int(options["max_modes"]) + cls.memories

    def start(self, objective: Any, x0: Array) -> Array:
        """The state at w_0, before the first complementarity problem is solved."""
        return self._state(x0 - x0.dtype.type(0.5 * self.learning_rate) * objective.gradient(x0))

    def prepare(
        self, objective: Any, state: Array, dt: float
    ) -> tuple[Array, dict[str, float]] | None:
        self._check(state)
        if self._vectors(state).any():
            return None
        return self._solved(objective, state, dt)

    def advance(self, objective: Any, state: Array, dt: float) -> Array:
        return self.advance_reporting(objective, state, dt)[0]

    def advance_reporting(
        self, objective: Any, state: Array, dt: float
    ) -> tuple[Array, dict[str, float]]:
        """Also the residual of the complementarity problem at the new state, see `Complementarity`."""
        if (prepared := self.prepare(objective, state, dt)) is not None:
            state = prepared[0]
        return self._solved(objective, self._moved(state, dt), dt)

    def center(self, step: int, state: Array) -> Array:
        self._check(state)
        return state[0]

    def fluctuation(self, step: int, state: Array) -> Array:
        amplitudes = self._numbers(state)[:-1]
        vectors = self._vectors(state)[: self.max_modes]
        return amplitudes.reshape(-1, *(1,) * (state.ndim - 1)) * vectors

    def carried(self, objective: Any, step: int, state: Array, ratio: float) -> Array:
        """From the same center, with nothing solved for yet."""
        return self._state(state[0])

    def predicted_loss(self, objective: Any, step: int, state: Array) -> float:
        trace = self.fluctuation_trace(objective, step, state)
        return float(objective.value(state[0])) + 0.5 * self._edge(state) * trace

    def diagnostics(self, objective: Any, step: int, state: Array) -> dict[str, float]:
        """The rank of Σ. The residual of its complementarity problem is known from the step."""
        variances = self._numbers(state)[:-1] ** 2
        modes = np.count_nonzero(variances > 1e-8 * np.max(variances, initial=0.0))
        return {"modes": float(modes)}

    def _rate(self, state: Array) -> float:
        """h, where ẇ = −h [∇E + …]."""
        return self.learning_rate

    def _edge(self, state: Array) -> float:
        """What eigenvalues are held below."""
        return 2.0 / self.learning_rate

    def _motion(
        self, objective: Any, state: Array, gradient: Array, vectors: Array, dt: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """What an edge that moves during a time dt, or at this instant if it is zero, adds to Y at Σ = 0 (k, k), and to ½𝒦
        (k, k, k, k); None: that of gradient descent is at rest.
        """
        return None

    def _fall(self, state: Array, dt: float) -> float:
        """By how much the edge may come down within a step."""
        return 0.0

    def _moved(self, state: Array, dt: float) -> Array:
        """The state with w, and what else is remembered, a time dt later."""
        moved = state.copy()
        moved[0] += state.dtype.type(dt) * state[1]
        return moved

    def _vectors(self, state: Array) -> Array:
        return state[3 : 4 + self.max_modes]

    def _check(self, state: Array) -> None:
        rows = 4 + self.max_modes + self.memories
        if len(state) != rows:
            raise ValueError(
                f"x0 must be a state of {rows} arrays, got one of {len(state)}: another flow's, that of another max_modes, or "
                "one from before version 0.2; start from an iterate"
            )

    def _state(self, w: Array, velocity: Any = 0.0, numbers: Any = (), vectors: Any = ()) -> Array:
        state = np.zeros((4 + self.max_modes + self.memories, *w.shape), w.dtype)
        state[0], state[1] = w, velocity
        state[2].ravel()[: len(numbers)] = numbers[: w.size]
        for row, vector in zip(self._vectors(state), vectors, strict=False):
            row[...] = vector
        return state

    def _numbers(self, state: Array) -> Array:
        """√x_r of max_modes fluctuations, and the margin: how far eigenvalues may rise before one might be missed."""
        known = state[2].ravel()[: self.max_modes + 1]
        return np.pad(known, (0, self.max_modes + 1 - len(known)))

    def _metric(self, objective: Any, state: Array) -> Any:
        """The objective in the coordinates in which velocities are −h times gradients."""
        return objective

    def _plain(self, metric: Any, z: Array) -> Array:
        """z in coordinates of w."""
        return z

    def _scaled(self, metric: Any, z: Array) -> Array:
        """z in those of the metric."""
        return z

    def _remember(
        self, objective: Any, metric: Any, state: Array, amplitudes: Array, vectors: Array
    ) -> None:
        """Enter into a state what its memories follow at the point where `metric` was evaluated last."""

    def _solved(self, objective: Any, moved: Array, dt: float) -> tuple[Array, dict[str, float]]:
        """The state at the w of a state whose other rows are of a nearby one, and the residual of its complementarity problem."""
        w, rate, edge = moved[0], self._rate(moved), self._edge(moved)
        metric = self._metric(objective, moved)
        gradient = metric.gradient(w)
        if not (all_finite(objective, w) and all_finite(objective, gradient)):
            return self._state(w, gradient), {}  # the run ends here
        leeway = float(self._numbers(moved)[-1])
        values, vectors, certain = self._watched(
            metric, w, self._vectors(moved), edge, leeway <= 0.0
        )
        reach = rate * dt * norm(metric, gradient)
        fall = self._fall(moved, dt)
        modes = self._modes(metric, w, values, vectors, edge, reach, fall)
        k = len(modes.turns)
        motion = self._motion(metric, moved, gradient, vectors[:k], 0.0)
        slack = modes.slack[:k] / (rate * dt)
        solution = self._complementarity(metric, gradient, modes.turns, modes.turns, slack, motion)
        amplitudes, turned = principal(solution.x, vectors[:k])
        numbers = np.zeros(self.max_modes + 1)
        numbers[:k] = amplitudes
        state = self._state(w, 0.0, numbers, np.append(turned, vectors[k:], axis=0))
        state[len(state) - self.memories :] = moved[len(state) - self.memories :]
        self._remember(objective, metric, state, amplitudes, turned)
        force = gradient + pushed(solution.x, modes.turns)
        length, fastest, residual = self._ahead(objective, metric, state, force, modes, dt)
        if k:  # otherwise nothing bounds how fast eigenvalues move
            known = _MARGIN * edge if certain else leeway
            numbers[-1] = max(known - length * fastest - fall, 0.0)
            state[2].ravel()[: len(numbers)] = numbers[: w.size]
        return state, {"complementarity_residual": max(solution.residual, residual)}

    def _ahead(
        self, objective: Any, metric: Any, state: Array, force: Array, modes: Modes, dt: float
    ) -> tuple[float, float, float]:
        """Enter the mean velocity of the next step; its length, how fast eigenvalues change with it, the problem's residual.

        The exponential midpoint rule: `force` is −ẇ/h at the start of the step, and the tracked modes relax exactly.
        """
        rate, m = self._rate(state), len(modes.slack)
        relaxation = Relaxation(metric, modes.vectors[:m], rate * modes.values)
        state[1] = self._plain(metric, -rate * relaxation.mean(force, 0.5 * dt))
        half = self._moved(state, 0.5 * dt)
        metric = self._metric(objective, half)
        gradient = metric.gradient(half[0])
        if not all_finite(objective, gradient):
            state[1] = gradient
            return 0.0, 0.0, 0.0
        basis = modes.vectors[: modes.active]
        if modes.active:
            found = self._followed(metric, half[0], modes)
            relaxation = Relaxation(metric, found.vectors, rate * found.values)
            basis = transported(metric, found.vectors, modes.vectors[:m])[: modes.active]
        else:
            relaxation = Relaxation(metric, modes.vectors[:m], rate * modes.values)
        gone = self._scaled(metric, half[0] - state[0])
        turns = third_derivatives(metric, half[0], basis)
        smooth = np.array([[relaxation.mean(turn, dt) for turn in row] for row in turns])
        smooth = smooth.reshape(turns.shape).astype(turns.dtype)
        motion = self._motion(metric, state, gradient, basis, dt)
        gradient = gradient - relaxation.product(gone) / gradient.dtype.type(rate)
        slack = modes.slack[: modes.active] / (rate * dt)
        solution = self._complementarity(metric, gradient, turns, smooth, slack, motion)
        mean = relaxation.mean(gradient, dt) + pushed(solution.x, smooth)
        self._remember(objective, metric, state, *principal(solution.x, basis))
        state[1] = self._plain(metric, -rate * mean)
        fastest = max([modes.fastest, *(norm(metric, turns[i, i]) for i in range(len(turns)))])
        return rate * dt * norm(metric, mean), fastest, solution.residual

    def _followed(self, objective: Any, w: Array, modes: Modes) -> Eigenpairs:
        """The tracked eigenpairs half a step later."""
        threshold = (1.0 - _MARGIN) * (modes.slack[0] + modes.values[0])
        pairs = top_eigenpairs(
            objective, w, len(modes.slack), _TOLERANCE, modes.vectors, threshold, certify=False
        )
        if not pairs.converged:
            raise SchemeError("the top eigenpairs of the Hessian did not converge")
        return pairs

    def _watched(
        self, objective: Any, w: Array, near: Array, edge: float, certify: bool
    ) -> tuple[NDArray[np.float64], Array, bool]:
        """The tracked eigenvalues; their eigenvectors, and one more; whether they are certainly all."""
        threshold = (1.0 - _MARGIN) * edge
        start = near[near.reshape(len(near), -1).any(axis=1)]
        k = max(len(start), 1)
        while True:
            pairs = top_eigenpairs(
                objective, w, k, _TOLERANCE, start, above=threshold, certify=certify
            )
            if not pairs.converged:
                raise SchemeError("the top eigenpairs of the Hessian did not converge")
            watched = int(np.count_nonzero(pairs.values > threshold))
            if watched > self.max_modes:
                raise SchemeError(
                    f"max_modes must be at least {watched}, the number of critical modes, got {self.max_modes}"
                )
            if watched < k or k == w.size:
                return pairs.values[:watched], pairs.vectors[: watched + 1], certify
            k, start, certify = k + 1, pairs.vectors, True

    def _modes(
        self,
        objective: Any,
        w: Array,
        values: NDArray[np.float64],
        vectors: Array,
        edge: float,
        reach: float,
        fall: float,
    ) -> Modes:
        """The tracked modes, with ∇³E[v_i, v_j] of the first and of those others that could reach the edge."""
        slack = edge - values
        squares: list[Array] = []
        fastest = 0.0
        for gap, v in zip(slack, vectors, strict=False):
            if squares and gap > reach * fastest + fall:
                break
            squares.append(third(objective, w, v))
            fastest = max(fastest, norm(objective, squares[-1]))
        turns = third_derivatives(objective, w, vectors[: len(squares)], squares)
        active = len(squares) if len(squares) and slack[0] <= reach * fastest + fall else 0
        return Modes(values, vectors, slack, turns, fastest, active)

    def _complementarity(
        self,
        objective: Any,
        gradient: Array,
        turns: Array,
        smooth: Array,
        slack: NDArray[np.float64],
        motion: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
    ) -> Complementarity:
        """X, given (2/η − λ)/(η dt) of the modes, the push ½ Σ_ij X_ij smooth_ij of the step, and how the edge moves."""
        k = len(turns)
        flat, pushes = (z.reshape(k * k, *gradient.shape) for z in (turns, smooth))
        products = np.array([inner(objective, gradient, push) for push in pushes])
        operator = np.array([inner(objective, turn, push) for turn in flat for push in pushes])
        a = np.diag(slack) + products.reshape(k, k)
        strength = 0.5 * operator.reshape(k, k, k, k)
        if motion is not None:
            a += motion[0]
            strength += motion[1]
        try:
            return solve_complementarity(a, strength)
        except (ArithmeticError, ValueError) as error:  # no solution, or non-finite numbers
            raise SchemeError(str(error)) from None
