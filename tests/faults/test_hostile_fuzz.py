"""Some hundred hostile files per loader, the same ones every time; ``scripts/fuzz.py`` takes as many as there is time for."""

import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meanfield.study.config.run_config import ConfigError, load
from tests.faults.hostile_pool import GOOD, fuzz

COUNTS = {"toml": 60, "npz": 300, "hdf5": 100, "cifar": 300, "checkpoint": 100, "journal": 40}
# What a loader without protection does with the same files.
GUILTY = {
    "toml": {"wrote"},
    "npz": {"executed"},
    "hdf5": {"leaked"},
    "cifar": {"executed", "wrote"},
    "checkpoint": {"traceback"},
    "journal": {"traceback"},
}
UNSAFE_COUNT = 60


@pytest.mark.slow
@pytest.mark.parametrize("loader", COUNTS)
def test_a_hostile_file_earns_a_message_and_no_more(tmp_path, loader):
    tally = fuzz(loader, COUNTS[loader], tmp_path)
    assert tally.bad == []
    assert sum(tally.counts[outcome] for outcome in GOOD) == COUNTS[loader]
    assert all(tally.counts[outcome] for outcome in GOOD)  # some were harmless


@pytest.mark.slow
def test_a_journal_that_makes_the_library_hang_is_found_out_by_the_trial(tmp_path):
    """The file alone can be read; with the journal beside it HDF5 looks for an attribute for ever."""
    tally = fuzz("journal", 1, tmp_path, seed=7, first=1663)
    assert tally.counts == {"refused": 1}


@pytest.mark.slow
@pytest.mark.parametrize("loader", GUILTY)
def test_a_loader_without_protection_is_found_guilty(tmp_path, loader):
    tally = fuzz(loader, UNSAFE_COUNT, tmp_path, unsafe=True)
    assert GUILTY[loader] <= {said["outcome"] for said in tally.bad}


KEYS = st.sampled_from(
    ["steps", "task", "task.n", "processes", "x.y", "risk.dtype", "seed", "landscape"]
)
SCALARS = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.text(string.printable, max_size=20)
)
VALUES = st.one_of(SCALARS.map(repr), st.lists(SCALARS, max_size=3).map(repr), st.text(max_size=20))
SOME = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@SOME
@given(st.lists(st.tuples(KEYS, VALUES), max_size=3))
def test_any_override_is_a_study_or_a_configuration_error(pairs):
    try:
        study = load(None, tuple(f"{key}={value}" for key, value in pairs))
    except ConfigError as error:
        assert str(error)
    else:
        assert study.steps >= 0


def _lines(pairs: list[tuple[str, str]]) -> bytes:
    return "\n".join(f"{key} = {value}" for key, value in pairs).encode("utf-8", "replace")


BYTES = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(str.encode),
    st.lists(st.tuples(KEYS, VALUES), max_size=4).map(_lines),
)


@SOME
@given(content=BYTES)
def test_any_bytes_are_a_study_or_a_configuration_error(tmp_path, content):
    path = tmp_path / "study.toml"
    path.write_bytes(content)
    try:
        load(path)
    except ConfigError as error:
        assert str(error)
