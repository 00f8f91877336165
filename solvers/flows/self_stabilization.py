"""Self-stabilisation: the cubic model of gradient descent near the edge of stability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from solvers._support.annotations import Ge
from solvers._support.arguments import finite_array, wrong_shape
from solvers._support.options import Option
from solvers.flow import ContinuousFlow, check_learning_rate
from solvers.integrators import ROCK4, Integrator
from solvers.objective import Array, checked_gradient, inner, with_own_results
from solvers.spectrum.eigenpairs import top_eigenpairs
from solvers.spectrum.modes import third_derivatives


@dataclass(frozen=True, eq=False)
class SelfStabilization(ContinuousFlow):
    """The reduced model of k oscillating modes, with third derivatives frozen at a point x̄:

        ȧ = η U a,    U̇ = −η (Ψ[∇h] + ½ Ψ Ψ*[a aᵀ]),    U = V*∇²E V − (2/η) I,    Ψ[z] = ∇³E(x̄)[V, V]·z,

    in iterations, for the amplitudes a (k) along the top eigenvectors V of ∇²E(x̄). ∇h is the part of ∇E(x̄) across V, and Ψ
    acts on that subspace. Here the center moves too, ẇ = −η (∇h + ½ Ψ*[a aᵀ]) and U = U(x̄) + Ψ[w − x̄], so the
    model is descent in w and ascent in u = V a on the free energy

        F(w, u) = E(x̄) + ⟨∇h, w − x̄⟩ + ½ ⟨a, U a⟩.

    With one mode, α = −Ψ[∇h] and β = ΨΨ*, the flow conserves ½U² + ¼βa² − ½α log a²; in units where α = β = 1, ½y² + ¼a² − ½
    log a². Create it with `from_objective`; a run may start at x̄ or near it, with the oscillation u_0 = V V*(η/2)∇E(x_0).

    Parameters
    ----------
    modes : int
        k ≥ 1 of `from_objective`, below the number of coordinates.

    References
    ----------
    Damian, Nichani, Lee, arXiv:2209.15594.

    Examples
    --------
    On the floor of the valley, at (0, 6), the sharpness is 6, that is 2/3 below 2/η.

    >>> model = solvers.SelfStabilization.from_objective(meanfield.landscapes.Valley(), [0.0, 6.0], 0.3)
    >>> model.excess.round(6)
    array([[-0.666667]])
    """

    learning_rate: float
    point: Array = field(repr=False)  #: x̄
    loss: float = field(repr=False)  #: E(x̄)
    drift: Array = field(repr=False)  #: ∇h (*x)
    vectors: Array = field(repr=False)  #: V (k, *x)
    excess: NDArray[np.float64] = field(repr=False)  #: U(x̄) (k, k)
    turns: Array = field(repr=False)  #: Ψ, the part of ∇³E(x̄)[v_i, v_j] across V, (k, k, *x)

    growing: ClassVar[slice] = slice(1, None)
    default_integrator: ClassVar[Integrator] = ROCK4(rtol=1e-5)
    colour: ClassVar[str] = "sky"
    dashes: ClassVar[str] = "--"

    @classmethod
    def options(cls) -> dict[str, Option]:
        """Those of `from_objective`."""
        return {"modes": Option(Annotated[int, Ge(1)], 1)}

    @classmethod
    def build(
        cls, objective: Any, x0: Array, learning_rate: float, **options: Any
    ) -> SelfStabilization:
        """The model about the start."""
        return cls.from_objective(objective, x0, learning_rate, **options)

    @classmethod
    def state_arrays(cls, options: Mapping[str, Any]) -> int:
        """Those of the model, which are as large, among them."""
        modes = int(options["modes"])
        return 2 + modes + modes**2

    @classmethod
    def from_objective(
        cls, objective: Any, x: Array, learning_rate: float, modes: int = 1
    ) -> SelfStabilization:
        """The model of gradient descent on an objective near x, with `modes` top eigenvectors.

        Raises
        ------
        ValueError
            For modes outside 1 … x.size − 1, an objective without hvp, or eigenpairs that do not converge.
        """
        x = finite_array("x", x).copy()
        learning_rate = check_learning_rate(learning_rate)
        modes = cls.options()["modes"].check("modes", modes)
        if modes >= x.size:
            raise ValueError(f"modes must be below x.size = {x.size}, got {modes}")
        gradient = checked_gradient(objective, x, ("value", "gradient", "hvp"), cls.__name__)
        objective = with_own_results(objective)
        pairs = top_eigenpairs(objective, x, modes)
        if not pairs.converged:
            raise ValueError(
                "x must be a point where the top eigenpairs of the Hessian converge, got one where they do not"
            )
        v = pairs.vectors
        turns = np.array(
            [[_across(objective, v, t) for t in row] for row in third_derivatives(objective, x, v)]
        )
        return cls(
            learning_rate=learning_rate,
            point=x,
            loss=float(objective.value(x)),
            drift=_across(objective, v, gradient),
            vectors=v,
            excess=np.diag(pairs.values - 2.0 / learning_rate),
            turns=turns,
        )

    def start(self, objective: Any, x0: Array) -> Array:
        """(w, u), shape (2, *x)."""
        if x0.shape != self.point.shape:
            raise wrong_shape("x0", self.point.shape, x0.shape)
        u = x0.dtype.type(0.5 * self.learning_rate) * objective.gradient(x0)
        u = u - _across(objective, self.vectors, u)
        return np.stack([x0 - u, u])

    def rates(self, objective: Any, time: float, state: Array) -> tuple[Array, float]:
        eta = self.learning_rate
        a, excess = self.amplitudes(objective, state[1]), self.excess_curvature(objective, state[0])
        d_center = self.drift + 0.5 * np.tensordot(np.outer(a, a), self.turns, axes=2)
        d_amplitudes = excess @ a
        d_u = np.tensordot(d_amplitudes, self.vectors, axes=1)
        velocity = (eta * np.stack([-d_center, d_u])).astype(state.dtype)
        ascent = float(d_amplitudes @ d_amplitudes)
        return velocity, eta * (ascent - inner(objective, d_center, d_center))

    def amplitudes(self, objective: Any, fluctuation: Array) -> NDArray[np.float64]:
        """a (k) of u (*x)."""
        return np.array([inner(objective, v, fluctuation) for v in self.vectors])

    def excess_curvature(self, objective: Any, center: Array) -> NDArray[np.float64]:
        """U (k, k) at w (*x)."""
        offset = center - self.point
        moved = [[inner(objective, turn, offset) for turn in row] for row in self.turns]
        return self.excess + np.array(moved)

    def center(self, step: int, state: Array) -> Array:
        return state[0]

    def fluctuation(self, step: int, state: Array) -> Array:
        return state[1]

    def mirrored(self, state: Array) -> Array:
        return np.concatenate([state[:1], -state[1:]])

    def predicted_loss(self, objective: Any, step: int, state: Array) -> float:
        """F + tr Σ/η of the model."""
        a = self.amplitudes(objective, state[1])
        curvature = self.excess_curvature(objective, state[0]) + 2.0 / self.learning_rate * np.eye(
            len(a)
        )
        descent = inner(objective, self.drift, state[0] - self.point)
        return self.loss + descent + 0.5 * float(a @ curvature @ a)


def _across(objective: Any, vectors: Array, z: Array) -> Array:
    """z without its part along orthonormal vectors."""
    for v in vectors:
        z = z - z.dtype.type(inner(objective, v, z)) * v
    return z
