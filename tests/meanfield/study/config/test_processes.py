"""The tables of processes are those of the flows' classes."""

import inspect
import pickle
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Annotated, Literal

import pytest
from annotated_types import Ge

import solvers
from meanfield.study.config.processes import BATCHES, PROCESS_SECTIONS, TIME_STEPPING, section_of
from meanfield.study.config.run_config import ConfigError, load, load_text
from meanfield.study.engine.build import time_stepping
from solvers import flows
from solvers.flows import FLOWS

# which keys of the schemes in time each kind of flow takes
STEPPING = {
    solvers.DiscreteFlow: set(),
    solvers.SteppedFlow: {"dt"},
    solvers.ContinuousFlow: set(TIME_STEPPING),
}


@pytest.mark.parametrize("name", FLOWS)
def test_keys_and_defaults_are_those_of_the_class(name):
    fields = PROCESS_SECTIONS[name].model_fields
    stepping = next(keys for kind, keys in STEPPING.items() if issubclass(FLOWS[name], kind))
    assert stepping <= fields.keys()
    takes_batches = name == "gradient_descent" or issubclass(FLOWS[name], solvers.Optimizer)
    batches = set(BATCHES) if takes_batches else set()
    assert all(fields[key].default is None for key in batches)
    build = FLOWS[name]
    called = build.from_objective if name == "self_stabilization" else build
    own = {
        key: "..." if fields[key].is_required() else fields[key].default
        for key in fields.keys() - {"flow", *stepping, *batches}
    }
    parameters = inspect.signature(called).parameters
    expected = {
        key: "..." if p.default is p.empty else p.default
        for key, p in parameters.items()
        if key not in ("learning_rate", "objective", "x", "entropy")  # an object has no TOML
    }
    assert own == expected


@dataclass(frozen=True)
class Leaky(solvers.WithoutFluctuation, solvers.ContinuousFlow):
    """Gradient flow with friction."""

    learning_rate: float
    friction: Annotated[float, Ge(0)] = 0.1
    mode: Literal["all", "some"] = "all"

    def start(self, objective, x0):
        return x0

    def velocity(self, objective, time, state):
        return -self.learning_rate * (objective.gradient(state) + self.friction * state)


@pytest.fixture
def leaky(monkeypatch):
    monkeypatch.setattr(FLOWS, "_known", dict(FLOWS._known))
    monkeypatch.setattr(FLOWS, "_registered", set())
    return flows.register(Leaky)


def test_a_registered_flow_has_a_table(leaky):
    config = load(
        None, ("processes={mine={flow='leaky', friction=0.5, integrator='euler', dt=0.5}}",)
    )
    process = config.processes["mine"]
    assert process.options == {"friction": 0.5, "mode": "all"}
    assert time_stepping(config, "mine") == {"dt": 0.5, "integrator": solvers.Euler()}
    assert load_text(config.to_toml()) == config
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("friction=-1", "processes.leaky.friction must be a finite number of at least 0, got -1"),
        ("mode='al'", "processes.leaky.mode must be .*, got 'al'; did you mean 'all'"),
        ("fricton=1", r"processes.leaky.fricton is not a known key; .*; did you mean 'friction'\?"),
    ],
)
def test_its_errors_are_those_of_the_class(leaky, table, line):
    with pytest.raises(ConfigError, match=line):
        load(None, (f"processes={{leaky={{{table}}}}}",))


def test_a_flow_that_is_not_registered_is_unknown():
    with pytest.raises(ConfigError, match=r"processes.leaky.flow must be .*got 'leaky'"):
        load(None, ("processes={leaky={}}",))


def test_a_flow_that_cannot_be_imported_is_one_line(monkeypatch):
    gone = {"gone": EntryPoint("gone", "no_such_module:Flow", "meanfield.flows")}
    monkeypatch.setattr(FLOWS, "_entries", {})  # computed, and as it was afterwards
    monkeypatch.setitem(vars(FLOWS), "_entries", gone)
    with pytest.raises(ConfigError) as error:
        load(None, ("processes={gone={}, rod_flow={rank=0}}",))
    first, second = error.value.lines
    assert first.startswith("processes.gone.flow") and "no_such_module" in first
    assert second == "processes.rod_flow.rank must be an integer of at least 1, got 0"


def test_an_option_with_the_name_of_another_key_is_refused():
    @dataclass(frozen=True)
    class Clash(Leaky):
        dt: float = 1.0

    with pytest.raises(ValueError, match="clash: options must be of other names than dt"):
        section_of(Clash)
