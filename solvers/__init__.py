"""Schemes for gradient descent and its continuous-time models, on any objective."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from solvers.central_flow import CentralFlow
from solvers.complementarity import Complementarity, solve_complementarity
from solvers.edge_flow import EdgeFlow
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
from solvers.objective import Objective
from solvers.rod_flow import RodFlow
from solvers.self_stabilization import SelfStabilization
from solvers.sharpness_flow import SharpnessFlow
from solvers.solve import Observation, Solution, solve
from solvers.spectrum import Eigenpairs, top_eigenpairs
from solvers.stepping import State

if TYPE_CHECKING:
    from solvers import transport

__all__ = [
    "RK4",
    "Adaptive",
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
    "Integrator",
    "Midpoint",
    "NormalizedGradientDescent",
    "Objective",
    "Observation",
    "RodFlow",
    "SelfStabilization",
    "SharpnessFlow",
    "Solution",
    "SqrtLossGradientDescent",
    "State",
    "SteppedFlow",
    "solve",
    "solve_complementarity",
    "top_eigenpairs",
    "transport",
]


def __getattr__(name: str) -> Any:
    """``solvers.transport`` on first use: it imports POT."""
    if name == "transport":
        return import_module("solvers.transport")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
