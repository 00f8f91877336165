"""The part of an energy that is an integral of a convex function of the density, and its conjugate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import wrightomega, xlogy

from solvers.measures.quantile_functions import Float64

Bool = NDArray[np.bool_]

#: The least density, relative to that before, at which a step aims where U'(0) = −∞.
_LARGEST_DROP = 0.1


@dataclass(frozen=True)
class LocalEnergy:
    """U(ρ) = T ρ log ρ + k/(q − 1) ρ^q + ½ δ (ρ − ρ₀)², for 0 ≤ ρ ≤ bound, else +∞; the last term only without the others."""

    temperature: float = 0.0
    exponent: float = 1.0
    coefficient: float = 0.0
    bound: float = np.inf
    weight: float = 0.0
    center: Float64 | float = 0.0

    @property
    def is_strictly_convex(self) -> bool:
        """Whether U determines the density at any potential."""
        return self.temperature > 0 or self.coefficient > 0 or self.weight > 0

    @property
    def is_singular(self) -> bool:
        """Whether U'(0) = −∞."""
        return self.temperature > 0 or (self.coefficient > 0 and self.exponent < 1)

    def value(self, density: Float64) -> Float64:
        """U; beyond the bound its continuation."""
        total = np.zeros_like(density)
        if self.temperature > 0:
            total += self.temperature * xlogy(density, density)
        if self.coefficient > 0:
            total += self.coefficient / (self.exponent - 1) * density**self.exponent
        if self.weight > 0:
            total += 0.5 * self.weight * (density - self.center) ** 2
        return total

    def slope(self, density: Float64) -> Float64:
        """U', possibly −∞ at 0."""
        total = np.zeros_like(density)
        with np.errstate(divide="ignore", over="ignore"):
            if self.temperature > 0:
                total += self.temperature * (np.log(density) + 1)
            if self.coefficient > 0:
                power = self.exponent - 1
                total += self.coefficient * self.exponent / power * density**power
        if self.weight > 0:
            total += self.weight * (density - self.center)
        return total

    def size(self, density: Float64) -> Float64:
        """|U| + ρ |U'|."""
        occupied = density > 0
        slope = np.abs(self.slope(np.where(occupied, density, 1.0)))
        return np.abs(self.value(density)) + np.where(occupied, density * slope, 0.0)

    def compliance(self, density: Float64) -> Float64:
        """1/U''."""
        stiffness = np.zeros_like(density)
        with np.errstate(divide="ignore", over="ignore"):
            if self.temperature > 0:
                stiffness += self.temperature / density
            if self.coefficient > 0:
                k, q = self.coefficient, self.exponent
                stiffness += k * q * density ** (q - 2)
            stiffness += self.weight
            result: Float64 = 1.0 / stiffness
        return result

    def density(self, push: Float64) -> Float64:
        """(U')⁻¹ between 0 and the bound; +∞ where U' stays below."""
        if self.temperature > 0:
            found = self._with_entropy(push)
        elif self.coefficient > 0:
            found = self._of_power(push)
        else:
            found = np.maximum(self.center + push / self.weight, 0.0)
        return np.minimum(found, self.bound)

    def _with_entropy(self, push: Float64) -> Float64:
        """With u = log ρ: u + (k q/(a T)) e^(a u) = p/T − 1, a = q − 1, by the Wright omega function, ω + log ω = z."""
        log_density = push / self.temperature - 1.0
        if self.coefficient > 0:
            power = self.exponent - 1.0
            ratio = self.coefficient * self.exponent / self.temperature
            log_density = log_density - wrightomega(np.log(ratio) + power * log_density) / power
        with np.errstate(over="ignore", under="ignore"):
            return np.exp(log_density)

    def _of_power(self, push: Float64) -> Float64:
        power = self.exponent - 1.0
        scaled = push * (power / (self.coefficient * self.exponent))
        with np.errstate(divide="ignore", over="ignore"):
            result: Float64 = np.maximum(scaled, 0.0) ** (1.0 / power)
        return result


class LocalConjugate:
    """E* for E(ρ) = Σ |c| U(m/|c|) + Σ V m over allowed cells of one volume |c|; `solvers.grid_transport.newton.Conjugate`."""

    def __init__(
        self, local: LocalEnergy, potential: Float64, allowed: Bool, volume: float
    ) -> None:
        self._local, self._potential, self._volume = local, potential, volume
        self._allowed = allowed

    def masses(self, phi: Float64) -> Float64:
        """|c| (U')⁻¹(−φ − V)."""
        found = self._volume * self._local.density(self._push(phi))
        return np.where(self._allowed, found, 0.0)

    def value(self, phi: Float64, masses: Float64) -> float:
        """Σ p m − |c| U, p = −φ − V; +∞ where there is no maximum."""
        if not np.all(np.isfinite(masses)):
            return np.inf
        values = self._push(phi) * masses - self._volume * self._local.value(masses / self._volume)
        return float(np.sum(values[self._allowed]))

    def curvature(self, phi: Float64, masses: Float64, target: Float64) -> Float64:
        """|c| (ρ − ρ_T)/(p − U'(ρ_T)), where both agree |c|/U''(ρ)."""
        push = self._push(phi)
        if self._local.is_singular:
            target = np.maximum(target, _LARGEST_DROP * masses)
        density = target / self._volume
        slope = self._local.slope(density)
        slope = np.where(density >= self._local.bound, np.maximum(slope, push), slope)
        close = np.abs(push - slope) <= 1e-9 * (np.abs(push) + np.abs(slope))
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            secant = (masses - target) / (push - slope)
        own = self._volume * self._local.compliance(density)
        found = np.where(close, np.where(density < self._local.bound, own, 0.0), secant)
        used = self._allowed & ((masses > 0) | (target > 0)) & np.isfinite(found)
        return np.where(used, np.maximum(found, 0.0), 0.0)

    def ceiling(self) -> Float64:
        """−V − U'(0)."""
        slope = self._local.slope(np.zeros_like(self._potential))
        return np.where(self._allowed, -self._potential - slope, np.inf)

    def gap(self, phi: Float64, masses: Float64) -> float:
        """Σ |c| (U(ρ) + U*(p) − p ρ)."""
        push, own = self._push(phi), self.masses(phi)
        if not np.all(np.isfinite(own)):
            return np.inf
        terms = self._local.value(masses / self._volume) - self._local.value(own / self._volume)
        parts = np.where(self._allowed, self._volume * terms - push * (masses - own), 0.0)
        above = np.maximum(masses - self._local.bound * self._volume, 0.0)
        return float(np.sum(np.abs(parts)) + np.sum(above) * np.max(np.abs(push)))

    def _push(self, phi: Float64) -> Float64:
        return np.where(self._allowed, -phi - self._potential, 0.0)
