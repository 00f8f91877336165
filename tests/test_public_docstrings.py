"""Every public name has a docstring with an example, and the examples give what they say.

They assume ``import numpy as np, solvers, meanfield``, and a finished run and a finished width study in the current folder.
"""

import doctest
import shutil

import numpy as np
import pytest

import meanfield
import solvers
from meanfield.tasks import TASKS
from solvers.flows import FLOWS
from tests.helpers.pages import public_names

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
DOCUMENTED = {entry.full: entry.thing for entry in public_names() if not entry.is_data}
NAMES = sorted(DOCUMENTED)


def examples(name):
    globs = {"np": np, "solvers": solvers, "meanfield": meanfield}
    text = DOCUMENTED[name].__doc__ or ""
    return doctest.DocTestParser().get_doctest(text, globs, name, None, None)


def shown(name):
    return DOCUMENTED[name].__doc__.partition("Examples\n")[2]


def needs_study(name):
    """Whether its example starts worker processes, or reads what they wrote."""
    return any(word in shown(name) for word in ('"study"', "width_study("))


def is_slow(name):
    """Whether its example runs something into a file, or compiles kernels of its own."""
    files = ("meanfield.run(", "meanfield-run", "sweep(")
    kernels = (
        "Risk(",
        "forward(",
        "teacher_student(",
        "PhaseSpacePDE",
        "PhaseSpaceFlow",
        "Quartic",
        "GridJKO(",
    )
    others = ("torch", "mpi4py", "Communicator", "VaryingTrough", "CentralFlow(")
    return any(word in shown(name) for word in (*files, *kernels, *others))


FAST = [name for name in NAMES if not is_slow(name) and not needs_study(name)]
SLOW = [name for name in NAMES if is_slow(name) and not needs_study(name)]
OF_STUDIES = [name for name in NAMES if needs_study(name)]


def test_every_name_has_an_example():
    for name in NAMES:
        assert "Examples\n" in DOCUMENTED[name].__doc__, name
        assert examples(name).examples, name


CONFIG = meanfield.RunConfig(
    steps=20,
    task={"name": "digits", "n": 20},
    network={"width": 10},
    output={"snapshot_every": 10},
)


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    meanfield.run(CONFIG, folder / "meanfield-run").close()
    return folder


@pytest.fixture(scope="module")
def finished_study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    meanfield.width_study(CONFIG, [4, 8], 2, folder / "study", reference_width=32, jobs=1)
    return folder


@pytest.fixture(autouse=True)
def registries_as_they_were(monkeypatch):
    for registry in (FLOWS, TASKS):
        for table in ("_known", "_registered"):
            monkeypatch.setattr(registry, table, getattr(registry, table).copy())


def check(name):
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    told = []
    runner.run(examples(name), out=told.append)
    assert not runner.failures, "".join(told)


@pytest.mark.parametrize("name", FAST)
def test_its_example_gives_what_it_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(name)


@pytest.mark.slow
@pytest.mark.essential
@pytest.mark.parametrize("name", SLOW)
def test_its_example_with_files_or_kernels(name, finished_run, tmp_path, monkeypatch):
    if "distributed" in name and not _has_mpi():
        pytest.skip("no MPI library")
    shutil.copytree(finished_run, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_STUDIES)
def test_its_example_with_a_study(name, finished_study, tmp_path, monkeypatch):
    shutil.copytree(finished_study, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    check(name)


def _has_mpi():
    try:
        from mpi4py import MPI  # noqa: F401
    except (ImportError, RuntimeError):
        return False
    return True
