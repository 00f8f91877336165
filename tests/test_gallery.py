"""The gallery of the site: its examples are short, have one figure each, and run; what is wrong beside them is told."""

import ast
import re

import numpy as np
import pytest

import meanfield
import solvers
from tests.helpers.gallery import DOCS, EXAMPLES, ROOT, code_lines, run_script

GROUPS = ("landscapes", "networks", "models", "measures", "files", "extending", "papers")
CHEAP = {"plot_zigzag", "plot_transport_plan"}
PYTORCH = {
    "plot_torch_spectrum",
    "plot_onset_mlp",
    "plot_image_mlp",
    "plot_image_cnn",
    "plot_image_quiet",
    "plot_image_rmsprop",
}
XARRAY = {"plot_xarray", "plot_sweep"}


def names(paths):
    return [path.stem for path in paths]


def test_there_are_twenty_examples_and_every_group_has_some():
    groups = [path.parent.name for path in EXAMPLES]
    assert set(groups) == set(GROUPS)
    assert len([group for group in groups if group != "papers"]) >= 20
    assert len(set(names(EXAMPLES))) == len(EXAMPLES)


def test_every_figure_of_the_scripts_has_a_page():
    """A page is the literature's if it computes with the functions of one of the scripts."""
    used = {
        found
        for path in EXAMPLES
        if path.parent.name == "papers"
        for found in re.findall(r"import (fig_\w+) as script", path.read_text(encoding="utf-8"))
    }
    assert used == {path.stem for path in (ROOT / "scripts").glob("fig_*.py")}


@pytest.mark.parametrize("path", EXAMPLES, ids=names(EXAMPLES))
def test_an_example_is_short_titled_and_has_one_figure(path):
    source = path.read_text(encoding="utf-8")
    title, line, empty, *text = (ast.get_docstring(ast.parse(source)) or "").split("\n")
    assert line == "=" * len(title) and not empty and len(" ".join(text)) > 100
    assert not re.search(
        r"(?<!\w)\|\w+\|", " ".join(text)
    )  # to reStructuredText, the name of a substitution
    assert not re.search(r"\w-$", "\n".join(text), re.MULTILINE)  # a space would follow
    assert code_lines(source) < 40
    drawn = len(re.findall(r"plt\.subplots\(|^result\.figures\[", source, re.MULTILINE))
    assert drawn == 1
    private = re.findall(r"(?:meanfield|solvers)[\w.]*\._\w|\b\w+\._[a-z]\w*\(", source)
    assert not private


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [p for p in EXAMPLES if p.stem not in CHEAP], ids=lambda path: path.stem
)
def test_an_example_runs(path):
    if path.stem in PYTORCH:
        pytest.importorskip("torch")
    if path.stem in XARRAY:
        pytest.importorskip("xarray")
    figures = int(run_script(path, path.parent).rsplit("figures: ", 1)[1])
    assert figures == ("plt." in path.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.essential
@pytest.mark.parametrize(
    "path", [p for p in EXAMPLES if p.stem in CHEAP], ids=lambda path: path.stem
)
def test_a_cheap_example_runs_elsewhere(path, tmp_path):
    """A downloaded script needs nothing beside it."""
    assert run_script(path, tmp_path).endswith("figures: 1\n")


# --- beside what is documented --------------------------------------------------------------------

VALLEY = meanfield.landscapes.Valley()
LINE = meanfield.tasks.Task(np.linspace(-1, 1, 5)[:, None], np.zeros(5), "line")
RISK = meanfield.Risk(meanfield.TwoLayerNetwork(1), LINE)


def run_config(**changes):
    return meanfield.RunConfig(**changes)


WRONG = {
    "landscapes: a start of three coordinates": (
        lambda: solvers.solve(solvers.GradientDescent(0.3), VALLEY, [0.0, 6.0, 1.0], 3),
        "x must have shape (2,), got (3,)",
    ),
    "landscapes: a negative rate": (
        lambda: solvers.GradientDescent(-0.3),
        "learning_rate must be a finite number above 0, got -0.3",
    ),
    "networks: particles of another network": (
        lambda: solvers.solve(solvers.GradientDescent(0.3), RISK, np.zeros((4, 5)), 3),
        "x must have shape (N, 3) with N ≥ 1, got (4, 5)",
    ),
    "networks: an unknown activation": (
        lambda: meanfield.TwoLayerNetwork(1, activation="swish"),
        "activation must be one of 'tanh', 'relu', 'gelu', 'erf', 'sigmoid', 'softplus', 'sin', 'quadratic', got 'swish'",
    ),
    "networks: more images than there are": (
        lambda: meanfield.tasks.digits(n=2000),
        "n must be an integer from 1 to 1797, got 2000",
    ),
    "models: a delay with exact growth": (
        lambda: solvers.FreeEnergyFlow(0.3, growth="exact", delay=True),
        "growth must be 'linear' where delay=True, got 'exact'",
    ),
    "measures: quantiles that fall": (
        lambda: solvers.Quantiles([1.0, 0.0]),
        "values must not decrease, got 1 followed by 0",
    ),
    "measures: points of other dimensions": (
        lambda: solvers.transport.w2(np.zeros((3, 2)), np.zeros((3, 1))),
        "y must have dimension 2, as x, got 1",
    ),
    "measures: an interaction that is not even": (
        lambda: solvers.energies.Interaction(lambda r: r[:, 0]).value([[0.0], [1.0]]),
        "function must be even, W(x − y) = W(y − x), got one that is not",
    ),
    "files: a process of another name": (
        lambda: run_config(processes={"free_energy_flw": {}}),
        "got 'free_energy_flw'; did you mean 'free_energy_flow'?",
    ),
    "files: a sweep over an unknown key": (
        lambda: meanfield.sweep(run_config(), {"learning_rte": [0.1]}),
        "learning_rte is not a known key; known keys: ",
    ),
    "extending: a function of the wrong shape": (
        lambda: meanfield.landscapes.Landscape(lambda x: x).value([0.0, 1.0]),
        "function must return one number, got an array of shape (2,) and dtype float64",
    ),
    "extending: an objective without a gradient": (
        lambda: solvers.solve(solvers.GradientDescent(0.3), object(), [0.0], 3),
        "objective must be an object with a method value, which GradientDescent needs, got ",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told(name):
    call, message = WRONG[name]
    with pytest.raises(ValueError) as refused:
        call()
    told = str(refused.value)
    assert (
        message in told if message.endswith(" ") or message.startswith("got") else message == told
    )


def test_the_pages_name_their_groups():
    for group in GROUPS:
        assert any(DOCS.glob(f"gallery/{group}/README.*")), group
