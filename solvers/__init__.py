"""Schemes for gradient descent and its continuous-time models, on any objective."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from solvers._support.moved import keep_importable

if TYPE_CHECKING:
    from solvers import transport
    from solvers.flow import ContinuousFlow, DiscreteFlow, Flow, SteppedFlow, WithoutFluctuation
    from solvers.flows.adaptive import Adam, RMSProp, ScalarRMSProp
    from solvers.flows.central_flow import CentralFlow
    from solvers.flows.edge_flow import EdgeFlow
    from solvers.flows.free_energy_flow import FreeEnergyFlow
    from solvers.flows.gradient_descent import (
        GradientDescent,
        NormalizedGradientDescent,
        SqrtLossGradientDescent,
    )
    from solvers.flows.gradient_flow import GradientFlow
    from solvers.flows.jko_flow import JKOFlow
    from solvers.flows.langevin import Langevin, mean_field_langevin_free_energy
    from solvers.flows.momentum import HeavyBall, Nesterov
    from solvers.flows.phase_space_flow import PhaseSpaceFlow
    from solvers.flows.rod_flow import RodFlow
    from solvers.flows.self_stabilization import SelfStabilization
    from solvers.flows.sharpness_flow import SharpnessFlow
    from solvers.free_energy import FreeEnergy
    from solvers.integrators import (
        RK4,
        RKC,
        ROCK4,
        Adaptive,
        Chebyshev,
        Euler,
        Integrator,
        Midpoint,
    )
    from solvers.jko.evolution import Evolution
    from solvers.jko.evolve import evolve
    from solvers.jko.grid.result import GridStep
    from solvers.jko.grid.steps import GridJKO
    from solvers.jko.particles.report import JKOStep
    from solvers.jko.particles.steps import JKO
    from solvers.jko.proximal_result import JKOError
    from solvers.jko.quantile.steps import QuantileJKO, QuantileStep
    from solvers.learning_rates import Schedule
    from solvers.measures import energies
    from solvers.measures.entropy import BlobEntropy, SpacingEntropy
    from solvers.measures.representations import Grid, Particles, Quantiles
    from solvers.mini_batch import MiniBatch, batch_sharpness
    from solvers.objective import Objective
    from solvers.optimizer import Optimizer
    from solvers.phase_space.density import PhaseSpaceDensity
    from solvers.phase_space.pde import PhaseSpacePDE
    from solvers.phase_space.report import PhaseSpaceReport
    from solvers.scheduled_flow import Scheduled
    from solvers.solution import Solution
    from solvers.spectrum.complementarity import Complementarity, solve_complementarity
    from solvers.spectrum.effective_sharpness import effective_sharpness
    from solvers.spectrum.eigenpairs import Eigenpairs, top_eigenpairs
    from solvers.state import State
    from solvers.time_loop import Observation, solve

# Imported on first use: some need Numba, POT, Clarabel or much of SciPy.
_HOME = {
    "JKO": "jko.particles.steps",
    "RK4": "integrators",
    "RKC": "integrators",
    "ROCK4": "integrators",
    "Chebyshev": "integrators",
    "Adam": "flows.adaptive",
    "Adaptive": "integrators",
    "BlobEntropy": "measures.entropy",
    "CentralFlow": "flows.central_flow",
    "Complementarity": "spectrum.complementarity",
    "ContinuousFlow": "flow",
    "DiscreteFlow": "flow",
    "EdgeFlow": "flows.edge_flow",
    "Eigenpairs": "spectrum.eigenpairs",
    "Euler": "integrators",
    "Evolution": "jko.evolution",
    "Flow": "flow",
    "FreeEnergy": "free_energy",
    "FreeEnergyFlow": "flows.free_energy_flow",
    "GradientDescent": "flows.gradient_descent",
    "GradientFlow": "flows.gradient_flow",
    "Grid": "measures.representations",
    "GridJKO": "jko.grid.steps",
    "GridStep": "jko.grid.result",
    "HeavyBall": "flows.momentum",
    "Integrator": "integrators",
    "JKOError": "jko.proximal_result",
    "JKOFlow": "flows.jko_flow",
    "JKOStep": "jko.particles.report",
    "Langevin": "flows.langevin",
    "Midpoint": "integrators",
    "MiniBatch": "mini_batch",
    "Nesterov": "flows.momentum",
    "NormalizedGradientDescent": "flows.gradient_descent",
    "Objective": "objective",
    "Observation": "time_loop",
    "Optimizer": "optimizer",
    "Particles": "measures.representations",
    "PhaseSpaceDensity": "phase_space.density",
    "PhaseSpaceFlow": "flows.phase_space_flow",
    "PhaseSpacePDE": "phase_space.pde",
    "PhaseSpaceReport": "phase_space.report",
    "QuantileJKO": "jko.quantile.steps",
    "QuantileStep": "jko.quantile.steps",
    "Quantiles": "measures.representations",
    "RMSProp": "flows.adaptive",
    "RodFlow": "flows.rod_flow",
    "ScalarRMSProp": "flows.adaptive",
    "Schedule": "learning_rates",
    "Scheduled": "scheduled_flow",
    "SelfStabilization": "flows.self_stabilization",
    "SharpnessFlow": "flows.sharpness_flow",
    "Solution": "solution",
    "SpacingEntropy": "measures.entropy",
    "SqrtLossGradientDescent": "flows.gradient_descent",
    "State": "state",
    "SteppedFlow": "flow",
    "WithoutFluctuation": "flow",
    "batch_sharpness": "mini_batch",
    "effective_sharpness": "spectrum.effective_sharpness",
    "evolve": "jko.evolve",
    "mean_field_langevin_free_energy": "flows.langevin",
    "solve": "time_loop",
    "solve_complementarity": "spectrum.complementarity",
    "top_eigenpairs": "spectrum.eigenpairs",
}
_MODULES = {"energies": "measures.energies", "transport": "transport"}

__all__ = [
    "JKO",
    "RK4",
    "RKC",
    "ROCK4",
    "Adam",
    "Adaptive",
    "BlobEntropy",
    "CentralFlow",
    "Chebyshev",
    "Complementarity",
    "ContinuousFlow",
    "DiscreteFlow",
    "EdgeFlow",
    "Eigenpairs",
    "Euler",
    "Evolution",
    "Flow",
    "FreeEnergy",
    "FreeEnergyFlow",
    "GradientDescent",
    "GradientFlow",
    "Grid",
    "GridJKO",
    "GridStep",
    "HeavyBall",
    "Integrator",
    "JKOError",
    "JKOFlow",
    "JKOStep",
    "Langevin",
    "Midpoint",
    "MiniBatch",
    "Nesterov",
    "NormalizedGradientDescent",
    "Objective",
    "Observation",
    "Optimizer",
    "Particles",
    "PhaseSpaceDensity",
    "PhaseSpaceFlow",
    "PhaseSpacePDE",
    "PhaseSpaceReport",
    "QuantileJKO",
    "QuantileStep",
    "Quantiles",
    "RMSProp",
    "RodFlow",
    "ScalarRMSProp",
    "Schedule",
    "Scheduled",
    "SelfStabilization",
    "SharpnessFlow",
    "Solution",
    "SpacingEntropy",
    "SqrtLossGradientDescent",
    "State",
    "SteppedFlow",
    "WithoutFluctuation",
    "batch_sharpness",
    "effective_sharpness",
    "energies",
    "evolve",
    "mean_field_langevin_free_energy",
    "solve",
    "solve_complementarity",
    "top_eigenpairs",
    "transport",
]

keep_importable({"solvers.energies": "solvers.measures.energies"})


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"solvers.{_MODULES[name]}")
    if name in _HOME:
        value = globals()[name] = getattr(import_module(f"solvers.{_HOME[name]}"), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
