"""The slow checks in bounded time, as in CI: `pytest -m slow --slow-minutes 4 --slow-turn 17`.

First come those that are marked `essential`. The others follow in an order that is drawn once and for all, beginning where the
turn says, so that each gets its turn within a few; when the minutes are over no more of them begin. Tests of one `xdist_group`
share what takes long: they stay together, and are all done once one of them has begun. Without --slow-minutes all are done.
"""

import hashlib
import time

import pytest

#: By how many groups of tests one turn begins after the one before.
STRIDE = 7


def pytest_addoption(parser):
    options = parser.getgroup("slow checks")
    options.addoption(
        "--slow-minutes",
        type=float,
        metavar="M",
        help="begin slow checks for so many minutes only, the essential ones first and always",
    )
    options.addoption(
        "--slow-turn",
        type=int,
        default=0,
        metavar="K",
        help="where the others begin: any number, such as one drawn from the commit",
    )


def pytest_configure(config):
    if config.getoption("--slow-minutes") is not None:
        config.pluginmanager.register(_Bounded(config), "bounded slow checks")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """With `--dist loadgroup` the other tests of a file stay together too: its fixtures are made once."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.split("::")[0]))


class _Bounded:
    def __init__(self, config):
        self._minutes = config.getoption("--slow-minutes")
        self._turn = config.getoption("--slow-turn")
        self._end = time.monotonic() + 60 * self._minutes
        self._begun = set()

    def pytest_collection_modifyitems(self, items):
        others = sorted({_group(item) for item in items if _may_wait(item)}, key=_drawn)
        places = {group: place for place, group in enumerate(in_turn(others, self._turn), start=1)}
        items.sort(key=lambda item: places[_group(item)] if _may_wait(item) else 0)

    @pytest.hookimpl(tryfirst=True)  # before a fixture is made
    def pytest_runtest_setup(self, item):
        if not _may_wait(item) or _group(item) in self._begun:
            return
        if time.monotonic() > self._end:
            pytest.skip(f"its turn comes later: {self._minutes:g} minutes are over")
        if _shares(item):
            self._begun.add(_group(item))


def in_turn(groups, turn):
    """The groups from the turn's first one on."""
    first = turn * STRIDE % max(1, len(groups))
    return groups[first:] + groups[:first]


def _may_wait(item):
    return "slow" in item.keywords and "essential" not in item.keywords


def _group(item):
    marker = item.get_closest_marker("xdist_group")
    return marker.kwargs.get("name") or marker.args[0]


def _shares(item):
    """Whether its group is more than the tests of a file."""
    return _group(item) != item.nodeid.split("::")[0]


def _drawn(group):
    return hashlib.sha256(group.encode()).digest()
