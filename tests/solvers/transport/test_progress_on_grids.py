"""Progress of transport between densities on a grid."""

from itertools import pairwise

import numpy as np
import pytest

import solvers
from meanfield.study.analysis import measure_distance

EDGES = (np.linspace(-4.0, 4.0, 33),) * 2


@pytest.fixture
def shown(monkeypatch, capsys):
    """What a terminal showed since the last call."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    return lambda: "".join(capsys.readouterr())


def heaps(*centers):
    def density(x):
        return sum(np.exp(-np.sum((x - c) ** 2, axis=1)) for c in centers)

    return solvers.Grid.from_density(EDGES, density, 2)


HEAP, MOVED, APART = heaps([0.0, 0.0]), heaps([1.0, 0.5]), heaps([-2.0, 0.0], [2.0, 0.5])
OPTIONS = {"require_convergence": False, "max_bytes": 2**30}


def reports(x, y, **options):
    """What a callable heard, as shares of the whole, and the result."""
    seen = []
    result = solvers.transport.w2(x, y, progress=lambda *at: seen.append(at), **OPTIONS | options)
    (total,) = {total for _, total in seen}
    return [done / total for done, _ in seen], result


@pytest.fixture
def torn(monkeypatch):
    """Newton's method does not do, and the simplex takes over."""
    monkeypatch.setattr("solvers.grid_transport.distance._ITERATIONS", 2)
    monkeypatch.setattr(
        "solvers.transport.grid_simplex._MOST_CELLS", 2**10
    )  # the grid is not made finer


def test_a_callable_hears_of_newtons_method():
    done, result = reports(HEAP, MOVED)
    assert done[0] == 0 and done[-1] == 1 and len(set(done)) >= 5
    assert all(a <= b for a, b in pairwise(done))
    silent = solvers.transport.w2(HEAP, MOVED, **OPTIONS)
    assert (result.distance, result.gap) == (silent.distance, silent.gap)
    # half of the work where the simplex may follow, and all of it where there is no memory for that
    assert 0.5 in done and 0.5 not in reports(HEAP, MOVED, max_bytes=50_000_000)[0]


def test_a_callable_hears_of_the_simplex(torn):
    done, result = reports(HEAP, APART)
    assert done[0] == 0 and done[-1] == 1 and all(a <= b for a, b in pairwise(done))
    assert sum(0.5 < share < 1.0 for share in done) >= 2
    silent = solvers.transport.w2(HEAP, APART, **OPTIONS)
    assert (result.distance, result.gap) == (silent.distance, silent.gap)


def test_a_bar_on_a_terminal_ends_at_its_total(shown):
    solvers.transport.w2(HEAP, MOVED, progress=True)
    assert "1000/1000" in shown()


def test_no_bar_unless_it_is_asked_for(shown):
    solvers.transport.w2(HEAP, MOVED)
    assert shown() == ""


def test_no_bar_without_a_terminal(capsys):
    solvers.transport.w2(HEAP, MOVED, progress=True)
    assert capsys.readouterr() == ("", "")


def test_other_measures_have_no_bar(shown):
    solvers.transport.w2([0.0, 1.0], [2.0, 3.0], progress=True)
    assert shown() == ""


def test_progress_must_be_a_flag_or_callable():
    with pytest.raises(ValueError, match="progress must be True or False"):
        solvers.transport.w2(HEAP, MOVED, progress=3)


class Snapshot:
    """What a snapshot of a run has."""

    def __init__(self, measure):
        self.measure = measure

    def describe(self):
        return {}


def test_distances_of_snapshots_show_it(shown):
    measure_distance.distance(Snapshot(HEAP), Snapshot(MOVED))
    assert shown() == ""
    measure_distance.distance(Snapshot(HEAP), Snapshot(MOVED), progress=True)
    assert "1000/1000" in shown()
