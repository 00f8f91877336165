"""docs/guides/writing_a_flow.md, step by step: a flow of one's own is solved, run into a file, compared, drawn and reported."""

import re
from pathlib import Path

import numpy as np
import pytest

import meanfield
import solvers
from meanfield.study.analysis.comparison import compare
from meanfield.study.engine.run import run
from meanfield.study.figures.catalogue import run_figures
from meanfield.study.report import run_sections
from meanfield.study.storage.writer import read_run
from solvers.flows import FLOWS

PAGE = Path(__file__).parent.parent / "docs" / "guides" / "writing_a_flow.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
(RUN,) = (block for block in BLOCKS if "meanfield.run(" in block)


@pytest.fixture(scope="module")
def page():
    """The names that the page's code defines, but for the run from Python; the list of flows is then as it was before."""
    kept = FLOWS._known, FLOWS._registered
    FLOWS._known, FLOWS._registered = dict(FLOWS._known), set()
    scope = {"__name__": "page"}
    for block in BLOCKS:
        if block is not RUN:
            exec(block, scope)
    yield scope
    FLOWS._known, FLOWS._registered = kept


def test_it_has_twenty_lines():
    lines = [line for line in BLOCKS[0].splitlines() if line.strip()]
    assert len(lines) <= 20


def error(flow, eta, time=8.0):
    """Of the center against gradient descent's, at one time of the gradient flow."""
    valley, x0, steps = meanfield.landscapes.Valley(), [1.0, 1.0], round(time / eta)
    descent, model = (
        solvers.solve(one, valley, x0, steps, save_every=steps)
        for one in (solvers.GradientDescent(eta), flow)
    )
    return np.linalg.norm(descent.centers[-1] - model.centers[-1])


def test_it_is_of_second_order_in_the_learning_rate(page):
    """Barrett and Dherin: the gradient flow, started alike, is of first order."""
    flow = page["ModifiedFlow"]
    modified = [error(flow(eta), eta) for eta in (0.04, 0.02)]
    plain = [error(flow(eta, strength=0.0), eta) for eta in (0.04, 0.02)]
    assert modified[0] / modified[1] == pytest.approx(4.0, rel=0.1)
    assert plain[0] / plain[1] == pytest.approx(2.0, rel=0.1)


def test_its_options_are_checked(page):
    with pytest.raises(ValueError) as refused:
        page["ModifiedFlow"](0.1, strength=-1)
    assert f"`{refused.value}`" in PAGE.read_text(encoding="utf-8")


def test_registered_it_has_a_table(page):
    process = page["config"].processes["modified_flow"]
    assert process.options == {"strength": 0.5} and process.time_stepping == {"dt": 0.5}


@pytest.fixture(scope="module")
def record(page, tmp_path_factory):
    """A run of the page's registered flow by its name, with another one's options."""
    config = meanfield.RunConfig(
        learning_rate=0.5,
        steps=40,
        task={"name": "digits", "n": 50},
        network={"width": 20},
        processes={
            "gradient_descent": {},
            "gradient_flow": {},
            "mine": {"flow": "modified_flow", "dt": 0.5},
        },
    )
    return read_run(run(config, tmp_path_factory.mktemp("own")))


def test_its_run_is_in_a_file_and_compared(record):
    process = record.processes["mine"]
    assert (process.flow, process.status) == ("modified_flow", "complete")
    assert np.isnan(process.observables["dissipated"]).all()
    rows = {row["process"]: row for row in compare(record)}
    assert 0 < rows["mine"]["final_distance"] < rows["gradient_flow"]["final_distance"]


def test_its_run_is_drawn_and_reported(record, monkeypatch):
    loss = next(drawn.figure for drawn in run_figures(record) if drawn.name == "loss")
    assert "mine" in [str(line.get_label()) for line in loss.axes[0].lines]
    monkeypatch.setattr("meanfield.study.report.figures.run_figures", lambda run: iter(()))
    assert "mine (modified flow)" in run_sections.report(record).text


@pytest.mark.slow
@pytest.mark.essential
def test_an_object_goes_into_a_run(page):
    scope = dict(page)
    exec(RUN, scope)
    result = scope["result"]
    assert result.status == "complete" and "mine" in list(result)
    rows = {row["process"]: row for row in result.compare()}
    assert 0 < rows["mine"]["final_distance"] < rows["gradient_flow"]["final_distance"]
