"""Slow checks in bounded time: which of them are done, and which wait for their turn."""

import pytest

from tests.helpers import slow_checks
from tests.helpers.slow_checks import in_turn

pytest_plugins = ("pytester",)

FILE = """
import pytest

@pytest.mark.slow
@pytest.mark.essential
@pytest.mark.parametrize("i", range(2))
def test_always(i):
    pass

@pytest.mark.slow
@pytest.mark.parametrize("seed", [pytest.param(s, marks=pytest.mark.xdist_group(f"seed {s} NAME")) for s in range(3)])
@pytest.mark.parametrize("what", range(4))
def test_shared(seed, what):
    pass

@pytest.mark.slow
@pytest.mark.parametrize("i", range(5))
def test_alone(i):
    pass

def test_fast():
    pass
"""
INI = """
[pytest]
addopts = --strict-markers -p no:cacheprovider
markers =
    slow
    essential
    xdist_group
"""


@pytest.fixture
def suite(pytester, monkeypatch):
    """Runs the slow checks of three files; what became of each."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makefile(".ini", pytest=INI)
    for name in "abc":
        pytester.makepyfile(**{f"test_{name}": FILE.replace("NAME", name)})

    def run(*options):
        result = pytester.runpytest_inprocess(
            "-p", "tests.helpers.slow_checks", "-rA", "-m", "slow", *options
        )
        assert result.ret == 0
        outcomes = {}
        for line in result.outlines:
            for outcome in ("PASSED", "SKIPPED"):
                if line.startswith(outcome):
                    outcomes.setdefault(outcome, []).append(line.removeprefix(outcome).strip())
        return outcomes.get("PASSED", []), "\n".join(outcomes.get("SKIPPED", []))

    return run


ALL = 3 * (2 + 12 + 5)


def test_all_are_done_where_no_time_is_given(suite):
    passed, skipped = suite()
    assert len(passed) == ALL and not skipped


def test_all_are_done_in_ample_time(suite):
    passed, skipped = suite("--slow-minutes", "10")
    assert len(passed) == ALL and not skipped
    assert all("test_always" in name for name in passed[:6])


def test_the_essential_ones_are_done_in_no_time(suite):
    passed, skipped = suite("--slow-minutes", "0")
    assert len(passed) == 6 and all("test_always" in name for name in passed)
    assert "its turn comes later: 0 minutes are over" in skipped


class Minutes:
    """A clock on which a minute has passed whenever somebody looks."""

    now = 0.0

    def monotonic(self):
        self.now += 60.0
        return self.now


@pytest.mark.parametrize("turn", range(3))
def test_what_is_shared_is_used_to_the_end(suite, monkeypatch, turn):
    """Whatever the first groups are, of a seed either all or nothing is done."""
    monkeypatch.setattr(slow_checks, "time", Minutes())
    passed, skipped = suite("--slow-minutes", "6", "--slow-turn", str(turn))
    assert 6 + 6 <= len(passed) <= 6 + 6 * 4 and "its turn comes later" in skipped
    for name in "abc":
        for seed in range(3):
            found = [p for p in passed if f"test_{name}.py::test_shared" in p and f"-{seed}]" in p]
            assert len(found) in (0, 4)


def test_every_group_has_its_turn():
    groups = list("abcdefghijklmnopqrs")
    for turn in range(40):
        assert sorted(in_turn(groups, turn)) == groups
    assert {in_turn(groups, turn)[0] for turn in range(len(groups))} == set(groups)
    assert in_turn([], 3) == [] and in_turn(["a"], 5) == ["a"]
