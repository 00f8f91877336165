"""One step of a Wasserstein gradient flow, whatever the measure is represented by."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from solvers._support.arguments import instance, methods, refusal
from solvers.grid_transport.displacement import Displacement
from solvers.jko.grid.result import GridStep
from solvers.jko.grid.steps import GridJKO, check_memory
from solvers.jko.particles.plans import Plan
from solvers.jko.particles.steps import JKO
from solvers.jko.quantile.steps import QuantileJKO
from solvers.measures.energies import Energy, Entropy, Interaction, Potential, Sum
from solvers.measures.entropy import estimator
from solvers.measures.representations import Grid, Measure, Particles, Quantiles

Float64 = NDArray[np.float64]
Scheme = JKO | GridJKO | QuantileJKO


@dataclass(frozen=True, eq=False)
class Moved:
    """A step that was taken.

    measure : its end. result : that of the scheme. excess : of its inequality. iterations : of the inner solver. before : what
    a step of second order needs of the start.
    """

    measure: Measure
    result: Any
    step_size: float
    excess: float
    iterations: int
    before: Any

    @property
    def energy(self) -> float:
        return float(self.result.energy)

    @property
    def cost(self) -> float:
        return float(self.result.transport_cost)


class Mover(Protocol):
    """How measures of a kind move."""

    def check(self, order: int, tolerance: float | None) -> None:
        """A ValueError for steps that the scheme does not take."""

    def energy(self, measure: Any) -> float:
        """E."""

    def move(self, measure: Any, step_size: float, last: Moved | None) -> Moved:
        """A step of first order, or where the last step is given, of second."""

    def distance(self, a: Moved, b: Moved) -> float:
        """W2 of the ends of two steps from the same measure, to the first order in their difference."""

    def pack(self, measure: Any, last: Moved | None) -> Float64:
        """One array of what the next step needs of the measure, beside its array, and of the step that led to it."""

    def unpack(
        self, measure: Any, packed: Float64, step_size: float | None
    ) -> tuple[Any, Moved | None]:
        """Both again; the step, whose size is given if there was one, has what the next one needs."""


class _OfQuantiles:
    def __init__(self, scheme: Any, energy: Any, measure: Quantiles) -> None:
        self._scheme, self._energy = scheme, energy

    def check(self, order: int, tolerance: float | None) -> None:
        pass

    def energy(self, measure: Quantiles) -> float:
        from solvers.jko.quantile.energy import QuantileEnergy

        return QuantileEnergy(self._energy).value(measure.values)

    def move(self, measure: Quantiles, step_size: float, last: Moved | None) -> Moved:
        scheme = replace(self._scheme, step_size=step_size)
        earlier = () if last is None else (last.before, last.step_size)
        step = scheme.step(self._energy, measure, *earlier)
        return Moved(step.state, step, step_size, step.excess, step.iterations, measure)

    def distance(self, a: Moved, b: Moved) -> float:
        apart = a.result.state.values - b.result.state.values
        left, right = apart[:-1], apart[1:]
        return math.sqrt(max(float(np.mean(left**2 + left * right + right**2)) / 3, 0.0))

    def pack(self, measure: Quantiles, last: Moved | None) -> Float64:
        return np.empty(0) if last is None else last.before.values

    def unpack(
        self, measure: Quantiles, packed: Float64, step_size: float | None
    ) -> tuple[Quantiles, Moved | None]:
        if step_size is None:
            return measure, None
        return measure, _again(measure, step_size, Quantiles(packed))


class _OfGrid:
    def __init__(self, scheme: Any, energy: Any, measure: Grid) -> None:
        check_memory(measure)
        self._scheme, self._energy = scheme, energy
        self._method = scheme.method_on(measure)

    def check(self, order: int, tolerance: float | None) -> None:
        if self._method == "exact" or (order == 1 and tolerance is None):
            return
        name, value = ("order", order) if tolerance is None else ("tolerance", tolerance)
        condition = "1" if tolerance is None else "None, and step_size be given,"
        raise refusal(
            name, f"{condition} for the method 'entropic'", value, "cells of one size take 'exact'"
        )

    def energy(self, measure: Grid) -> float:
        from solvers.jko.grid.energy import GridEnergy

        try:
            return GridEnergy(self._energy, measure).value(measure.masses)
        except FloatingPointError:
            return math.nan

    def move(self, measure: Grid, step_size: float, last: Moved | None) -> Moved:
        scheme = replace(self._scheme, step_size=step_size)
        earlier = () if last is None else (last.result, last.step_size)
        step = scheme.step(self._energy, measure, *earlier)
        return Moved(step.state, step, step_size, step.excess, step.iterations, None)

    def distance(self, a: Moved, b: Moved) -> float:
        one, other = a.result.displacement, b.result.displacement
        return math.sqrt(float(np.sum(a.result.state.masses * one.less(other).squares)))

    def pack(self, measure: Grid, last: Moved | None) -> Float64:
        if last is None or last.result.displacement is None:
            return np.empty(0)
        packed: Float64 = last.result.displacement.flat
        return packed

    def unpack(
        self, measure: Grid, packed: Float64, step_size: float | None
    ) -> tuple[Grid, Moved | None]:
        if step_size is None:
            return measure, None
        moved = Displacement.of_flat(measure.masses.shape, packed) if len(packed) else None
        nan = math.nan
        step = GridStep(nan, nan, nan, nan, nan, 0, True, measure, nan, moved)
        return measure, replace(_again(measure, step_size, None), result=step)


class _Nothing:
    """The energy 0 of particles."""

    def value(self, x: Float64, weights: Float64 | None = None) -> float:
        return 0.0

    def gradient(self, x: Float64, weights: Float64 | None = None) -> Float64:
        return np.zeros_like(x)

    def hvp(self, x: Float64, v: Float64, weights: Float64 | None = None) -> Float64:
        return np.zeros_like(v)


def _check_fit(objective: Any, measure: Particles) -> None:
    """Ask an objective of the caller's for its value at the particles; a ValueError that names the argument if it refuses."""
    try:
        objective.value(measure.positions)
    except ValueError as error:
        raise ValueError(f"measure must fit the energy: {error}") from error


