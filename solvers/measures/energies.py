"""Energies of measures that define Wasserstein gradient flows, and can be added:

    ∂_t μ = ∇·(μ ∇E'[μ]),    E = ∫ V dμ + ½ ∬ W(x − y) dμ dμ + T ∫ ρ log ρ + c/(m − 1) ∫ ρ^m + any functional
          = ∇·(μ ∇V) + ∇·(μ ∇W*μ) + T Δρ + c Δρ^m + …

and constraints, energies that are 0 or +∞: on the density (`Congestion`) and on the set that carries the measure (`Domain`).

`GridJKO` takes all of them, `QuantileJKO` all but `Congestion`, `Domain` and `Functional`. `Potential`, `Interaction` and their
sums are also objectives on particles: ``value(x, weights)``, ``gradient(x, weights, at)`` and ``hvp(x, v, weights)`` with
x (N, D) and weights (N,), the Wasserstein gradient ∇E'[μ] not multiplied by the weight. Particles have no density, so the other
energies raise.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from solvers._support.arguments import function as checked_function
from solvers._support.arguments import instance, real, refusal
from solvers.measures.pairs import pairs_in_blocks, points_and_weights, points_like
from solvers.measures.quantile_functions import Float64
from solvers.measures.scalar_field import ScalarField

__all__ = [
    "Congestion",
    "Domain",
    "Energy",
    "Entropy",
    "Functional",
    "Interaction",
    "Potential",
    "PowerEntropy",
    "Sum",
]


class Energy:
    """A functional of measures. ``a + b`` is the sum.

    Examples
    --------
    >>> energy = solvers.energies.Potential(lambda x: x[:, 0] ** 2) + solvers.energies.Entropy(0.1)
    >>> len(energy.terms)
    2
    """

    @property
    def terms(self) -> tuple[Energy, ...]:
        """The terms of the sum."""
        return (self,)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self._shown().items())
        return f"{type(self).__name__}({shown})"

    def _shown(self) -> dict[str, object]:
        """The parameters shown in a repr."""
        return vars(self)

    def __add__(self, other: object) -> Energy:
        if not isinstance(other, Energy):
            return NotImplemented
        return Sum(*self.terms, *other.terms)

    def value(self, x: ArrayLike, weights: ArrayLike | None = None) -> float:
        """E[Σ_i p_i δ_{x_i}]."""
        raise self._refusal()

    def gradient(
        self, x: ArrayLike, weights: ArrayLike | None = None, at: ArrayLike | None = None
    ) -> Float64:
        """∇E'[μ] at points (M, D), by default at the particles."""
        raise self._refusal()

    def hvp(self, x: ArrayLike, v: ArrayLike, weights: ArrayLike | None = None) -> Float64:
        """The derivative of gradient(x) when every particle moves along v (N, D)."""
        raise self._refusal()

    #: What takes the energy instead.
    _elsewhere = "take a Grid"

    def _refusal(self) -> ValueError:
        return ValueError(
            f"energy must be defined on particles, got {type(self).__name__}; {self._elsewhere}"
        )


class Sum(Energy):
    """Σ_k E_k.

    Examples
    --------
    >>> square = solvers.energies.Potential(lambda x: x[:, 0] ** 2)
    >>> (square + square).value([[1.0], [3.0]])
    10.0
    """

    def __init__(self, *terms: Energy) -> None:
        if not terms:
            raise ValueError("terms must be one energy or more, got none")
        self._terms = tuple(
            instance("terms", term, Energy, "for instance Potential(function)") for term in terms
        )

    @property
    def terms(self) -> tuple[Energy, ...]:
        return self._terms

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.terms))

    def value(self, x: ArrayLike, weights: ArrayLike | None = None) -> float:
        return sum(term.value(x, weights) for term in self.terms)

    def gradient(
        self, x: ArrayLike, weights: ArrayLike | None = None, at: ArrayLike | None = None
    ) -> Float64:
        return np.asarray(sum(term.gradient(x, weights, at) for term in self.terms))

    def hvp(self, x: ArrayLike, v: ArrayLike, weights: ArrayLike | None = None) -> Float64:
        return np.asarray(sum(term.hvp(x, v, weights) for term in self.terms))


class _OfFunction(Energy):
    """An energy given by a function on space."""

    def __init__(
        self,
        function: Callable[[Float64], ArrayLike],
        gradient: Callable[[Float64], ArrayLike] | None = None,
        hessian: Callable[[Float64], ArrayLike] | None = None,
    ) -> None:
        self.field = ScalarField(function, gradient, hessian)
        self._given = {"function": function, "gradient": gradient, "hessian": hessian}

    def _shown(self) -> dict[str, object]:
        return {name: given for name, given in self._given.items() if given is not None}


