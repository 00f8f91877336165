"""`meanfield config`: every key of a configuration is printed with its type, default and meaning."""

import json
import re

import pytest

from meanfield.landscapes import LANDSCAPES
from meanfield.study.config.reference import all_keys, as_toml, documented, tables
from meanfield.study.config.run_config import RunConfig, load_text
from meanfield.tasks import TASKS
from solvers.flows import FLOWS
from tests.helpers.commands import meanfield_command


def command(*arguments):
    return meanfield_command("config", *arguments)


def test_what_is_printed_is_the_default_configuration():
    assert load_text(as_toml()) == RunConfig.default()
    printed = command("--defaults")
    assert printed.exit_code == 0 and printed.stdout == as_toml()


def test_all_tasks_landscapes_and_flows_are_there():
    chosen = {(table.name, key.default) for table in tables() for key in table.keys}
    for name in TASKS:
        assert ("task", name) in chosen
    for name in LANDSCAPES:
        assert ("landscape", name) in chosen
    for name in FLOWS:
        assert (f"processes.{name}", name) in chosen


# Parameters of landscapes are described by the equations of their docstrings.
@pytest.mark.parametrize(
    "table",
    [table for table in tables() if table.name != "landscape"],
    ids=lambda table: table.name or "top",
)
def test_every_key_has_a_type_and_a_meaning(table):
    assert table.summary
    for key in table.keys:
        assert key.type and key.meaning, f"{table.name}.{key.name}"


def test_alternatives_are_configurations_once_the_marks_are_gone():
    """Every table that needs no key is read as it is printed."""
    for table in tables():
        if not table.is_alternative or any(key.is_required for key in table.keys):
            continue
        lines = [f"[{table.name}]", *(key.line for key in table.keys)]
        if table.name == "landscape":
            lines.append("[processes.gradient_descent]")
        load_text("\n".join([*lines, *rest_of_measure(table.name)]))


def rest_of_measure(name):
    """What a table of a measure needs beside it."""
    if not name.startswith("measure"):
        return
    if name == "measure":
        yield "step_size = 0.1"
    else:
        yield "[measure]\nstep_size = 0.1"
    if name != "measure.space":
        yield '[measure.space]\nname = "quantiles"\ncells = 3'
    if name != "measure.energy.entropy":
        yield "[measure.energy.entropy]"


def test_for_machines():
    printed = json.loads(command("--defaults", "--json").stdout)["keys"]
    assert len(printed) == len(list(all_keys())) > 100
    (rank,) = (
        key
        for key in printed
        if key["table"] == "processes.free_energy_flow" and key["name"] == "rank"
    )
    assert rank["default"] == 1 and rank["type"] == "int" and "fluctuations" in rank["meaning"]


def test_a_configuration_in_full(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text("steps = 7\n[network]\nwidth = 5\n")
    config = load_text(command(str(path), "--set", "network.width=6").stdout)
    assert config == RunConfig(steps=7, network={"width": 6})
    assert json.loads(command(str(path), "--json").stdout)["network"]["width"] == 5


def test_bad_input(tmp_path):
    (tmp_path / "bad.toml").write_text("step = 7\n")
    refused = command(str(tmp_path / "bad.toml"))
    assert refused.exit_code == 2 and "did you mean 'steps'" in refused.stderr
    both = command("--defaults", str(tmp_path / "bad.toml"))
    assert both.exit_code == 2 and "--defaults must be given alone" in both.stderr


def test_parameters_of_a_docstring():
    text = """Does it.

    Parameters
    ----------
    a, b : int, optional
        Two
        numbers.
    c : {"x", "y"}
        A choice : of two.

    Returns
    -------
    d : float
        Not a parameter.
    """
    assert documented(text) == {
        "a": ("int", "Two numbers."),
        "b": ("int", "Two numbers."),
        "c": ('{"x", "y"}', "A choice : of two."),
    }
    assert documented(None) == documented("Nothing.") == {}
    assert not re.search(r"\(\)", as_toml())
