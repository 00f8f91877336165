"""A run and a width study, each small enough for every test."""

import pytest

from meanfield.study.config.run_config import load
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