class Potential(_OfFunction):
    """∫ V dμ, of the flow ∂_t μ = ∇·(μ ∇V).

    Parameters
    ----------
    function : (M, D) points -> (M,)
        V.
    gradient, hessian : (M, D) -> (M, D) and (M, D, D), optional
        Derivatives of V; by default central differences. `GridJKO` uses neither.

    Examples
    --------
    The mean of x², and its gradient at the particles:

    >>> square = solvers.energies.Potential(lambda x: x[:, 0] ** 2, gradient=lambda x: 2 * x)
    >>> square.value([[1.0], [3.0]]), square.gradient([[1.0], [3.0]]).ravel()
    (5.0, array([2., 6.]))
    """

    def value(self, x: ArrayLike, weights: ArrayLike | None = None) -> float:
        x, p = points_and_weights(x, weights)
        return float(p @ self.field.values(x))

    def gradient(
        self, x: ArrayLike, weights: ArrayLike | None = None, at: ArrayLike | None = None
    ) -> Float64:
        x, _ = points_and_weights(x, weights)
        return self.field.gradients(x if at is None else points_like("at", at, x))

    def hvp(self, x: ArrayLike, v: ArrayLike, weights: ArrayLike | None = None) -> Float64:
        x, _ = points_and_weights(x, weights)
        return np.einsum(
            "nij,nj->ni", self.field.hessians(x), points_like("v", v, x, all_of_them=True)
        )


class Interaction(_OfFunction):
    """½ ∬ W(x − y) dμ(x) dμ(y), of the flow ∂_t μ = ∇·(μ ∇W*μ).

    Parameters
    ----------
    function : (M, D) differences x − y -> (M,)
        W, which must be even. It may be singular at 0; on a grid, its mean over a cell then replaces W(0).
    gradient, hessian : (M, D) -> (M, D) and (M, D, D), optional
        Derivatives of W; by default central differences. A particle exerts no force on itself, whatever their value at 0.

    Raises
    ------
    ValueError
        On evaluation, if W is found not to be even.

    Examples
    --------
    Two particles at distance 2 attract each other with W = ½r²; half of the pairs are a particle with itself.

    >>> attraction = solvers.energies.Interaction(lambda r: 0.5 * r[:, 0] ** 2, gradient=lambda r: r)
    >>> attraction.value([[0.0], [2.0]]), attraction.gradient([[0.0], [2.0]]).ravel()
    (0.5, array([-1.,  1.]))
    """

    def value(self, x: ArrayLike, weights: ArrayLike | None = None) -> float:
        x, p = points_and_weights(x, weights)
        self.check_even(x[:1] - x[-1:])
        blocks = [
            p[k] @ (self.field.values(pairs).reshape(len(k), -1) @ p)
            for k, pairs in pairs_in_blocks(x, x)
        ]
        return 0.5 * float(sum(blocks))

    def gradient(
        self, x: ArrayLike, weights: ArrayLike | None = None, at: ArrayLike | None = None
    ) -> Float64:
        x, p = points_and_weights(x, weights)
        to = x if at is None else points_like("at", at, x)
        blocks = []
        for k, pairs in pairs_in_blocks(to, x):
            forces = np.where((pairs == 0).all(axis=1)[:, None], 0.0, self.field.gradients(pairs))
            blocks.append(np.einsum("kni,n->ki", forces.reshape(len(k), *x.shape), p))
        return np.concatenate(blocks)

    def hvp(self, x: ArrayLike, v: ArrayLike, weights: ArrayLike | None = None) -> Float64:
        x, p = points_and_weights(x, weights)
        v = points_like("v", v, x, all_of_them=True)
        blocks = []
        for (k, pairs), (_, relative) in zip(
            pairs_in_blocks(x, x), pairs_in_blocks(v, v), strict=True
        ):
            curvature = self.field.hessians(pairs)
            images = np.einsum("kij,kj->ki", curvature, relative)
            images = np.where((relative == 0).all(axis=1)[:, None], 0.0, images)
            blocks.append(np.einsum("kni,n->ki", images.reshape(len(k), *x.shape), p))
        return np.concatenate(blocks)

    def check_even(self, differences: Float64) -> None:
        """Raise a ValueError where W(r) and W(−r) differ beyond rounding."""
        there, back = self.field.values(differences), self.field.values(-differences)
        if not np.allclose(there, back, rtol=1e-9, atol=1e-12, equal_nan=True):
            raise ValueError("function must be even, W(x − y) = W(y − x), got one that is not")


class Entropy(Energy):
    """T ∫ ρ log ρ, of the heat flow ∂_t ρ = T Δρ.

    Parameters
    ----------
    temperature : float
        T > 0.

    Raises
    ------
    ValueError
        For a temperature that is not a finite number above 0.

    Examples
    --------
    The uniform law on [0, 1] spreads:

    >>> step = solvers.QuantileJKO(0.01).step(solvers.energies.Entropy(), solvers.Quantiles([0.0, 1.0]))
    >>> step.energy_before, step.state.covariance() > 1 / 12
    (0.0, array([[ True]]))
    """

    _elsewhere = "give JKO a temperature, or take solvers.evolve, Quantiles or a Grid"

    def __init__(self, temperature: float = 1.0) -> None:
        self.temperature = real("temperature", temperature, above=0)


