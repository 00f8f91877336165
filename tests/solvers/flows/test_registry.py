"""The list of flows, and what each class says of itself."""

import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Annotated

import numpy as np
import pytest
from annotated_types import Ge

import solvers
from meanfield.landscapes import MatrixFactorization, Valley
from solvers import flows
from solvers.flows import FLOWS, REFERENCE_FLOW, flow_class, register

X0 = np.array([0.0, 7.0])
ELSEWHERE = "self_stabilization", "phase_space", "jko", "sharpness_flow"  # their starts cost more
NEEDED = {"langevin": {"temperature": 0.1}, "sqrt_loss_gradient_descent": {"minimum": -9.0}}


def options(name, **changes):
    """All options of a flow, at their defaults but for some."""
    defaults = {key: option.default for key, option in FLOWS[name].options().items()}
    return {**defaults, **NEEDED.get(name, {}), **changes}


@pytest.mark.parametrize("name", FLOWS)
def test_the_list_has_every_flow_under_its_own_name(name):
    assert FLOWS[name].name == name
    assert getattr(solvers, FLOWS[name].__name__) is FLOWS[name]
    assert flow_class(name) is FLOWS[name] and name in FLOWS


def test_the_public_flows_are_all_in_the_list():
    kinds = solvers.Flow, solvers.ContinuousFlow, solvers.SteppedFlow, solvers.DiscreteFlow
    kinds = {
        *kinds,
        solvers.WithoutFluctuation,
        solvers.Scheduled,
        solvers.Optimizer,
        solvers.MiniBatch,
    }
    public = [getattr(solvers, name) for name in solvers.__all__]
    found = {one for one in public if isinstance(one, type) and issubclass(one, solvers.Flow)}
    assert found - kinds == set(FLOWS.values())
    assert next(iter(FLOWS)) == REFERENCE_FLOW


def test_names_come_without_the_libraries():
    code = "import sys, solvers.flows as f; list(f.FLOWS); print({'numba', 'ot', 'scipy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *((name, {}) for name in FLOWS if name not in ELSEWHERE),
        ("free_energy_flow", {"rank": 2}),
        ("central_flow", {"max_modes": 3}),
        ("rod_flow", {"rank": 1}),
        ("jko", {"saddle": False}),
        ("jko", {"saddle": True}),
    ],
)
def test_the_arrays_of_a_state_are_as_many_as_declared(name, changes):
    valley, chosen = Valley(), options(name, **changes)
    state = FLOWS[name].build(valley, X0, 0.25, **chosen).start(valley, X0)
    if name == "rod_flow":  # no more than x has coordinates
        chosen["rank"] = min(chosen["rank"], X0.size)
    assert state.size == FLOWS[name].state_arrays(chosen) * X0.size


def test_the_reduced_model_counts_the_arrays_of_its_expansion():
    landscape, modes = MatrixFactorization(), 2
    x0 = np.array(landscape.start)
    flow = FLOWS["self_stabilization"].build(landscape, x0, 0.05, modes=modes)
    arrays = flow.start(landscape, x0).size + flow.vectors.size + flow.turns.size
    assert arrays == flow.state_arrays({"modes": modes}) * x0.size


# the numbers of the papers
SOURCES = {
    "gradient_flow": (),
    "free_energy_flow": ("2606.05326",),
    "central_flow": ("2410.24206",),
    "rod_flow": ("2602.01480",),
    "edge_flow": ("2606.18080",),
    "self_stabilization": ("2209.15594",),
    "sharpness_flow": ("2205.09745",),
    "langevin": ("1804.06561", "1905.07769"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_sources_are_those_of_the_docstring(name):
    assert FLOWS[name].sources() == SOURCES[name]
    assert FLOWS[name].summary().strip()


# --- a flow of one's own ---


@dataclass(frozen=True)
class Resting(solvers.WithoutFluctuation, solvers.DiscreteFlow):
    """It stays where it starts."""

    learning_rate: float
    memory: Annotated[int, Ge(0)] = 3

    def start(self, objective, x0):
        return x0

    def step(self, objective, step, state):
        return state


@pytest.fixture
def own_list(monkeypatch):
    """A list in place of `FLOWS`, which then is as it was."""
    made = flows._Flows("flow", "meanfield.flows", {"taken": solvers.GradientFlow})
    monkeypatch.setattr(flows, "FLOWS", made)
    return made


def test_name_and_checks_are_derived_from_the_class():
    assert Resting.name == "resting"
    assert list(Resting.options()) == ["memory"]
    assert Resting(np.float32(0.5), np.int64(2)) == Resting(0.5, 2)
    with pytest.raises(ValueError, match="memory must be an integer of at least 0, got -1"):
        Resting(0.5, -1)
    with pytest.raises(ValueError, match="learning_rate must be a finite number above 0, got 0"):
        Resting(0)


def test_a_flow_is_registered_under_its_name(own_list):
    assert register(Resting) is Resting and own_list["resting"] is Resting
    again = type("Resting", (Resting,), {"__qualname__": "Resting", "__module__": __name__})
    assert register(again) is again and own_list["resting"] is again  # as by a notebook
    other = type("Resting", (Resting,), {"__module__": "elsewhere"})
    with pytest.raises(ValueError, match="name must be one that no other flow has, got 'resting"):
        register(other)


@pytest.mark.parametrize("thing", [Resting(0.1), dict, None])
def test_what_is_no_class_of_a_flow_is_refused(own_list, thing):
    with pytest.raises(ValueError, match="flow must be|name must be"):
        register(thing)
    assert list(own_list) == ["taken"]


def test_a_name_that_is_taken_is_refused(own_list):
    with pytest.raises(ValueError, match="name must be one that no other flow has, got 'taken'"):
        register(type("Taken", (Resting,), {}))


def test_flows_of_installed_distributions_are_imported_when_looked_up(own_list, monkeypatch):
    where = {
        "resting": f"{__name__}:Resting",
        "gone": "no_such_module:Flow",
        "other_name": f"{__name__}:Resting",
        "taken": f"{__name__}:Resting",
    }
    found = [EntryPoint(name, value, "meanfield.flows") for name, value in where.items()]
    monkeypatch.setattr("solvers._support.registry.entry_points", lambda group: found)
    assert list(own_list) == ["taken", "resting", "gone", "other_name"]
    assert own_list["resting"] is Resting and own_list["taken"] is solvers.GradientFlow
    assert flow_class("resting") is Resting and flow_class("gone") is flow_class("nowhere") is None
    with pytest.raises(ValueError, match=r"'gone'.* cannot be imported"):
        own_list["gone"]
    with pytest.raises(ValueError, match=r"'other_name'.*: name must be 'resting'"):
        own_list["other_name"]
