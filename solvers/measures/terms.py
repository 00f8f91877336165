"""Energies by name, as a configuration file has them: their parameters are numbers.

`TERMS` has what every name stands for: an energy's class, or a function that makes one. `Functional` and potentials of one's own
need a function, which no file can give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import numpy as np

from solvers._support.annotations import Gt, checked
from solvers._support.arguments import refusal
from solvers.measures.energies import (
    Congestion,
    Domain,
    Energy,
    Entropy,
    Interaction,
    Potential,
    PowerEntropy,
)
from solvers.measures.quantile_functions import Float64

Positive = Annotated[float, Gt(0)]
Vector = tuple[float, ...]


@checked
def harmonic_potential(stiffness: float = 1.0, center: Vector | None = None) -> Potential:
    """∫ ½k|x − c|² dμ.

    Parameters
    ----------
    stiffness : float
        k; below 0 the potential repels.
    center : array of numbers, optional
        c, by default 0.
    """

    def function(x: Float64) -> Float64:
        return 0.5 * stiffness * np.sum(_from(x, center) ** 2, axis=1)

    def hessian(x: Float64) -> Float64:
        return np.broadcast_to(stiffness * np.eye(x.shape[1]), (*x.shape, x.shape[1]))

    return Potential(function, lambda x: stiffness * _from(x, center), hessian)


def linear_potential(slope: Vector) -> Potential:
    """∫ a·x dμ, of a constant drift −a.

    Parameters
    ----------
    slope : array of numbers
        a, one for each coordinate.
    """

    def gradient(x: Float64) -> Float64:
        return np.broadcast_to(_vector("slope", slope, x), x.shape)

    def hessian(x: Float64) -> Float64:
        return np.zeros((*x.shape, x.shape[1]))

    return Potential(lambda x: x @ _vector("slope", slope, x), gradient, hessian)


@checked
def double_well_potential(
    height: Positive = 1.0, distance: Positive = 1.0, tilt: float = 0.0
) -> Potential:
    """∫ h(x₁²/a² − 1)² + s x₁ + h(x₂² + …)/a² dμ: wells at x₁ = ±a, a bowl along the other coordinates.

    Parameters
    ----------
    height : float
        h > 0, of the barrier.
    distance : float
        a > 0, of the wells from 0.
    tilt : float
        s.
    """
    scale = height / distance**2

    def function(x: Float64) -> Float64:
        wells = height * (x[:, 0] ** 2 / distance**2 - 1) ** 2 + tilt * x[:, 0]
        return wells + scale * np.sum(x[:, 1:] ** 2, axis=1)

    def gradient(x: Float64) -> Float64:
        found = 2 * scale * x
        found[:, 0] = 4 * scale * x[:, 0] * (x[:, 0] ** 2 / distance**2 - 1) + tilt
        return found

    def hessian(x: Float64) -> Float64:
        found = np.tile(2 * scale * np.eye(x.shape[1]), (len(x), 1, 1))
        found[:, 0, 0] = 4 * scale * (3 * x[:, 0] ** 2 / distance**2 - 1)
        return found

    return Potential(function, gradient, hessian)


@checked
def power_interaction(strength: float = 1.0, exponent: Positive = 2.0) -> Interaction:
    """½ ∬ s|x − y|^p/p dμ dμ, an attraction for s > 0.

    Parameters
    ----------
    strength : float
        s.
    exponent : float
        p > 0; `log_interaction` is the limit p = 0.
    """

    def function(r: Float64) -> Float64:
        return strength / exponent * np.sum(r**2, axis=1) ** (exponent / 2)

    def gradient(r: Float64) -> Float64:
        return _power(r, strength, exponent) * r

    def hessian(r: Float64) -> Float64:
        return _power(r, strength, exponent)[..., None] * _shape(r, exponent - 2)

    return Interaction(function, gradient, hessian)


@checked
def log_interaction(strength: float = 1.0) -> Interaction:
    """½ ∬ s log|x − y| dμ dμ, an attraction for s > 0: with s = χ/2π that of Keller and Segel in the plane.

    Parameters
    ----------
    strength : float
        s. In the plane and with an entropy of temperature T, mass concentrates for s > 4T.
    """

    def function(r: Float64) -> Float64:
        return 0.5 * strength * np.log(np.sum(r**2, axis=1))

    def gradient(r: Float64) -> Float64:
        return _power(r, strength, 0.0) * r

    def hessian(r: Float64) -> Float64:
        return _power(r, strength, 0.0)[..., None] * _shape(r, -2.0)

    return Interaction(function, gradient, hessian)


@checked
def gaussian_interaction(strength: float = -1.0, width: Positive = 1.0) -> Interaction:
    """½ ∬ s exp(−|x − y|²/2w²) dμ dμ, an attraction of range w for s < 0.

    Parameters
    ----------
    strength : float
        s.
    width : float
        w > 0.
    """

    def function(r: Float64) -> Float64:
        return strength * np.exp(-0.5 * np.sum(r**2, axis=1) / width**2)

    def gradient(r: Float64) -> Float64:
        return -function(r)[:, None] * r / width**2

    def hessian(r: Float64) -> Float64:
        outer = r[:, :, None] * r[:, None, :] / width**2
        return function(r)[:, None, None] * (outer - np.eye(r.shape[1])) / width**2

    return Interaction(function, gradient, hessian)


@checked
def ball(radius: Positive = 1.0, center: Vector | None = None) -> Domain:
    """A domain: the inside of a ball, whose boundary no mass crosses.

    Parameters
    ----------
    radius : float
        Above 0.
    center : array of numbers, optional
        By default 0.
    """
    return Domain(lambda x: np.sum(_from(x, center) ** 2, axis=1) < radius**2)


@checked
def obstacle(radius: Positive = 1.0, center: Vector | None = None) -> Domain:
    """A domain with a hole: the outside of a ball, whose boundary no mass crosses.

    Parameters
    ----------
    radius : float
        Above 0.
    center : array of numbers, optional
        By default 0.
    """
    return Domain(lambda x: np.sum(_from(x, center) ** 2, axis=1) > radius**2)


#: In the order of the documentation: a new energy is its class, or a function, and its line here.
TERMS: Mapping[str, Callable[..., Energy]] = {
    "entropy": Entropy,
    "power_entropy": PowerEntropy,
    "harmonic_potential": harmonic_potential,
    "linear_potential": linear_potential,
    "double_well_potential": double_well_potential,
    "power_interaction": power_interaction,
    "log_interaction": log_interaction,
    "gaussian_interaction": gaussian_interaction,
    "congestion": Congestion,
    "ball": ball,
    "obstacle": obstacle,
}


def _power(r: Float64, strength: float, exponent: float) -> Float64:
    """s|r|^(p − 2), (M, 1), of the derivatives of s|r|^p/p; 0 at 0, where a particle exerts no force on itself."""
    squares = np.sum(r**2, axis=1, keepdims=True)
    there = squares > 0
    return np.where(there, strength * np.where(there, squares, 1.0) ** (0.5 * exponent - 1), 0.0)


def _shape(r: Float64, more: float) -> Float64:
    """I + q r rᵀ/|r|², (M, D, D)."""
    squares = np.sum(r**2, axis=1)[:, None, None]
    outer = r[:, :, None] * r[:, None, :] / np.where(squares > 0, squares, 1.0)
    return np.eye(r.shape[1]) + more * outer


def _from(x: Float64, center: Vector | None) -> Float64:
    return x if center is None else x - _vector("center", center, x)


def _vector(name: str, value: Vector, x: Float64) -> Float64:
    if len(value) != x.shape[1]:
        raise refusal(name, f"of as many numbers as there are coordinates, {x.shape[1]}", value)
    return np.array(value, dtype=np.float64)