class PowerEntropy(Energy):
    """c/(m − 1) ∫ ρ^m, of the flow ∂_t ρ = c Δρ^m: the porous medium for m > 1, fast diffusion for m < 1.

    Parameters
    ----------
    exponent : float
        m > 0, other than 1.
    coefficient : float
        c > 0.

    Raises
    ------
    ValueError
        For an exponent or a coefficient that is not a finite number above 0, or the exponent 1, whose limit is `Entropy`.

    Examples
    --------
    Of the uniform density ½ on [0, 2], ∫ ρ² = ½:

    >>> porous = solvers.energies.PowerEntropy(exponent=2.0)
    >>> solvers.QuantileJKO(0.01).step(porous, solvers.Quantiles([0.0, 2.0])).energy_before
    0.5
    """

    _elsewhere = "take Quantiles on the line, or a Grid of up to three dimensions"

    def __init__(self, exponent: float, coefficient: float = 1.0) -> None:
        self.exponent = real("exponent", exponent, above=0)
        self.coefficient = real("coefficient", coefficient, above=0)
        if self.exponent == 1.0:
            raise refusal("exponent", "other than 1", exponent, "Entropy is the limit")


class Congestion(Energy):
    """0 where ρ ≤ bound, +∞ elsewhere: crowds that cannot be denser. Its flow has a pressure p ≥ 0, p = 0 where ρ < bound,

        ∂_t ρ = ∇·(ρ ∇p) + …

    Only `GridJKO` takes it, by its method "exact".

    Parameters
    ----------
    bound : float
        Of the density, above 0.

    Raises
    ------
    ValueError
        For a bound that is not a finite number above 0.

    References
    ----------
    Maury, Roudneff-Chupin & Santambrogio 2010.

    Examples
    --------
    A crowd of density 1 on [0, 1] that is drawn to 0 stays there, as it cannot be denser:

    >>> crowd = solvers.energies.Potential(lambda x: x[:, 0]) + solvers.energies.Congestion(1.0)
    >>> start = solvers.Grid(np.linspace(0, 2, 21), np.r_[np.full(10, 0.1), np.zeros(10)])
    >>> step = solvers.GridJKO(step_size=0.1).step(crowd, start)
    >>> bool(step.state.density.max() < 1 + 1e-6), round(float(step.state.mean()[0]), 6)
    (True, 0.5)
    """

    def __init__(self, bound: float = 1.0) -> None:
        self.bound = real("bound", bound, above=0)


class Domain(Energy):
    """0 for measures on a set, +∞ for others: a domain with holes, whose boundary no mass crosses.

    Only `GridJKO` takes it, by its method "exact": cells whose center is outside stay empty. The distance remains that of the
    surrounding space, across holes, so a wall must be thicker than what mass travels in a step.

    Parameters
    ----------
    inside : (M, D) points -> (M,)
        Whether a point belongs to the set.

    Examples
    --------
    Heat does not pass into x > 1:

    >>> heat = solvers.energies.Entropy() + solvers.energies.Domain(lambda x: x[:, 0] < 1)
    >>> start = solvers.Grid(np.linspace(0, 2, 21), np.r_[np.full(5, 0.2), np.zeros(15)])
    >>> step = solvers.GridJKO(step_size=0.05).step(heat, start)
    >>> float(step.state.masses[10:].sum()), bool(step.state.masses[5:10].sum() > 0.1)
    (0.0, True)
    """

    def __init__(self, inside: Callable[[Float64], ArrayLike]) -> None:
        self.inside = checked_function("inside", inside)


class Functional(Energy):
    """Any functional of measures on a grid, such as the risk of a two-layer network.

    Parameters
    ----------
    value : (points (M, D), masses (M,)) -> float
        E.
    first_variation : (points (M, D), masses (M,)) -> (M,)
        E'[μ] at the points, up to a constant.

    Examples
    --------
    The square of the mean, whose first variation at x is 2x times the mean:

    >>> energy = solvers.energies.Functional(
    ...     lambda x, masses: float(masses @ x[:, 0]) ** 2,
    ...     lambda x, masses: 2 * (masses @ x[:, 0]) * x[:, 0],
    ... )
    >>> edges = np.linspace(-2, 2, 101)
    >>> start = solvers.Grid.from_density(edges, lambda x: np.exp(-8 * (x[:, 0] - 0.5) ** 2))
    >>> step = solvers.GridJKO(step_size=0.5).step(energy, start)
    >>> round(step.energy_before, 6), round(float(step.state.mean()[0]), 2)  # m/(1 + 2τ)
    (0.25, 0.25)
    """

    def __init__(
        self,
        value: Callable[[Float64, Float64], float],
        first_variation: Callable[[Float64, Float64], ArrayLike],
    ) -> None:
        self.of_masses = checked_function("value", value)
        self.first_variation = checked_function("first_variation", first_variation)
