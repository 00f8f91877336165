"""What the tables measure, on runs made by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from meanfield.landscapes import Quartic, Valley

ETA = 0.5


@pytest.fixture
def c(load):
    return load("_common")


@pytest.fixture
def errors(load):
    return load("_errors")


@pytest.fixture
def made(c):
    """Runs of four measurements; of each the oscillation at every step, here the same four."""

    def run(centers, fluctuation, sharpness, predicted):
        n = len(centers)
        times, points = np.arange(n, dtype=float), np.array(centers, dtype=float)[:, None]
        scalars = (np.array(s, dtype=float) for s in (fluctuation, sharpness))
        predicted = np.array(predicted, dtype=float)
        rest = np.zeros((n, 2)), None, "complete", 1.0, times, np.array(fluctuation, float) ** 2
        return c.Run(times, points, *scalars, predicted, *rest)

    return {
        c.GD: run([0, 0, 0, 0], [9, 0.1, 1, 2], [3, 5, 4, 4], [2, 2, 2, 2]),
        c.PERTURBED: run([0, 0, 4, 3], [9, 0.1, 1, 2], [math.nan] * 4, [2, 2, 2, 2]),
        "late": run([0, 3, 4, 5], [0, 0, 0, 1], [1, 2, 8, 3], [2, 2, 2, 3]),
        "short": run([1, 1], [0, 0], [math.nan, 1], [2, 2]),
    }


def by_name(errors, table):
    return {row[0]: dict(zip(errors.HEADER, row, strict=True)) for row in table}


def test_errors_by_hand(c, errors, made):
    rows = by_name(errors, errors.error_table(Quartic(), made, ETA))
    late = rows["late"]
    assert late["RMS distance"] == f"{math.sqrt((9 + 16 + 25) / 4):.3g}"
    assert late["at the end"] == "5"
    assert late["peak ηS"] == "4"
    assert late["loss error"] == "25 %"  # √(1/4) of 2
    # gradient descent's tr Σ rises from 0.01 to 4: the level 0.2 is their mean; reached at 2, and here at 3
    assert late["onset delay"] == "+1"
    assert rows[c.GD]["onset delay"] == "+0"
    assert rows["short"]["onset delay"] == "–"
    assert rows["short"]["at the end"] == "–"
    assert rows["short"]["peak ηS"] == "0.5"


def test_what_is_within_gradient_descent_s_own_distance_is_marked(c, errors, made):
    """Its own is √(25/4) over time, 3 at the end."""
    ties = made[c.PERTURBED]
    made |= {"tie": ties, "closer": replace(ties, centers=0.9 * ties.centers)}
    made["late end"] = replace(ties, centers=ties.centers * [[1], [1], [0.5], [1.01]])
    made["stopped"] = replace(made["tie"], status="diverged at step 4")
    rows = by_name(errors, errors.error_table(Quartic(), made, ETA))
    assert (rows[c.PERTURBED]["RMS distance"], rows[c.PERTURBED]["at the end"]) == ("2.5", "3")
    assert (rows["tie"]["RMS distance"], rows["tie"]["at the end"]) == ("2.5 †", "3 †")
    assert (rows["closer"]["RMS distance"], rows["closer"]["at the end"]) == ("2.25 †", "2.7 †")
    assert (rows["late end"]["RMS distance"], rows["late end"]["at the end"]) == ("1.82 †", "3.03")
    assert (rows["stopped"]["RMS distance"], rows["late"]["RMS distance"]) == ("2.5", "3.54")
    assert rows[c.PERTURBED]["peak ηS"] == "–"


def test_means_over_starts_are_of_what_every_start_has(c, errors, made):
    first = errors.errors(Quartic(), made, ETA)
    second = errors.errors(Quartic(), {**made, "late": made["short"]}, ETA)
    rows = by_name(errors, errors.cells(errors.average([first, second])))
    assert rows["late"]["RMS distance"] == f"{(math.sqrt(12.5) + 1) / 2:.3g} †"
    assert rows["late"]["onset delay"] == "–" and rows[c.GD]["onset delay"] == "+0"
    header, table = errors.start_by_start([first, second])
    assert header == ["process", "start 0", "start 1"]
    assert table[2] == ["late", "3.54 (+1)", "1 † (–)"]


def test_columns_are_added_before_the_seconds_and_left_out(errors, made):
    extra = {"mine": ["a", "b", "c", "d"]}
    table = errors.error_table(Quartic(), made, ETA)
    header, rows = errors.extended(table, extra, without=["at the end", "at step"])
    assert header == [
        *("process", "RMS distance", "peak ηS", "onset delay", "loss error"),
        *("mine", "seconds", "status"),
    ]
    assert [row[5:] for row in rows] == [[x, "1.0", "complete"] for x in "abcd"]


def test_gradient_descent_runs_again_from_one_rounding_away(c):
    """At ηS = ½ its distance to itself halves from step to step, and is that of the starts."""
    landscape, start = Quartic(0.5, 1e-300), np.array([0.7])
    runs = c.measure_all(c.models(1.0, c.GD, "rod flow"), landscape, start, 6, every=2)
    assert list(runs) == [c.GD, c.PERTURBED, "rod flow"] == [c.GD, c.PERTURBED, *c.models_of(runs)]
    assert runs[c.PERTURBED].steps.tolist() == list(range(7))
    away = abs(runs[c.PERTURBED].iterates[0, 0] - 0.7)
    assert 0 < away <= 2 * np.spacing(0.7)
    gap = c.distances(landscape, runs[c.PERTURBED], runs[c.GD])
    # centers are rounded once
    np.testing.assert_allclose(gap, 0.75 * away * 4.0 ** -np.arange(4), atol=np.spacing(0.7))


def test_a_measured_run_is_the_solver_s(c):
    """Its ends are the losses of consecutive iterates, and every third step is kept, and the last."""
    landscape, eta = Quartic(), 0.21
    flow = c.models(eta, c.GD)[c.GD]
    run = c.measure(flow, landscape, np.array([0.3]), 10, every=3)
    assert run.times.tolist() == [0, 3, 6, 9, 10]
    x = [np.array([0.3])]
    for _ in range(11):
        x.append(x[-1] - eta * landscape.gradient(x[-1]))
    values = [landscape.value(p) for p in x]
    for t, ends, predicted in zip(run.times.astype(int), run.ends, run.predicted, strict=True):
        # rounding of w ± u
        assert sorted(ends) == pytest.approx(sorted(values[t : t + 2]), rel=1e-13)
        assert predicted == pytest.approx(np.mean(values[t : t + 2]), rel=1e-13)


def test_runs_of_an_interrupted_script_are_kept(c, load, tmp_path, monkeypatch):
    """The same flow from the same start is measured once; another flow, start or length is not taken for it."""
    kept, landscape, x = load("_kept").Kept(tmp_path / "kept", False), Quartic(), np.array([0.3])
    flow, other = (c.models(eta, c.GD)[c.GD] for eta in (0.21, 0.22))
    first = kept.measure(flow, landscape, x, 6)
    kept.measure(other, landscape, x, 6), kept.measure(flow, landscape, 2 * x, 6)
    assert kept.measure(flow, landscape, x, 5).times[-1] == 5
    monkeypatch.setattr(c, "measure", None)
    again = load("_kept").Kept(tmp_path / "kept", True)
    for start in (x, 2 * x):
        found = again.measure(flow, landscape, start, 6)
        np.testing.assert_array_equal(found.centers[0] - first.centers[0] == 0, start == x)
    found = again.measure(flow, landscape, x, 6)
    for name in ("centers", "trace", "ends", "iterates", "status", "seconds"):
        np.testing.assert_array_equal(getattr(found, name), getattr(first, name))
    assert found.distance is None
    again.remove()
    assert not list(tmp_path.iterdir())


def test_of_several_fluctuations_the_largest_gives_the_ends(c):
    """Central flow in a valley: Σ = σ²vvᵀ with the top eigenvector v, among eight fluctuations."""
    valley, eta, start = Valley(), 0.3, np.array([0.0, 6.66])
    run = c.measure(c.models(eta, "central flow")["central flow"], valley, start, 20)
    w, size = run.centers[-1], run.fluctuation[-1]
    assert size > 0.1
    vector = np.linalg.eigh(np.array([valley.hvp(w, e) for e in np.eye(2)]))[1][:, -1]
    expected = [valley.value(w + sign * size * vector) for sign in (-1, 1)]
    # the modes are those at the step's start, by its motion off
    assert sorted(run.ends[-1]) == pytest.approx(sorted(expected), rel=1e-3)


def test_tables_are_printed_and_saved_alike(c, tmp_path, capsys):
    c.save_table(tmp_path, "t", "Title", ["a", "bb"], [["1", "2"], ["333", "4"]], "Notes.")
    expected = "## Title\n\n| a   | bb |\n| --- | -- |\n| 1   | 2  |\n| 333 | 4  |\n\nNotes.\n\n"
    assert (tmp_path / "t.md").read_text(encoding="utf-8") == expected
    assert capsys.readouterr().out == expected
    c.prepare(tmp_path, "t")
    assert not list(tmp_path.iterdir())
