"""What README and the pages on Python, configurations and files show is true: Python, tables, and every call in the text."""

import re
from pathlib import Path

import numpy as np
import pytest

import meanfield
import solvers
import solvers.flows
from meanfield.study.config.run_config import load, load_text
from meanfield.study.engine.run import run
from tests.helpers.line_network import sine_risk

ROOT = Path(__file__).parent.parent


def page(name):
    return (ROOT / name).read_text(encoding="utf-8")


README, PYTHON = page("README.md"), page("docs/guides/python.md")


def blocks(name, language):
    return re.findall(rf"```{language}\n(.*?)```", page(name), re.DOTALL)


def test_the_readme_is_one_page():
    assert len(README.split()) <= 1200


def test_the_first_configuration_shown_is_the_default():
    assert load_text(blocks("docs/reference/configuration.md", "toml")[0]) == load()


def test_the_others_are_configurations():
    for text in blocks("docs/reference/configuration.md", "toml")[1:]:
        load_text(text)


@pytest.fixture(scope="module")
def small_result(tmp_path_factory):
    """The folder of a run, and what ``Result.open`` makes of it."""
    folder = tmp_path_factory.mktemp("readme") / "meanfield-run"
    run(load(None, ("task.n=20", "network.width=10")), folder)
    with meanfield.Result.open(folder) as result:
        yield folder, result


@pytest.mark.slow
@pytest.mark.essential
def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    """As printed, in a folder of its own, with fewer steps and neurons."""
    front_door, solving = blocks("README.md", "python")
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(front_door.replace("steps=300", "steps=20").replace("400}", "20}"), scope)
    assert scope["result"].status == "complete"
    exec(solving, scope)
    peaks = [scope[name].centers[:, 1].max() for name in ("descent", "flow")]
    assert peaks == pytest.approx([7.435, 7.435], abs=5e-4)


@pytest.mark.slow
@pytest.mark.essential
def test_the_python_examples_run(small_result, monkeypatch):
    networks, landscapes = blocks("docs/guides/python.md", "python")
    (results,) = blocks("docs/reference/run_file.md", "python")
    scope = {}
    exec(networks, scope)
    assert scope["descent"].status == scope["flow"].status == "complete"
    assert scope["values"][0] == pytest.approx(2.0, rel=0.05)
    exec(landscapes, scope)
    assert scope["model"].status == "complete"
    monkeypatch.chdir(small_result[0].parent)
    exec(results, scope)
    assert scope["result"].status == "complete"
    scope["result"].close()


# --- tables --------------------------------------------------------------------------------------

FLOWS = re.findall(r"^\| `(\w+)(?:\.(\w+))?\(([^)]*)\)` \|", README, re.MULTILINE)
VALLEY = meanfield.landscapes.Valley()
START = np.array(VALLEY.start)
LINE = sine_risk(2)
# the letters of the table; other names stand for the parameters so called, at their defaults
LETTERS = {"η": 0.3, "E": VALLEY, "x": START}
NEEDED = {"temperature": 0.0}


def test_the_table_of_flows_is_whole():
    named = {name for name, _, _ in FLOWS}
    assert named == {kind.__name__ for kind in solvers.flows.FLOWS.values()}


