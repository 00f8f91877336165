"""The optimizer of a run, one of its processes: gradient descent, or another rule, whose models the other processes are."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from meanfield.study.config.processes import ProcessSection, scheme_keys
from solvers._support.arguments import refusal
from solvers.flow import DiscreteFlow, Flow
from solvers.flows import FLOWS, REFERENCE_FLOW
from solvers.integrators import Integrator
from solvers.learning_rates import Schedule
from solvers.optimizer import Optimizer, model_of

Processes = Mapping[str, ProcessSection]


def check_optimizer(name: str | None, processes: Processes) -> None:
    """Raise a ValueError unless it is the name of a process of gradient descent or of an optimizer with a memory."""
    if name is None:
        return
    if name not in processes:
        near = difflib.get_close_matches(name, processes, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"optimizer must be the name of a process, one of {', '.join(processes)}, got {name!r}{hint}"
        )
    flow = processes[name].flow
    if flow != REFERENCE_FLOW and not issubclass(FLOWS[flow], Optimizer):
        raise ValueError(
            f"optimizer must name a process of gradient descent or of an optimizer, got {name!r}, of {flow}"
        )


def rule_of(name: str | None, processes: Processes, learning_rate: float) -> Optimizer | None:
    """The optimizer that the models of a run model; None for gradient descent."""
    if name is None or processes[name].flow == REFERENCE_FLOW:
        return None
    make: Any = FLOWS[processes[name].flow]
    rule: Optimizer = make(learning_rate, **processes[name].options)
    return rule


def own_model(process: ProcessSection, rule: Optimizer | None) -> Flow | None:
    """The model of the run's optimizer that a process is; None for a map, and where the optimizer is gradient descent.

    Raises
    ------
    ValueError
        The flow does not model the optimizer, or not with these options.
    """
    if rule is None or issubclass(FLOWS[process.flow], DiscreteFlow):
        return None
    return model_of(FLOWS[process.flow], rule, process.options)


def check_models(processes: Processes, rule: Optimizer | None) -> None:
    """Raise a ValueError unless all processes can model the optimizer; name the default schemes of those that do."""
    for name, process in processes.items():
        try:
            model = own_model(process, rule)
        except ValueError as error:
            raise ValueError(f"processes.{name}: {error}") from None
        if model is not None:
            _name_its_default(process, model)


def _name_its_default(process: ProcessSection, model: Flow) -> None:
    """Set the keys of the model's default scheme where the table has none of its own: it may differ from the flow's."""
    scheme: Integrator | None = getattr(model, "default_integrator", None)
    is_given = bool({"integrator", "dt"} & process.model_fields_set)
    if scheme is None or is_given or process.options.get("delay"):
        return
    for key, value in ({"rtol": None, "atol": None} | scheme_keys(scheme)).items():
        object.__setattr__(process, key, value)


def check_rates(rates: Schedule, processes: Processes, rule: Optimizer | None) -> None:
    """Raise a ValueError for a learning rate that changes unless that of every process may change."""
    if len(rates.steps) == 1:
        return
    fixed = [
        f"processes.{name}"
        for name, process in processes.items()
        if not (own_model(process, rule) or FLOWS[process.flow]).can_change_rate
    ]
    if fixed:
        raise ValueError(
            f"learning_rate must be a number for {', '.join(fixed)}, whose learning rate cannot change during a run, "
            f"got {[list(pair) for pair in rates.learning_rate]}"
        )


def check_warm_start(warm_start: int, steps: int) -> None:
    """Raise a ValueError unless the run has as many steps."""
    if warm_start > steps:
        raise refusal("warm_start", f"at most steps, {steps}", warm_start)
