"""An energy on the cells of a grid: its value, the part that depends on one cell at a time, and its proximal map."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import wrightomega, xlogy

from solvers._support.arguments import array, instance, refusal, wrong_shape
from solvers.jko.grid.convolution import Convolution
from solvers.jko.grid.local import LocalEnergy
from solvers.measures.energies import (
    Congestion,
    Domain,
    Energy,
    Entropy,
    Functional,
    Interaction,
    Potential,
    PowerEntropy,
)
from solvers.measures.quantile_functions import Float64
from solvers.measures.representations import Grid

#: Newton iterations for the multiplier of the mass, the last of an error of the square of the tolerance.
_NEWTON_STEPS, _NEWTON_TOLERANCE = 100, 1e-7
#: Arguments of the Wright omega function that differ by less are close, and below the other it is the exponential function.
_NEAR, _EXPONENTIAL = 0.5, -37.0
#: By how much, relatively, a density may exceed a bound, of the residual of a step before.
_BEYOND = 1e-3


class GridEnergy:
    """E[m] of masses m, shaped like those of the grid, of cells of volume |c| centered at x_c:

        E = Σ_c m_c V(x_c) + T Σ_c m_c log(m_c/|c|) + k/(q − 1) Σ_c |c| (m_c/|c|)^q + nonlocal terms

    Raises
    ------
    ValueError
        For a term that is not one of `solvers.energies`, two different powers q, an interaction that is not even or, in more than
        one dimension, on cells of different sizes, and for masses of the grid that violate a constraint.
    """

    def __init__(self, energy: Energy, grid: Grid) -> None:
        instance("energy", energy, Energy, "for instance Potential(function)")
        self.potential = np.zeros(grid.masses.shape)
        self.temperature = 0.0
        self.exponent, self.coefficient = 1.0, 0.0
        self.bound = np.inf
        self.allowed = np.ones(grid.masses.shape, bool)
        self._dimension = grid.dimension
        self._log_volumes = np.log(grid.volumes)
        self._points = grid.points
        self._functionals: list[Functional] = []
        self._interactions: list[Convolution] = []
        for term in energy.terms:
            if isinstance(term, Potential):
                self.potential += _finite(term.field.values(self._points)).reshape(
                    grid.masses.shape
                )
            elif isinstance(term, Entropy):
                self.temperature += term.temperature
            elif isinstance(term, PowerEntropy):
                self._add_power(term)
            elif isinstance(term, Interaction):
                self._interactions.append(Convolution(term, grid))
            elif isinstance(term, Functional):
                self._functionals.append(term)
            elif isinstance(term, Congestion):
                self.bound = min(self.bound, term.bound)
            elif isinstance(term, Domain):
                self.allowed &= self._inside(term)
            else:
                raise refusal("energy", "a sum of energies known to GridJKO", term)
        self._check_constraints(grid)

    @property
    def is_nonlocal(self) -> bool:
        """Whether there are terms beyond a sum over cells."""
        return bool(self._interactions or self._functionals)

    @property
    def is_constrained(self) -> bool:
        """Whether there are constraints."""
        return bool(np.isfinite(self.bound) or not self.allowed.all())

    @property
    def diffuses(self) -> bool:
        """Whether a term of the density itself spreads mass."""
        return self.temperature > 0 or self.coefficient > 0

    @property
    def local(self) -> LocalEnergy:
        """The terms of the density alone."""
        return LocalEnergy(self.temperature, self.exponent, self.coefficient, self.bound)

    def size(self, masses: Float64) -> float:
        """Σ of the sizes of the terms of E, of which a relative amount is rounding."""
        density = masses * np.exp(-self._log_volumes)
        local = self.local.size(density) * np.exp(self._log_volumes)
        total = float(np.sum(local + masses * np.abs(self.potential)))
        for interaction in self._interactions:
            total += 0.5 * float(np.sum(masses * np.abs(interaction(masses))))
        for functional in self._functionals:
            total += abs(self._of(functional, masses))
        return total

    def value(self, masses: Float64) -> float:
        """E; a FloatingPointError where it is not finite."""
        total = float(np.sum(masses * self.potential))
        if self.temperature > 0:
            logs = xlogy(masses, masses) - masses * self._log_volumes
            total += self.temperature * float(np.sum(logs))
        if self.coefficient > 0:
            powers = masses**self.exponent * np.exp((1 - self.exponent) * self._log_volumes)
            total += self.coefficient / (self.exponent - 1) * float(np.sum(powers))
        for interaction in self._interactions:
            total += 0.5 * float(np.sum(masses * interaction(masses)))
        for functional in self._functionals:
            total += self._of(functional, masses)
        if not math.isfinite(total):
            raise FloatingPointError(f"the energy must be finite, got {total}")
        return total

    def _of(self, functional: Functional, masses: Float64) -> float:
        """The value of a functional, which may work in what it is given."""
        value = np.asarray(functional.of_masses(self._points.copy(), masses.flatten()))
        if value.shape != () or value.dtype.kind not in "biuf":
            raise refusal("value", "a function to a number", value[()])
        return float(value)

    def variation(self, masses: Float64) -> Float64:
        """E'[m] up to a constant, shaped like masses; −∞ where m = 0 and T > 0."""
        total = self.potential + self.nonlocal_variation(masses)
        with np.errstate(divide="ignore"):
            log_density = np.log(masses) - self._log_volumes
        if self.temperature > 0:
            total = total + self.temperature * log_density
        if self.coefficient > 0:
            power = self.exponent - 1.0
            with np.errstate(over="ignore"):
                total += self.coefficient * self.exponent / power * np.exp(power * log_density)
        return total

    def nonlocal_variation(self, masses: Float64) -> Float64:
        """W*μ and the functionals' first variations, shaped like masses; a FloatingPointError where these are not finite."""
        total = np.zeros_like(masses)
        for interaction in self._interactions:
            total += interaction(masses)
        for functional in self._functionals:
            variation = array(
                "first_variation", functional.first_variation(self._points.copy(), masses.flatten())
            )
            if variation.shape != (masses.size,):
                raise wrong_shape("first_variation's value", (masses.size,), variation.shape)
            if bad := np.count_nonzero(~np.isfinite(variation)):
                raise FloatingPointError(
                    f"first_variation must be finite, got {bad} non-finite values of {masses.size}"
                )
            total += variation.reshape(masses.shape)
        return total

    def log_prox(
        self, log_s: Float64, scale: float, multiplier: float = 0.0
    ) -> tuple[Float64, float]:
        """log of argmin Σ_c m log(m/s) + σ · (the local part of E without the potential) over masses of sum one; σ = scale.

        In u = log m, with the multiplier λ of the mass, cell by cell

            (1 + σT) u + σ k q/(q − 1) (e^u/|c|)^(q−1) = log s + σT log|c| + λ,

        solved by the Wright omega function, ω + log ω = z, and for λ, from a given one, by Newton's method, on a concave
        function if q > 1. Returns u, and λ of a log s of the same mass.
        """
        strength = 1.0 + scale * self.temperature
        free = (log_s + scale * self.temperature * self._log_volumes) / strength
        free -= log_total(free)
        if self.coefficient == 0:
            return free, 0.0
        power = self.exponent - 1.0
        slope = math.log(scale * self.coefficient * self.exponent / strength)
        base, shift, omega = slope - power * self._log_volumes, np.inf, free
        for _ in range(_NEWTON_STEPS):
            shifted = free + multiplier
            z = base + power * shifted
            omega = wrightomega(z) if abs(power * shift) > _NEAR else _omega_near(z, omega)
            u, response = shifted - omega / power, 1.0 / (1.0 + omega)
            top = float(u.max())
            parts = np.exp(u - top)
            total = float(parts.sum())
            log_mass = top + math.log(total)
            shift = -log_mass * total / float(np.vdot(parts, response))
            multiplier += shift
            if abs(log_mass) <= _NEWTON_TOLERANCE:
                break
        u += shift * response
        result: Float64 = u - log_total(u)
        return result, multiplier

    def _inside(self, domain: Domain) -> NDArray[np.bool_]:
        inside = np.asarray(domain.inside(self._points.copy()))
        if inside.shape != (len(self._points),) or inside.dtype != bool:
            raise refusal(
                "inside", f"a function to {len(self._points)} booleans, one per point", inside
            )
        return inside.reshape(self.allowed.shape)

    def _check_constraints(self, grid: Grid) -> None:
        outside = float(np.sum(grid.masses[~self.allowed]))
        if outside > 0:
            raise ValueError(
                f"grid must have no mass outside the domain, got {outside:.3g} of 1; cells whose center is outside stay empty"
            )
        room = float(np.sum(grid.volumes[self.allowed])) * self.bound
        if room < 1.0:
            raise ValueError(
                f"bound must be above {self.bound / room:.6g}, so that the domain holds a mass of 1, got {self.bound:g}"
            )
        largest = float(np.max(grid.density))
        if largest > self.bound * (1 + _BEYOND):
            raise ValueError(
                f"grid must have densities of at most the bound {self.bound:g} of Congestion, got {largest:.6g}"
            )

    def _add_power(self, term: PowerEntropy) -> None:
        if self.coefficient > 0 and term.exponent != self.exponent:
            raise ValueError(
                "energy must have one power of the density, "
                f"got exponents {self.exponent:g} and {term.exponent:g}"
            )
        critical = 1 - 2 / self._dimension
        if term.exponent <= critical:
            raise ValueError(
                f"exponent must be above 1 − 2/d = {critical:.4g} in {self._dimension} dimensions, got {term.exponent:g}; "
                "faster diffusion does not conserve mass"
            )
        self.exponent = term.exponent
        self.coefficient += term.coefficient


def log_total(logs: Float64) -> float:
    """log Σ exp, without overflow."""
    top = float(logs.max())
    return top + float(np.log(np.sum(np.exp(logs - top))))


def _omega_near(z: Float64, omega: Float64) -> Float64:
    """The solution of ω + log ω = z near a given one, by the iteration of order four of Fritsch, Shafer & Crowley (Comm. ACM 16,
    1973), taken twice.
    """
    small = z < _EXPONENTIAL
    result, z, omega = np.exp(np.minimum(z, 0.0)), z[~small], omega[~small]
    for _ in range(2):
        rest, more = z - omega - np.log(omega), 1.0 + omega
        double = 2.0 * more * (more + rest / 1.5)
        omega = omega * (1.0 + rest / more * (double - rest) / (double - 2.0 * rest))
    result[~small] = omega
    return result


def _finite(values: Float64) -> Float64:
    if not np.all(np.isfinite(values)):
        raise ValueError(
            "function must be finite at the centers of the cells, got non-finite values"
        )
    return values
