"""Mean-field Langevin: noisy gradient descent on particles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from numpy.typing import ArrayLike

from solvers._support.annotations import Ge, Interval
from solvers._support.arguments import finite_array, methods, real
from solvers.flow import DiscreteFlow, Seed, WithoutFluctuation
from solvers.measures.entropy import BlobEntropy, Entropy, SpacingEntropy, reference_bandwidth
from solvers.noise import standard_normal
from solvers.objective import Array


@dataclass(frozen=True)
class Langevin(WithoutFluctuation, DiscreteFlow):
    """Mean-field Langevin: the particles of ∂_t μ = ∇·(μ η ∇E'[μ]) + η T Δμ by the Euler–Maruyama scheme,

        θ ← θ − h ∇E'[μ](θ) + √(2hT) ξ,     h = η / steps_per_iteration,     ξ standard normal, independent for each particle,

    steps_per_iteration times per iteration. The measure descends E + T Ent. Weak order one in h: in the potential ½θ² the
    stationary variance is T / (1 − h/2), not T. At temperature zero and one step per iteration it is gradient descent, bit for
    bit. Particles (N, D) interact through the objective; one of shape (D,) is an ordinary Langevin process.

    The center is the particles, the fluctuation is zero. The noise depends on the seed, the number of the step and the shape
    alone (Philox, a counter-based generator): an interrupted run continues identically, for any number of threads; and
    the first n rows of the noise of a wider system are the noise of the narrower one. (NumPy may change its normal draws with a
    version.)

    Parameters
    ----------
    learning_rate : float
        η > 0.
    temperature : float
        T ≥ 0, in units of the objective.
    seed : int
        At least 0, below 2¹²⁸.
    steps_per_iteration : int
        At least 1.
    entropy : Entropy, optional
        How ``solve`` estimates Ent for the recorded free energies, for instance ``BlobEntropy(bandwidth)`` at a cost of
        N² each. Without it they are NaN, or E where T = 0. For a single value see `mean_field_langevin_free_energy`.

    Raises
    ------
    ValueError
        For a parameter out of range.

    References
    ----------
    Mei, Montanari, Nguyen, arXiv:1804.06561; Hu, Ren, Šiška, Szpruch, arXiv:1905.07769. Philox: Salmon et al., SC 2011.

    Examples
    --------
    At temperature zero it is gradient descent:

    >>> parabola = meanfield.landscapes.Landscape(lambda x: 2 * x[0] ** 2)
    >>> cold = solvers.solve(solvers.Langevin(0.4, temperature=0.0), parabola, [1.0], steps=2)
    >>> cold.centers.ravel().round(12)
    array([ 1.  , -0.6 ,  0.36])
    """

    learning_rate: float
    temperature: Annotated[float, Ge(0)]
    seed: Seed = 0
    steps_per_iteration: Annotated[int, Interval(ge=1, le=2**32)] = 1
    entropy: Entropy | None = None
    is_random: ClassVar[bool] = True
    can_change_rate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.entropy is not None:
            methods("entropy", self.entropy, ["value"], "Langevin")

    def start(self, objective: Any, x0: Array) -> Array:
        return x0

    def step(self, objective: Any, step: int, state: Array) -> Array:
        h = self.learning_rate / self.steps_per_iteration
        amplitude = math.sqrt(2.0 * h * self.temperature)
        as_state = state.dtype.type
        for index in range(step * self.steps_per_iteration, (step + 1) * self.steps_per_iteration):
            state = state - as_state(h) * objective.gradient(state)
            if self.temperature > 0.0:
                state = state + as_state(amplitude) * self.noise(index, state)
        return state

    def noise(self, index: int, like: Array) -> Array:
        """ξ of the index-th step from the start, with the shape and precision of `like`."""
        return standard_normal(self.seed, index, like)

    def free_energy(self, objective: Any, step: int, state: Array) -> float:
        """E + T Ent by the flow's estimator, for particles (N, D); NaN where it has none."""
        if self.temperature > 0.0 and self.entropy is None:
            return math.nan
        return mean_field_langevin_free_energy(objective, state, self.temperature, self.entropy)


def mean_field_langevin_free_energy(
    objective: Any,
    x: ArrayLike,
    temperature: float,
    entropy: Entropy | None = None,
) -> float:
    """The free energy E[μ] + T Ent[μ], Ent = ∫ ρ log ρ, that mean-field Langevin descends.

    Parameters
    ----------
    objective : Objective
        E.
    x : (N, D)
        Particles of equal weight.
    temperature : float
        T ≥ 0.
    entropy : Entropy, optional
        How to estimate Ent. By default for independent draws: ``SpacingEntropy(independent_draws=True)`` on the line, in
        more dimensions ``BlobEntropy(reference_bandwidth(x))``. That bandwidth depends on x: to compare free energies
        closely, use one estimator for all.

    Raises
    ------
    ValueError
        For a temperature that is not finite and at least zero, or particles invalid for the estimator.

    Examples
    --------
    At temperature zero it is the energy, here the mean of x².

    >>> energy = solvers.energies.Potential(lambda x: x[:, 0] ** 2)
    >>> solvers.mean_field_langevin_free_energy(energy, [[1.0], [3.0]], temperature=0.0)
    5.0
    """
    temperature = real("temperature", temperature, least=0)
    x = finite_array("x", x)
    methods("objective", objective, ["value"], "mean_field_langevin_free_energy")
    if entropy is not None:
        methods("entropy", entropy, ["value"], "mean_field_langevin_free_energy")
    value = float(objective.value(x))
    if temperature == 0.0:
        return value
    if entropy is None:
        line = x.ndim == 2 and x.shape[1] == 1
        entropy = SpacingEntropy(True) if line else BlobEntropy(reference_bandwidth(x))
    return value + temperature * entropy.value(x)
