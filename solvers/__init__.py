"""Schemes for gradient descent and its continuous-time models, on any objective."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from solvers.central_flow import CentralFlow
from solvers.complementarity import Complementarity, solve_complementarity
from solvers.edge_flow import EdgeFlow
from solvers.entropy import BlobEntropy, SpacingEntropy
from solvers.flow import ContinuousFlow, DiscreteFlow, Flow, SteppedFlow
from solvers.free_energy import FreeEnergy
from solvers.free_energy_flow import FreeEnergyFlow
from solvers.gradient_descent import (
    GradientDescent,
    NormalizedGradientDescent,
    SqrtLossGradientDescent,
)
from solvers.gradient_flow import GradientFlow
from solvers.integrators import RK4, Adaptive, Euler, Integrator, Midpoint
from solvers.jko.flow import JKOFlow
from solvers.jko.grids import GridJKO, GridStep
from solvers.jko.particles import JKO, JKOStep
from solvers.jko.proximal_result import JKOError
from solvers.jko.quantiles import QuantileJKO, QuantileStep
from solvers.langevin import Langevin, mean_field_langevin_free_energy
from solvers.measures import Grid, Particles, Quantiles
from solvers.objective import Objective
from solvers.rod_flow import RodFlow
from solvers.self_stabilization import SelfStabilization
from solvers.sharpness_flow import SharpnessFlow
from solvers.solve import Observation, Solution, solve
from solvers.spectrum import Eigenpairs, top_eigenpairs
from solvers.state import State

if TYPE_CHECKING:
    from solvers import transport
    from solvers.phase_space.density import PhaseSpaceDensity
    from solvers.phase_space.flow import PhaseSpaceFlow
    from solvers.phase_space.pde import PhaseSpacePDE, PhaseSpaceReport

# On first use: these import POT or Numba.
_LAZY = {
    "PhaseSpaceDensity": "phase_space.density",
    "PhaseSpaceFlow": "phase_space.flow",
    "PhaseSpacePDE": "phase_space.pde",
    "PhaseSpaceReport": "phase_space.pde",
}

__all__ = [
    "JKO",
    "RK4",
    "Adaptive",
    "BlobEntropy",
    "CentralFlow",
    "Complementarity",
    "ContinuousFlow",
    "DiscreteFlow",
    "EdgeFlow",
    "Eigenpairs",
    "Euler",
    "Flow",
    "FreeEnergy",
    "FreeEnergyFlow",
    "GradientDescent",
    "GradientFlow",
    "Grid",
    "GridJKO",
    "GridStep",
    "Integrator",
    "JKOError",
    "JKOFlow",
    "JKOStep",
    "Langevin",
    "Midpoint",
    "NormalizedGradientDescent",
    "Objective",
    "Observation",
    "Particles",
    "PhaseSpaceDensity",
    "PhaseSpaceFlow",
    "PhaseSpacePDE",
    "PhaseSpaceReport",
    "QuantileJKO",
    "QuantileStep",
    "Quantiles",
    "RodFlow",
    "SelfStabilization",
    "SharpnessFlow",
    "Solution",
    "SpacingEntropy",
    "SqrtLossGradientDescent",
    "State",
    "SteppedFlow",
    "mean_field_langevin_free_energy",
    "solve",
    "solve_complementarity",
    "top_eigenpairs",
    "transport",
]


def __getattr__(name: str) -> Any:
    if name == "transport":
        return import_module("solvers.transport")
    if name in _LAZY:
        return getattr(import_module(f"solvers.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
