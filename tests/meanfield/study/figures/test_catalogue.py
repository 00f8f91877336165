"""The one list of figures, from which the table of the docs is made."""

from matplotlib.figure import Figure

from meanfield.study import figures
from meanfield.study.cli.app import COMMANDS
from meanfield.study.figures import catalogue
from meanfield.study.figures.catalogue import COMPARISON, FIGURES, OVERVIEW, Entry
from meanfield.study.figures.evolution import SHOWS
from meanfield.study.figures.style import Drawn
from tests.helpers.pages import ROOT, text_of


def listed():
    return [name for entry in (*FIGURES, OVERVIEW, COMPARISON) for name in entry.shows]


def test_every_figure_of_a_run_is_in_the_list_once(record):
    drawn = [made.name for made in figures.all_figures(record)]
    assert len(set(listed())) == len(listed()) and len(set(drawn)) == len(drawn)
    assert drawn == [name for name in listed() if name in drawn]
    assert set(listed()) - set(drawn) == {
        "onset",
        "trajectories",
        "effective_sharpness",
        *SHOWS,
    }  # of no such run


def test_the_table_of_the_docs_is_that_of_the_list():
    assert catalogue.table() in text_of("reference/figures.md")


def test_a_new_figure_is_a_function_and_one_entry(record, monkeypatch):
    def steps(run):
        figure = Figure()
        for process in run.processes.values():
            figure.subplots().plot(process.observables["time"])
        yield Drawn("steps", "Steps", "The time of each row.", figure)

    monkeypatch.setattr(catalogue, "FIGURES", (*FIGURES, Entry({"steps": "time"}, steps)))
    assert [made.name for made in figures.run_figures(record)][-1] == "steps"
    assert "| `steps` | time |" in catalogue.table()


def test_every_module_of_a_command_is_in_the_list_of_commands():
    """A command is a module of its name, and one line in `COMMANDS`."""
    folder = ROOT / "meanfield/study/cli"
    modules = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    assert modules == {*COMMANDS, "app"}
