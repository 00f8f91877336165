"""A run and a width study, each small enough for every test."""

import pytest

from meanfield.study.config.run_config import load
from meanfield.study.engine import extend, resume, stored_start
from meanfield.study.storage.files import sandbox
from meanfield.study.storage.recovery import take_back
from meanfield.study.width import study as width_study
from meanfield.study.width.plan import make_plan

SMALL = (
    "steps=6",
    "learning_rate=0.5",
    "task.n=12",
    "network.width=8",
    "output.snapshot_every=4",
    "output.sharpness_every=3",
    "output.eigenvalues=2",
)


@pytest.fixture
def in_children():
    """What may hang or crash over a damaged file is done in child processes, as by a user."""


@pytest.fixture(autouse=True)
def _in_this_process(request, monkeypatch):
    """Unless a test is `in_children`, files are not read in a child process first and not taken back in one: these processes take
    longer than the runs of the tests. `tests/faults` has the damaged files that they are for."""
    if "in_children" in request.fixturenames:
        return
    monkeypatch.setattr(sandbox, "read_in_child", lambda path, read: None)
    for module in (extend, resume, stored_start):
        monkeypatch.setattr(module, "read_in_child", lambda path, read: None)
    for module in (extend, resume):
        monkeypatch.setattr(
            module, "take_back_in_child", lambda folder, path, about: take_back(path, about)
        )


@pytest.fixture(scope="session")
def small():
    return SMALL


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """The file of a run of the small study."""
    from meanfield.study.engine.run import run

    return run(load(None, SMALL), tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def record(small_run):
    """What is in it."""
    from meanfield.study.storage.writer import read_run

    return read_run(small_run)


# --- a width study -------------------------------------------------------------------------------

TINY = (
    "steps=6",
    "learning_rate=0.2",
    "task.name=teacher_student",
    "task.n=15",
    "task.input_dim=2",
    "output.snapshot_every=3",
    "output.sharpness_every=6",
)
OPTIONS = {"held_out": 20, "floor_draws": 2, "projections": 16, "sinkhorn_points": 8}


@pytest.fixture(scope="session")
def tiny():
    """A plan of two widths, two seeds and a reference of 64; keywords change it, settings are overrides."""

    def plan(*settings, widths=(8, 16), seeds=2, reference_width=64, **options):
        study = load(None, (*TINY, *settings))
        return make_plan(study, widths, seeds, reference_width, **(OPTIONS | options))

    return plan


def in_this_process(jobs, workers, threads, report, interruption):
    """As `do_jobs`, without other processes, which take seconds to start."""
    for job in jobs:
        job.function(*job.arguments, lambda fraction: None)
        report(job.name, 1.0)
    return {}


@pytest.fixture
def at_home(monkeypatch):
    monkeypatch.setattr(width_study, "do_jobs", in_this_process)


@pytest.fixture(scope="session")
def tiny_study(tiny, tmp_path_factory):
    """The folder of the tiny study, done."""
    folder = tmp_path_factory.mktemp("tiny") / "study"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(width_study, "do_jobs", in_this_process)
        outcome = width_study.run_width_study(tiny(), folder)
    assert outcome.path == folder / "study.h5" and not outcome.failures and not outcome.missing
    return folder
