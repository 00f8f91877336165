"""Gradient descent and two variants with bounded steps, read as a center and a fluctuation."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from solvers.flow import DiscreteFlow
from solvers.objective import Array, inner, norm


@dataclass(frozen=True)
class _Descent(DiscreteFlow):
    """x_{k+1} = x_k − η d(x_k), whose state is the pair (x_k, x_{k+1})."""

    learning_rate: float

    particlewise: ClassVar[bool] = True
    can_change_rate: ClassVar[bool] = True

    @abstractmethod
    def _direction(self, objective: Any, x: Array) -> Array:
        """d(x), shaped like x; FloatingPointError where it does not exist."""

    def start(self, objective: Any, x0: Array) -> Array:
        """The pair (x_0, x_1), shape (2, *x)."""
        try:
            return np.stack([x0, self._descend(objective, x0)])
        except FloatingPointError as error:
            raise ValueError(f"x0 must be a point from which a step exists: {error}") from None

    def step(self, objective: Any, step: int, state: Array) -> Array:
        return np.array([state[1], self._descend(objective, state[1])])

    def carried(self, objective: Any, step: int, state: Array, ratio: float) -> Array:
        """From the same iterate another step."""
        return np.stack([state[0], self._descend(objective, state[0])])

    def center(self, step: int, state: Array) -> Array:
        center: Array = state[0] + state[1]
        center *= 0.5
        return center

    def fluctuation(self, step: int, state: Array) -> Array:
        fluctuation: Array = state[0] - state[1]
        fluctuation *= 0.5 if step % 2 == 0 else -0.5
        return fluctuation

    def iterate(self, step: int, state: Array) -> Array:
        return state[0]

    def next_gradients(self, step: int, state: Array) -> Sequence[Array]:
        return (state[1],)

    def fluctuation_trace(self, objective: Any, step: int, state: Array) -> float:
        fluctuation = self.fluctuation(step, state)
        return inner(objective, fluctuation, fluctuation)

    def predicted_loss(self, objective: Any, step: int, state: Array) -> float:
        return 0.5 * float(objective.value(state[0]) + objective.value(state[1]))

    def _descend(self, objective: Any, x: Array) -> Array:
        descended: Array = x - x.dtype.type(self.learning_rate) * self._direction(objective, x)
        return descended


@dataclass(frozen=True)
class GradientDescent(_Descent):
    """Gradient descent x_{k+1} = x_k − η ∇E(x_k).

    Consecutive iterates are read as a center and an alternating fluctuation,

        x_k = w_k + (−1)^k u_k,    x_{k+1} = w_k − (−1)^k u_k,

    that is w_k = (x_k + x_{k+1})/2 and u_k = (−1)^k (η/2) ∇E(x_k): nothing is approximated, and one gradient is spent per
    step. The predicted loss is the mean of E over the two endpoints.

    Parameters
    ----------
    learning_rate : float
        η > 0.

    Raises
    ------
    ValueError
        For a learning rate that is not a finite number above zero.

    References
    ----------
    The decomposition: Regis, Chewi, arXiv:2602.01480; the free energy: Chodron de Courcel, arXiv:2606.05326.

    Examples
    --------
    On E = 2x² with η = 0.4 every step multiplies x by 1 − ηE'' = −0.6.

    >>> parabola = meanfield.landscapes.Landscape(lambda x: 2 * x[0] ** 2)
    >>> solution = solvers.solve(solvers.GradientDescent(0.4), parabola, [1.0], steps=2)
    >>> solution.iterates.ravel().round(12)
    array([ 1.  , -0.6 ,  0.36])
    >>> solution.centers.ravel().round(12)
    array([ 0.2  , -0.12 ,  0.072])
    >>> solution.fluctuations.ravel().round(12)
    array([0.8  , 0.48 , 0.288])
    """

    colour: ClassVar[str] = "black"

    def leap(self, objective: Any, state: Array, steps: int) -> tuple[Array, int]:
        """Many steps in one call, with identical results, where the objective has a `compiled_gradient`."""
        gradient = getattr(objective, "compiled_gradient", None)
        if gradient is None or state.ndim != 2 or state.dtype != np.float64:
            return state, 0
        from solvers._kernels.descent import descent_loop

        after = state.copy()
        return after, descent_loop(gradient)(after[0], after[1], self.learning_rate, steps)

    def _direction(self, objective: Any, x: Array) -> Array:
        gradient: Array = objective.gradient(x)
        return gradient


class _WithoutFreeEnergy(_Descent):
    """A map that is not descent–ascent on a free energy."""

    def free_energy(self, objective: Any, step: int, state: Array) -> float:
        """NaN."""
        return math.nan

    @property
    def edge(self) -> float:
        """NaN: the length of its steps changes with the gradient or the loss."""
        return math.nan


@dataclass(frozen=True)
class NormalizedGradientDescent(_WithoutFreeEnergy):
    """Normalised gradient descent x_{k+1} = x_k − η ∇E(x_k)/|∇E(x_k)|, with the objective's norm.

    It does not converge: near a manifold of minimisers it steps across, and drifts along it so that the logarithm of the
    sharpness decreases, in time η²k by Ẋ = −¼ P∇log S (`SharpnessFlow`). Center and fluctuation are as in `GradientDescent`; it
    has no free energy (NaN).

    Parameters
    ----------
    learning_rate : float
        η > 0, the length of every step.

    Raises
    ------
    ValueError
        For a learning rate that is not a finite number above zero, or a start where the gradient vanishes.

    References
    ----------
    Arora, Li, Panigrahi, arXiv:2205.09745.

    Examples
    --------
    Every step has the length η, the last of these across the minimum at 0.

    >>> parabola = meanfield.landscapes.Landscape(lambda x: 2 * x[0] ** 2)
    >>> solution = solvers.solve(solvers.NormalizedGradientDescent(0.4), parabola, [1.0], steps=3)
    >>> solution.iterates.ravel().round(12)
    array([ 1. ,  0.6,  0.2, -0.2])
    """

    colour: ClassVar[str] = "grey"

    def _direction(self, objective: Any, x: Array) -> Array:
        gradient: Array = objective.gradient(x)
        size = norm(objective, gradient)
        if size == 0.0:
            raise FloatingPointError("the gradient is zero and has no direction")
        return gradient / x.dtype.type(size)


@dataclass(frozen=True)
class SqrtLossGradientDescent(_WithoutFreeEnergy):
    """Gradient descent on √(E − min E): x_{k+1} = x_k − η ∇E(x_k) / (2√(E(x_k) − min E)).

    Near a manifold of minimisers it oscillates across, with an amplitude of order η, and drifts along it by Ẋ = −⅛ P∇S in time
    η²k (`SharpnessFlow`). Center and fluctuation are as in `GradientDescent`; it has no free energy (NaN).

    Parameters
    ----------
    learning_rate : float
        η > 0.
    minimum : float
        min E.

    Raises
    ------
    ValueError
        For a learning rate that is not a finite number above zero, a minimum that is not finite, or a start with E ≤ minimum.

    References
    ----------
    Arora, Li, Panigrahi, arXiv:2205.09745.

    Examples
    --------
    The root of E = x² is |x|, of slope ±1.

    >>> parabola = meanfield.landscapes.Landscape(lambda x: x[0] ** 2)
    >>> solution = solvers.solve(solvers.SqrtLossGradientDescent(0.4), parabola, [1.0], steps=3)
    >>> solution.iterates.ravel().round(12)
    array([ 1. ,  0.6,  0.2, -0.2])
    """

    minimum: float = 0.0

    colour: ClassVar[str] = "grey"
    dashes: ClassVar[str] = "--"

    def _direction(self, objective: Any, x: Array) -> Array:
        excess = float(objective.value(x)) - self.minimum
        if excess <= 0.0:
            raise FloatingPointError(
                f"E − minimum must be above 0, got {excess:.3g} with minimum = {self.minimum!r}"
            )
        gradient: Array = objective.gradient(x)
        return gradient / x.dtype.type(2.0 * math.sqrt(excess))
