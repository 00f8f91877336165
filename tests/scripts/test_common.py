"""What the tables measure, on runs made by hand."""

import math

import numpy as np
import pytest

from meanfield.landscapes import Quartic, Valley

ETA = 0.5


@pytest.fixture
def c(load):
    return load("_common")


@pytest.fixture
def made(c):
    """Runs of four measurements."""

    def run(centers, fluctuation, sharpness, predicted):
        n = len(centers)
        times, points = np.arange(n, dtype=float), np.array(centers, dtype=float)[:, None]
        scalars = (np.array(s, dtype=float) for s in (fluctuation, sharpness))
        predicted = np.array(predicted, dtype=float)
        return c.Run(times, points, *scalars, predicted, np.zeros((n, 2)), None, "complete", 1.0)

    return {
        c.GD: run([0, 0, 0, 0], [9, 0.1, 1, 2], [3, 5, 4, 4], [2, 2, 2, 2]),
        "late": run([0, 3, 4, 5], [0, 0, 0, 1], [1, 2, 8, 3], [2, 2, 2, 3]),
        "short": run([1, 1], [0, 0], [math.nan, 1], [2, 2]),
    }


def test_errors_by_hand(c, made):
    rows = {row[0]: dict(zip(c.HEADER, row, strict=True)) for row in table(c, made)}
    late = rows["late"]
    assert late["RMS distance"] == f"{math.sqrt((9 + 16 + 25) / 4):.3g}"
    assert late["at the end"] == "5"
    assert late["peak ηS"] == "4"
    assert late["loss error"] == "25 %"  # √(1/4) of 2
    # S > 2/η = 4 from t = 1 on: half of the largest |u| from there, 1, is reached at 2, and here at 3
    assert late["onset delay"] == "+1"
    assert rows[c.GD]["onset delay"] == "+0"
    assert rows["short"]["onset delay"] == "–"
    assert rows["short"]["at the end"] == "–"
    assert rows["short"]["peak ηS"] == "0.5"


def table(c, made):
    return c.error_table(Quartic(), made, ETA)


def test_columns_are_added_before_the_seconds_and_left_out(c, made):
    extra = {"mine": ["a", "b", "c"]}
    header, rows = c.extended(table(c, made), extra, without=["at the end", "at step"])
    assert header == [
        *("process", "RMS distance", "peak ηS", "onset delay", "loss error"),
        *("mine", "seconds", "status"),
    ]
    assert [row[5:] for row in rows] == [[x, "1.0", "complete"] for x in "abc"]


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
