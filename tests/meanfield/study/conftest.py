"""A study small enough for every test, and a run of it."""

import pytest

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
    from meanfield.study.config import load
    from meanfield.study.run import run

    return run(load(None, SMALL), tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def record(small_run):
    """What is in it."""
    from meanfield.study.snapshots import read_run

    return read_run(small_run)
