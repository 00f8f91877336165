"""The flow along a manifold of minimisers that decreases the sharpness."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from solvers.flow import ContinuousFlow, WithoutFluctuation
from solvers.integrators import Adaptive, Euler, Integrator, SchemeError
from solvers.objective import Array, inner, norm, third
from solvers.spectrum.eigenpairs import Eigenpairs, top_eigenpairs

_NO_MINIMISER = "x0 must be a point from which gradient flow reaches a minimiser, got one from which it does not"
# Directions with curvatures below this fraction of the sharpness count as tangent to the manifold.
_FLAT = 1e-4


@dataclass(frozen=True)
class SharpnessFlow(WithoutFluctuation, ContinuousFlow):
    """The limit, as η → 0 in time η²k, of two maps that oscillate across a manifold of minimisers of E:

        law="normalized":   Ẋ = −¼ P ∇log S(X)    of `NormalizedGradientDescent`
        law="sqrt_loss":    Ẋ = −⅛ P ∇S(X)        of `SqrtLossGradientDescent`

    with S the sharpness and P the projection onto the manifold's tangent space, the kernel of the Hessian. Here t counts
    iterations: the velocity is η²Ẋ. Its free energy is ¼ log S or ⅛ S, with dF/dt = −|ẋ|²/η². It has no
    fluctuation.

    Gradient flow takes a start off the manifold to it, as the maps do in their first phase; after every step Newton's
    method projects back. ∇S = ∇³E[v, v] for the top eigenvector v.

    Parameters
    ----------
    learning_rate : float
        Learning rate η > 0 of the map.
    law : {"normalized", "sqrt_loss"}
        The map whose limit it is: normalised gradient descent, or gradient descent on √(E − min E).

    Raises
    ------
    ValueError
        For a parameter out of range, or a start from which gradient flow does not reach a minimiser.

    Notes
    -----
    The default integrator is Euler with dt = 1, whose error is of order η², below that of the maps, of order η. The flow is
    slow: an integer dt > 1, for which ``solve`` uses `RK4`, covers many iterations at once.

    References
    ----------
    Arora, Li, Panigrahi, arXiv:2205.09745.

    Examples
    --------
    On E = (1 + x²)y² the limit of root-loss descent is ẋ = −x/2 in time η²t: x = 1.5 e^(−1/2) after a hundred iterations of
    η = 0.1.

    >>> trough = meanfield.landscapes.VaryingTrough()
    >>> solution = solvers.solve(solvers.SharpnessFlow(0.1, law="sqrt_loss"), trough, [1.5, 0.0], steps=100)
    >>> round(float(solution.centers[-1, 0]), 2), round(float(1.5 * np.exp(-0.5)), 2)
    (0.91, 0.91)
    """

    learning_rate: float
    law: Literal["normalized", "sqrt_loss"] = "normalized"
    needs: ClassVar[tuple[str, ...]] = ("value", "gradient", "hvp")

    default_integrator: ClassVar[Integrator] = Euler()
    colour: ClassVar[str] = "sky"

    def start(self, objective: Any, x0: Array) -> Array:
        """The minimiser that gradient flow reaches from x0, shape (*x)."""
        return _on_manifold(objective, _gradient_flow_limit(objective, x0), rounds=20)

    def rates(self, objective: Any, time: float, state: Array) -> tuple[Array, float]:
        top = _top(objective, state)
        slope = third(objective, state, top.vectors[0])
        scale = self.learning_rate**2 * (
            0.25 / top.values[0] if self.law == "normalized" else 0.125
        )
        velocity = state.dtype.type(-scale) * (
            slope - _across(objective, state, slope, top.values[0])
        )
        return velocity, -inner(objective, velocity, velocity) / self.learning_rate**2

    def constrain(self, objective: Any, state: Array) -> Array:
        return _on_manifold(objective, state, rounds=1)

    def free_energy(self, objective: Any, step: int, state: Array) -> float:
        """¼ log S or ⅛ S."""
        sharpness = float(_top(objective, state).values[0])
        return 0.25 * math.log(sharpness) if self.law == "normalized" else 0.125 * sharpness


def _top(objective: Any, x: Array) -> Eigenpairs:
    pairs = top_eigenpairs(objective, x, tol=1e-9)
    if not pairs.converged or not pairs.values[0] > 0.0:
        raise SchemeError("the Hessian has no positive eigenvalue")
    return pairs


def _across(objective: Any, x: Array, z: Array, sharpness: float) -> Array:
    """The part of z across the manifold, in the range of the Hessian H: H y for the y that minimises |Hy − z|² + δ²|y|².

    The damping δ suppresses curvatures below it by (λ/δ)², and keeps those above to within (δ/λ)².
    """
    image: Array = objective.hvp(x, _solved(objective, x, z, sharpness))
    return image


def _solved(objective: Any, x: Array, z: Array, sharpness: float) -> Array:
    from scipy.sparse.linalg import LinearOperator, lsmr

    def product(v: Array) -> Array:
        image: Array = objective.hvp(x, v.reshape(x.shape).astype(x.dtype)).ravel()
        return image

    hessian = LinearOperator((x.size, x.size), matvec=product, rmatvec=product, dtype=x.dtype)
    tolerance = 10.0 * np.finfo(x.dtype).eps
    solution = lsmr(
        hessian, z.ravel(), damp=_FLAT * sharpness, atol=tolerance, btol=tolerance, conlim=0.0
    )[0]
    result: Array = solution.reshape(x.shape).astype(x.dtype)
    return result


def _on_manifold(objective: Any, x: Array, rounds: int) -> Array:
    """Newton's method for ∇E = 0, across the manifold only; it stops early where it no longer helps."""
    gradient = objective.gradient(x)
    for _ in range(rounds):
        if not np.any(gradient):
            break
        candidate = x - _solved(objective, x, gradient, float(_top(objective, x).values[0]))
        following = objective.gradient(candidate)
        if not norm(objective, following) < norm(objective, gradient):
            break
        x, gradient = candidate, following
    return x


def _gradient_flow_limit(objective: Any, x: Array) -> Array:
    """The limit of ẋ = −∇E(x), accurate enough for Newton's method."""
    shape, initial = x.shape, norm(objective, objective.gradient(x))
    if initial == 0.0:
        return x

    def velocity(t: float, y: Array) -> Array:
        downhill: Array = -objective.gradient(y.reshape(shape)).ravel()
        return downhill

    scheme = Adaptive(rtol=1e-8, atol=1e-10, max_steps=10_000)
    try:
        time = 1.0 / float(_top(objective, x).values[0])
        for _ in range(60):
            x = scheme.advance(velocity, 0.0, x.ravel(), time).reshape(shape)
            if norm(objective, objective.gradient(x)) <= 1e-6 * initial:
                return x
            time *= 2.0
    except ArithmeticError as error:
        raise ValueError(f"{_NO_MINIMISER}: {error}") from None
    raise ValueError(_NO_MINIMISER)
