"""Progress where there is no terminal but a notebook, and what objects look like there."""

import sys
import types

import numpy as np
import pytest
import rich.console

import meanfield
import solvers
from meanfield.study.engine.progress import ProgressBars
from solvers.progress import progress_bar

VALLEY = meanfield.landscapes.Valley()


@pytest.fixture
def shown(monkeypatch):
    """A notebook with stand-ins for IPython and ipywidgets; what was displayed."""
    displayed = []

    class Output:
        def __enter__(self):
            return self

        def __exit__(self, *exception):
            return None

        def clear_output(self, wait=False):
            pass

    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    display = types.ModuleType("IPython.display")
    display.display = displayed.append
    widgets = types.ModuleType("ipywidgets")
    widgets.Output = Output
    widgets.__spec__ = types.SimpleNamespace(name="ipywidgets")
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setitem(sys.modules, "ipywidgets", widgets)
    monkeypatch.setattr(rich.console.Console, "print", lambda self, *a, **k: None)
    return displayed


def test_a_bar_is_a_widget(shown):
    with progress_bar(True, 3) as report:
        report(1, 3)
    assert type(shown[0]).__name__ == "Output"


def test_the_bars_of_a_run_are_widgets(shown):
    with ProgressBars() as bars:
        bars("gradient_descent", 1, 3)
    assert type(shown[0]).__name__ == "Output"
    shown.clear()
    with ProgressBars(quiet=True) as bars:
        bars("gradient_descent", 1, 3)
    assert not shown


def test_without_widgets_there_is_no_bar_and_no_warning(monkeypatch, capsys):
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    monkeypatch.setattr("solvers._support.bars.find_spec", lambda name: None)
    with progress_bar(True, 3) as report:
        report(1, 3)
    assert capsys.readouterr() == ("", "")


LARGE = np.random.default_rng(0).standard_normal((50, 3))
RUN = solvers.solve(solvers.GradientDescent(0.1), VALLEY, VALLEY.start, 50)
TASK = meanfield.tasks.Task(LARGE, LARGE[:, 0])


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (RUN, ["Solution(status='complete'", "centers=float64[51, 2]"]),
        (RUN.state, ["State(step=50", "values=float64[2, 2]", "flow=GradientDescent"]),
        (TASK, ["Task(name='data'", "inputs=float64[50, 3]", "targets=float64[50, 1]"]),
        (
            meanfield.Risk(meanfield.TwoLayerNetwork(3), TASK),
            ["Risk(TwoLayerNetwork(input_dim=3", "loss='squared'", "dtype='float64'"],
        ),
        (solvers.Particles(LARGE), ["Particles(positions=float64[50, 3], weights=float64[50])"]),
        (solvers.Grid(np.arange(51.0), np.full(50, 0.02)), ["Grid(edges=(float64[51],), masses="]),
        (solvers.Quantiles(np.arange(51.0)), ["Quantiles(values=float64[51])"]),
        (solvers.top_eigenpairs(VALLEY, VALLEY.start), ["Eigenpairs(values=float64[1]"]),
        (solvers.energies.Entropy(2.0), ["Entropy(temperature=2.0)"]),
    ],
)
def test_reprs_are_short_and_say_what_it_is(thing, words):
    text = repr(thing)
    assert all(word in text for word in words), text
    assert len(text.splitlines()) <= 4
    assert "array(" not in text and " object at 0x" not in text


def test_many_measures_are_counted():
    bowl = solvers.energies.Potential(lambda x: 0.5 * x[:, 0] ** 2)
    result = solvers.evolve(bowl, solvers.Quantiles([0.0, 1.0]), 1.0, step_size=0.1)
    assert "measures=(11 × Quantiles)" in repr(result)