ROWS = [row.split(" | ") for row in README.splitlines() if re.match(r"\| `\w+(\.\w+)?\(", row)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_source_of_a_flow_in_the_table_is_that_of_its_class(row):
    name = re.search(r"\w+", row[0])[0]
    shown = re.findall(r"arXiv:(\d{4}\.\d{4,5})", row[-1])
    assert set(shown) <= set(getattr(solvers, name).sources())
    assert shown or name in ("GradientDescent", "GradientFlow", "JKOFlow")  # older than arXiv


@pytest.mark.parametrize(("name", "maker", "arguments"), FLOWS)
def test_every_flow_of_the_table_moves_what_it_is_for(name, maker, arguments):
    kind = getattr(solvers, name)
    positional, named = [], {}
    for argument in arguments.split(", "):
        if argument in LETTERS:
            positional.append(LETTERS[argument])
        elif argument in NEEDED:
            named[argument] = NEEDED[argument]
        else:
            default = {"modes": 1}.get(argument, getattr(kind, argument, None))
            assert default is not None, f"{name} has no parameter {argument}"
            named[argument] = default
    if name == "PhaseSpaceFlow":
        named["cells"] = (8, 8)
    flow = (getattr(kind, maker) if maker else kind)(*positional, **named)
    on_line = name == "PhaseSpaceFlow"
    objective = LINE if on_line else VALLEY
    if name in ("SharpnessFlow", "SqrtLossGradientDescent"):
        objective = meanfield.landscapes.ScalarFactorization()
    x0 = np.linspace(-1, 1, 5)[:, None] if on_line else np.array(objective.start or START)
    assert solvers.solve(flow, objective, x0, steps=2).status == "complete"


@pytest.mark.parametrize(
    "name", ["euler", "midpoint", "rk4", "adaptive", "rkc", "rock4", "chebyshev"]
)
def test_integrators_go_by_the_names_of_the_configuration(name):
    scheme = getattr(
        solvers, {"rk4": "RK4", "rkc": "RKC", "rock4": "ROCK4"}.get(name, name.title())
    )()
    flow = solvers.FreeEnergyFlow(0.3)
    by_name, by_object = (
        solvers.solve(flow, VALLEY, START, steps=3, integrator=i) for i in (name, scheme)
    )
    assert np.array_equal(by_name.centers, by_object.centers)


# --- calls in the text ---------------------------------------------------------------------------


def test_the_landscapes_that_are_named():
    (text,) = re.findall(r"`meanfield.landscapes` \(([^)]*)\)", PYTHON, re.DOTALL)
    for name in re.findall(r"`(\w+)`", text):
        landscape = getattr(meanfield.landscapes, name)()
        assert np.isfinite(landscape.value(landscape.start))
    made = meanfield.landscapes.Landscape(lambda x: x @ x)
    combined = 3 * (made + VALLEY).shifted([0.1, 0.2])
    x = np.array([0.5, 0.6])
    y = x - [0.1, 0.2]
    assert combined.value(x) == pytest.approx(3 * (y @ y + VALLEY.value(y)), rel=1e-14)


def test_the_attributes_of_a_solution_that_are_named():
    text = PYTHON[PYTHON.index("A `Solution` has") :].split("from which")[0]
    solution = solvers.solve(solvers.GradientDescent(0.3), VALLEY, START, steps=2)
    names = re.findall(r"`(\w+)`", text)
    assert len(names) >= 11
    for name in names[1:]:  # the first is Solution itself
        assert hasattr(solution, name), name


def test_torch_objective_as_it_is_called():
    torch = pytest.importorskip("torch")
    (call,) = re.findall(r"`meanfield\.TorchObjective\(([^)]*)\)`", PYTHON)
    arguments = {
        "module": torch.nn.Linear(2, 1),
        "loss": "squared",
        "inputs": np.eye(2),
        "targets": np.ones((2, 1)),
        "chunk_size": 1,
    }
    objective = meanfield.TorchObjective(*(arguments[name] for name in call.split(", ")))
    assert np.isfinite(objective.value(objective.initial()))


@pytest.mark.slow
@pytest.mark.essential
@pytest.mark.parametrize("which", ["result", "folder", "file", "text", "record"])
def test_run_figures_of_what_the_text_names(small_result, which):
    from meanfield.study.figures import run_figures

    folder, result = small_result
    given = {
        "result": result,
        "folder": folder,
        "file": folder / "run.h5",
        "text": str(folder),
        "record": result.record(),
    }[which]
    drawn = list(run_figures(given))
    assert {"loss", "sharpness", "oscillation", "distance", "free_energy"} <= {
        d.name for d in drawn
    }
    assert all(d.title and d.caption for d in drawn)


def test_run_figures_of_anything_else(tmp_path):
    from meanfield.study.figures import run_figures
    from meanfield.study.storage.schema import RunFileError

    with pytest.raises(ValueError, match="^run must be a meanfield.Result"):
        run_figures(42)
    with pytest.raises(RunFileError):
        run_figures(tmp_path / "nothing.h5")


def test_xarray_reads_the_file_with_nothing_of_ours(small_result):
    xarray = pytest.importorskip("xarray")
    folder, result = small_result
    with xarray.open_datatree(folder / "run.h5", engine="h5netcdf") as tree:
        assert set(result) <= set(tree.children)


def test_what_the_text_says_of_a_result(small_result):
    folder, _ = small_result
    with meanfield.Result.open(folder / "run.h5") as result:
        assert result.refresh() is result
        snapshots = result["gradient_descent"].snapshots
        assert snapshots.times[0] == 0 and len(snapshots) == len(snapshots.times)
        for name in ("time", "position", "fluctuation", "weight"):
            assert hasattr(snapshots[0], name)
        result.close()
