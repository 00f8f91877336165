"""What the command loads before it does anything, and how soon it answers."""

import resource
import subprocess
import sys

import pytest

HELP = """
import sys
from meanfield.study.cli.app import app
try:
    app(["--help"])
except SystemExit:
    pass
heavy = {"numpy", "numba", "scipy", "ot", "matplotlib", "h5py", "pydantic"}
solvers = {m for m in sys.modules if m.startswith("solvers.") and not m.startswith("solvers._support")}
print("heavy:", *sorted(heavy & set(sys.modules) | solvers))
"""


def test_help_imports_nothing_heavy():
    command = [sys.executable, "-c", HELP]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "heavy:"


QUIET_RUN = """
import sys
from meanfield.study.cli.app import app
settings = ["--set", "task.n=12", "--set", "network.width=4", "--set", "steps=1"]
try:
    app(["run", *settings, "--quiet", "--no-figures", "--out", sys.argv[1]])
except SystemExit as end:
    assert not end.code
unneeded = {"matplotlib", "rich.progress", "scipy.linalg", "scipy.special", "scipy.sparse", "ot"}
print("unneeded:", *sorted(unneeded & set(sys.modules)))
"""


@pytest.mark.slow
@pytest.mark.essential
def test_a_quiet_run_imports_only_what_it_needs(tmp_path):
    command = [sys.executable, "-c", QUIET_RUN, str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "unneeded:"


DOCSTRINGS = """
import sys
from meanfield.study.cli.app import main
if sys.argv[1:]:
    try:
        main()
    except SystemExit as end:
        assert not end.code
from meanfield.study import figures
from matplotlib.artist import kwdoc
from matplotlib.lines import Line2D
print(*("antialiased" in text for text in (Line2D.set.__doc__, kwdoc(Line2D))))
"""


@pytest.mark.slow
@pytest.mark.essential
@pytest.mark.parametrize("arguments, listed", [([], "True"), (["--version"], "False")])
def test_only_in_the_command_docstrings_of_matplotlib_list_no_properties(arguments, listed):
    command = [sys.executable, "-c", DOCSTRINGS, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == f"{listed} True"


@pytest.mark.slow
@pytest.mark.essential
def test_help_answers_within_half_a_second():
    """Of one core: nobody else's work is counted, but what it does to the caches."""
    command = [sys.executable, "-c", HELP]

    def seconds():
        of_children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return of_children.ru_utime + of_children.ru_stime

    times = []
    for _ in range(5):
        before = seconds()
        subprocess.run(command, capture_output=True, check=True)
        times.append(seconds() - before)
    assert min(times) < 0.5
