"""Schemes for gradient descent and its continuous-time models, on any objective."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from solvers.flow import ContinuousFlow, DiscreteFlow, Flow
from solvers.free_energy import FreeEnergy
from solvers.free_energy_flow import FreeEnergyFlow
from solvers.gradient_descent import GradientDescent
from solvers.gradient_flow import GradientFlow
from solvers.integrators import RK4, Adaptive, Euler, Integrator, Midpoint
from solvers.objective import Objective
from solvers.solve import Observation, Solution, State, solve
from solvers.spectrum import Eigenpairs, top_eigenpairs

if TYPE_CHECKING:
    from solvers import transport

__all__ = [
    "RK4",
    "Adaptive",
    "ContinuousFlow",
    "DiscreteFlow",
    "Eigenpairs",
    "Euler",
    "Flow",
    "FreeEnergy",
    "FreeEnergyFlow",
    "GradientDescent",
    "GradientFlow",
    "Integrator",
    "Midpoint",
    "Objective",
    "Observation",
    "Solution",
    "State",
    "solve",
    "top_eigenpairs",
    "transport",
]


def __getattr__(name: str) -> Any:
    """``solvers.transport`` on first use: it imports POT."""
    if name == "transport":
        return import_module("solvers.transport")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