class _OfParticles:
    def __init__(self, scheme: Any, energy: Any, measure: Particles) -> None:
        temperature, self._objective = _of_particles(energy)
        if scheme.saddle:
            raise refusal("scheme.saddle", "False: a saddle has no descent of the energy", True)
        temperature += scheme.temperature
        entropy = scheme.entropy
        if temperature > 0 and entropy is None:  # one functional for all steps
            entropy = estimator(measure.positions, weights=measure.weights)
        self._scheme = replace(scheme, temperature=temperature, entropy=entropy)
        if self._objective is energy:
            _check_fit(energy, measure)
        equal = bool(np.all(measure.weights == measure.weights[0]))
        self._weights = {} if equal else {"weights": measure.weights}

    def check(self, order: int, tolerance: float | None) -> None:
        pass

    def energy(self, measure: Particles) -> float:
        value = float(self._objective.value(measure.positions, **self._weights))
        if self._scheme.temperature > 0:
            ent = self._scheme.entropy.value(measure.positions, weights=measure.weights)
            value += self._scheme.temperature * float(ent)
        return value

    def move(self, measure: Particles, step_size: float, last: Moved | None) -> Moved:
        scheme = replace(self._scheme, step_size=step_size)
        earlier: dict[str, Any] = {}
        if last is not None:
            earlier = {"earlier": last.before, "earlier_step_size": last.step_size}
        step = scheme.step(self._objective, measure.positions, **self._weights, **earlier)
        excess = max(certificate.excess for certificate in step.certificates)
        before = Plan(measure.weights, step.plan).project(measure.positions)
        end = Particles(step.state, measure.weights)
        return Moved(end, step, step_size, excess, step.inner_iterations, before)

    def distance(self, a: Moved, b: Moved) -> float:
        apart = np.sum((a.result.state - b.result.state) ** 2, axis=1)
        return math.sqrt(float(a.result.weights @ apart))

    def pack(self, measure: Particles, last: Moved | None) -> Float64:
        before = np.empty(0) if last is None else last.before.ravel()
        return np.concatenate([measure.weights, before])

    def unpack(
        self, measure: Particles, packed: Float64, step_size: float | None
    ) -> tuple[Particles, Moved | None]:
        n = len(measure.weights)
        measure = copy(measure)
        object.__setattr__(measure, "weights", packed[:n])  # not scaled: to the last bit
        if step_size is None:
            return measure, None
        before = packed[n:].reshape(measure.positions.shape)
        return measure, _again(measure, step_size, before)


def _again(measure: Measure, step_size: float, before: Any) -> Moved:
    """A step that was taken before, without its numbers."""
    return Moved(measure, None, step_size, math.nan, 0, before)


def _of_particles(energy: Any) -> tuple[float, Any]:
    """Temperature and objective of an energy; a ValueError for one that particles, which have no density, do not have."""
    if not isinstance(energy, Energy):
        methods("energy", energy, ("value", "gradient"), "evolve")
        return 0.0, energy
    temperature, others = 0.0, []
    for term in energy.terms:
        if isinstance(term, Entropy):
            temperature += term.temperature
        elif isinstance(term, Potential | Interaction):
            others.append(term)
        else:
            term.value([[0.0]])  # refuses, and says what takes it
    return temperature, Sum(*others) if others else _Nothing()


_MOVERS: dict[type, tuple[Any, Any]] = {
    Quantiles: (_OfQuantiles, QuantileJKO),
    Grid: (_OfGrid, GridJKO),
    Particles: (_OfParticles, JKO),
}


def mover(energy: Any, measure: Measure, scheme: Scheme | None, learning_rate: float) -> Mover:
    """That of the measure's kind, with the settings of a scheme if one is given."""
    moves, kind = _MOVERS[type(measure)]
    if scheme is None:
        scheme = kind(1.0, learning_rate=learning_rate)
    instance("scheme", scheme, kind, f"the scheme for {type(measure).__name__}")
    made: Mover = moves(replace(scheme, require_convergence=True), energy, measure)
    return made
