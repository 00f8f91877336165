"""Gradient descent and its models, one equation per file, and the list of them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from solvers._support.arguments import instance, refusal
from solvers._support.registry import Registry

if TYPE_CHECKING:
    from solvers.flow import Flow

__all__ = ["FLOWS", "REFERENCE_FLOW", "flow_class", "register"]

#: The flow that the others model, and are compared with.
REFERENCE_FLOW = "gradient_descent"
FlowClass = TypeVar("FlowClass", bound="type[Flow]")


class _Flows(Registry["type[Flow]"]):
    def require(self, name: str, thing: object) -> None:
        from solvers.flow import Flow

        flow = instance("flow", thing, type)
        if not issubclass(flow, Flow):
            raise refusal("flow", "a subclass of Flow", flow)
        if flow.name != name:
            raise refusal("name", f"{flow.name!r}, the flow's own", name)


#: The classes of all flows by name: of this package, of installed distributions that declare an entry point of the group
#: ``meanfield.flows``, and those given to `register`. Each is imported when it is looked up.
FLOWS = _Flows(
    "flow",
    "meanfield.flows",
    {
        REFERENCE_FLOW: "solvers.flows.gradient_descent:GradientDescent",
        "gradient_flow": "solvers.flows.gradient_flow:GradientFlow",
        "free_energy_flow": "solvers.flows.free_energy_flow:FreeEnergyFlow",
        "central_flow": "solvers.flows.central_flow:CentralFlow",
        "rod_flow": "solvers.flows.rod_flow:RodFlow",
        "edge_flow": "solvers.flows.edge_flow:EdgeFlow",
        "self_stabilization": "solvers.flows.self_stabilization:SelfStabilization",
        "normalized_gradient_descent": "solvers.flows.gradient_descent:NormalizedGradientDescent",
        "sqrt_loss_gradient_descent": "solvers.flows.gradient_descent:SqrtLossGradientDescent",
        "heavy_ball": "solvers.flows.momentum:HeavyBall",
        "nesterov": "solvers.flows.momentum:Nesterov",
        "scalar_rmsprop": "solvers.flows.adaptive:ScalarRMSProp",
        "rmsprop": "solvers.flows.adaptive:RMSProp",
        "adam": "solvers.flows.adaptive:Adam",
        "sharpness_flow": "solvers.flows.sharpness_flow:SharpnessFlow",
        "jko": "solvers.flows.jko_flow:JKOFlow",
        "phase_space": "solvers.flows.phase_space_flow:PhaseSpaceFlow",
        "langevin": "solvers.flows.langevin:Langevin",
    },
)


def register(flow: FlowClass) -> FlowClass:
    """Add a flow to `FLOWS` under its ``name``, for this process; also as a decorator of its class.

    The workers of a width study know the flows of installed distributions only: for those declare an entry point.

    Parameters
    ----------
    flow : subclass of Flow
        It replaces one of the same module and class name, e.g. from a repeated notebook cell.

    Returns
    -------
    flow : the same class

    Raises
    ------
    ValueError
        For an object that is not a class of flows, or the name of another flow.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @solvers.flows.register
    ... @dataclass(frozen=True)
    ... class Standstill(solvers.WithoutFluctuation, solvers.DiscreteFlow):
    ...     learning_rate: float
    ...     def start(self, objective, x0):
    ...         return x0
    ...     def step(self, objective, step, state):
    ...         return state
    >>> solvers.flows.FLOWS["standstill"].__name__
    'Standstill'
    """
    FLOWS.register(getattr(flow, "name", ""), flow)
    return flow


def flow_class(name: str) -> type[Flow] | None:
    """The class of a flow by its name in a file; None if it is unknown here, or cannot be imported.

    Examples
    --------
    >>> solvers.flows.flow_class("rod_flow").__name__, solvers.flows.flow_class("unknown")
    ('RodFlow', None)
    """
    with suppress(KeyError, ValueError):
        return FLOWS[name]
    return None
