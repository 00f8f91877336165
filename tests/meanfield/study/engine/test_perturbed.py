"""Gradient descent from one rounding away: its distance where that is known, and what is said of models that are as close."""

import json
from dataclasses import replace
from itertools import pairwise

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meanfield.study.analysis.comparison import PERTURBED_TITLE, compare, spread_notes
from meanfield.study.analysis.stored_run import StoredRun
from meanfield.study.analysis.summary import summarize
from meanfield.study.config.run_config import load, load_text
from meanfield.study.engine.build import build_problem
from meanfield.study.engine.given import Given
from meanfield.study.engine.perturbed import one_rounding_away
from meanfield.study.engine.prepared_run import Options
from meanfield.study.engine.run import run
from meanfield.study.figures.catalogue import run_figures
from meanfield.study.storage.schema import RunFileError
from meanfield.study.storage.writer import read_run
from meanfield.study.width.plan import Run, make_plan
from meanfield.study.width.runs import fault
from tests.helpers.commands import meanfield_command

GD, NAME = "gradient_descent", "gradient_descent/perturbed"
QUARTIC = """
learning_rate = 1.0
steps = {steps}
landscape = {{ name = "quartic", curvature = {curvature}, quartic = {quartic}, start = [{start!r}] }}
output = {{ snapshot_every = 1, sharpness_every = 1000 }}
[processes.gradient_descent]
[processes.gradient_flow]
integrator = "rk4"
dt = 0.25
"""


def quartic(tmp_path, **numbers):
    return read_run(run(load_text(QUARTIC.format(**numbers)), tmp_path))


@pytest.fixture(scope="module")
def chaotic(tmp_path_factory):
    """E = 2w² − w⁴, η = 1: w → 4w³ − 3w, which is cos θ → cos 3θ."""
    folder = tmp_path_factory.mktemp("chaotic")
    return quartic(folder, steps=200, curvature=4.0, quartic=4.0, start=0.6)


# --- the start -----------------------------------------------------------------------------------

NUMBERS = st.floats(1e-290, 1e290) | st.floats(-1e290, -1e-290)


@given(st.lists(NUMBERS, min_size=1, max_size=9), st.integers(0, 2**70))
def test_every_entry_moves_by_one_or_two_units_in_its_last_place(values, seed):
    x = np.array(values)
    moved = one_rounding_away(x, seed)
    units = np.abs(moved - x) / np.minimum(np.spacing(np.abs(x)), np.spacing(np.abs(moved)))
    assert np.all((units == 1) | (units == 2))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_signs_are_those_of_the_seed_and_zeros_stay(dtype):
    x = np.random.default_rng(0).standard_normal((300, 7)).astype(dtype)
    x[5] = 0
    moved = one_rounding_away(x, 3)
    assert moved.dtype == dtype and moved.shape == x.shape
    np.testing.assert_array_equal(moved, one_rounding_away(x, 3))
    assert np.all((moved == x) == (x == 0))
    away = np.abs(moved) > np.abs(x)
    assert 0.4 < np.mean(away[x != 0]) < 0.6
    assert not np.array_equal(moved, one_rounding_away(x, 4))


# --- the distance, where it is known -------------------------------------------------------------


def test_below_the_edge_it_contracts(tmp_path):
    """ηS = ½: x_k = x_0 2^−k exactly, in binary too, so that centers differ by ¾ 2^−k (x_0' − x_0)."""
    start = 0.7
    record = quartic(tmp_path, steps=40, curvature=0.5, quartic=1e-300, start=start)
    spread = record.perturbed.observables["center_distance"]
    away = np.abs(one_rounding_away(np.array([start]), 0) - start)
    centers = record.processes[GD].trajectory[:, 0]
    np.testing.assert_array_equal(centers, 0.75 * start * 2.0 ** -np.arange(41))
    # each center is rounded once
    error = np.abs(spread - 0.75 * away * 2.0 ** -np.arange(41))
    assert np.all(error <= np.spacing(centers)) and np.all(spread > 0)


def test_in_chaos_it_grows_at_lyapunov_s_rate_until_nothing_can_be_told(chaotic):
    """|cos 3^t θ − cos 3^t θ'| grows by 3 per step, from ε: it is of order one after log 2^52 / log 3 = 33 steps."""
    spread = chaotic.perturbed.observables["center_distance"]
    growing = np.arange(31)
    slope = np.polyfit(growing, np.log(spread[growing]), 1)[0]
    # the factor |sin 3^t θ| has a logarithm of standard deviation π/√12; 31 of them leave the slope uncertain by 0.02
    assert slope == pytest.approx(np.log(3), abs=0.06)
    assert np.max(spread[:25]) < 1e-3 and np.max(spread[40:]) > 1.0


def test_of_a_network_it_is_that_of_two_plain_runs(small, small_run):
    problem = build_problem(load(None, small))
    iterates = []
    for x in (problem.start, one_rounding_away(problem.start, 0)):
        xs = [x]
        for _ in range(7):
            xs.append(xs[-1] - 0.5 * problem.risk.gradient(xs[-1]))
        iterates.append(xs)
    centers = [[0.5 * (a + b) for a, b in pairwise(xs)] for xs in iterates]
    gaps = [np.sqrt(np.mean(np.sum((a - b) ** 2, axis=1))) for a, b in zip(*centers, strict=True)]
    losses = [problem.risk.value(x) for x in iterates[1]]
    found = read_run(small_run).perturbed.observables
    np.testing.assert_allclose(
        found["center_distance"][[0, 4, 6]], np.take(gaps, [0, 4, 6]), rtol=1e-10
    )
    assert np.isnan(found["center_distance"][[1, 2, 3, 5]]).all()
    means = [0.5 * (a + b) for a, b in pairwise(losses)]
    np.testing.assert_allclose(found["predicted_loss"], means, rtol=1e-12)
    moves = [np.mean(np.sum((a - b) ** 2, axis=1)) / 4 for a, b in pairwise(iterates[1])]
    np.testing.assert_allclose(found["sigma_trace"], moves, rtol=1e-10)


@pytest.mark.slow
def test_single_precision_is_one_rounding_of_its_own_away(tmp_path, small):
    more = ("risk.dtype=float32", "output.snapshot_dtype=float32")
    spread = read_run(run(load(None, (*small, *more)), tmp_path)).perturbed
    distance = spread.observables["center_distance"][[0, 4, 6]]
    assert np.all((distance > 1e-8) & (distance < 1e-5))  # ε = 1.2e-7, of weights of order one


def test_it_costs_a_gradient_per_step(tmp_path, small, monkeypatch):
    from meanfield.risk import Risk

    gradient, count = Risk.gradient, 0

    def counted(*arguments, **options):
        nonlocal count
        count += 1
        return gradient(*arguments, **options)

    monkeypatch.setattr(Risk, "gradient", counted)
    costs = []
    for i, wanted in enumerate(("true", "false")):
        count = 0
        run(load(None, (*small, f"output.rounding_spread={wanted}")), tmp_path / str(i))
        costs.append(count)
    assert costs[0] - costs[1] <= 6 + 3  # those of the start, and to see the objective there


# --- what is said of models ----------------------------------------------------------------------


def test_where_gradient_descent_cannot_tell_itself_every_model_is_within(chaotic):
    first, spread, flow = compare(chaotic)
    assert (first["process"], spread["process"]) == (GD, PERTURBED_TITLE)
    assert spread["max_distance"] > 1.0 >= flow["max_distance"] > 0.5
    assert flow["max_distance_within"] is True
    assert first["max_distance_within"] is None and spread["max_distance_within"] is None
    notes = spread_notes([first, spread, flow])
    assert (
        "smaller distances cannot be ranked" in notes[0]
        and notes[1] == "Within it all the way: gradient_flow."
    )


def test_two_runs_that_meet_again_tell_nothing(tmp_path):
    """At w = 0.3 the first step of the chaotic map rounds both to the same number."""
    text = QUARTIC.format(steps=3, curvature=4.0, quartic=4.0, start=0.3)
    rows = compare(read_run(run(load_text(text), tmp_path)))
    assert rows[1]["final_distance"] == 0.0
    assert "became equal, bit for bit" in spread_notes(rows)[0]


def test_a_tie_is_within_and_anything_above_is_not(chaotic):
    spread = chaotic.perturbed.observables["center_distance"]
    for factor, expected in ((1.0, True), (1 + 1e-12, False)):
        distances = {"gradient_flow": {"center_distance": spread * factor}}
        row = compare(replace(chaotic, comparison=distances))[2]
        assert row["max_distance_within"] is row["final_distance_within"] is expected


def test_a_model_that_diverged_is_measured_while_it_ran(chaotic):
    spread = chaotic.perturbed.observables["center_distance"]
    distance = np.where(np.arange(201) < 5, 1e-6, np.nan)  # the spread is below that, then
    assert np.all(spread[:5] < 1e-12)
    row = compare(replace(chaotic, comparison={"gradient_flow": {"center_distance": distance}}))[2]
    assert row["max_distance_within"] is False and row["final_distance_within"] is False


def test_where_only_one_of_the_two_diverged_nothing_can_be_told(chaotic):
    short = {key: values[:20] for key, values in chaotic.perturbed.observables.items()}
    perturbed = replace(chaotic.perturbed, status="diverged", observables=short)
    row = compare(replace(chaotic, perturbed=perturbed))[2]
    assert row["max_distance_within"] is True and row["final_distance_within"] is True


def test_the_figure_shades_it_and_says_so(chaotic):
    drawn = next(drawn for drawn in run_figures(chaotic) if drawn.name == "distance")
    (ax,) = drawn.figure.axes
    (band,) = [band for band in ax.collections if band.get_label() == PERTURBED_TITLE]
    top = band.get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(np.max(chaotic.perturbed.observables["center_distance"]))
    assert "one rounding away" in drawn.caption
    without = replace(chaotic, perturbed=None)
    drawn = next(drawn for drawn in run_figures(without) if drawn.name == "distance")
    assert not drawn.figure.axes[0].collections and "rounding" not in drawn.caption


def test_the_command_and_the_result_say_the_same(chaotic):
    printed = meanfield_command("compare", str(chaotic.path), "--no-figure")
    assert printed.exit_code == 0
    assert "Within it all the way: gradient_flow." in printed.stdout
    found = json.loads(
        meanfield_command("compare", str(chaotic.path), "--json", "--no-figure").stdout
    )
    with StoredRun.open(chaotic.path) as result:
        rows = result.compare()
    assert [rows[0], rows[2]] == found["processes"] and rows[1] == found["rounding_spread"]
    assert rows == compare(chaotic)
    spreads = [row["rounding_spread"] for row in summarize(chaotic)]
    assert spreads == [rows[1]["final_distance"], None]


# --- files ---------------------------------------------------------------------------------------


def test_xarray_opens_it(chaotic):
    pytest.importorskip("xarray")
    with StoredRun.open(chaotic.path) as result:
        dataset = result.to_xarray()[f"{NAME}/observables"]
        np.testing.assert_array_equal(
            dataset["center_distance"], chaotic.perturbed.observables["center_distance"]
        )
        assert dataset["center_distance"].dims == ("time",)
        assert list(result) == [GD, "gradient_flow"]


def test_without_it_as_in_files_of_older_versions(chaotic, tmp_path):
    path = tmp_path / "run.h5"
    path.write_bytes(chaotic.path.read_bytes())
    with h5py.File(path, "r+") as file:
        del file[NAME]
    old = read_run(path)
    assert old.perturbed is None
    rows = compare(old)
    assert [row["process"] for row in rows] == [GD, "gradient_flow"] and spread_notes(rows) == []
    assert rows[1]["max_distance_within"] is None
    with StoredRun.open(path) as result:
        assert result.compare() == rows
    printed = meanfield_command("compare", str(path), "--json", "--no-figure")
    assert json.loads(printed.stdout)["rounding_spread"] is None


@pytest.mark.parametrize(
    "settings",
    [
        "output.rounding_spread=false",
        "processes={gradient_descent={}}",
        "processes={gradient_flow={}, rod_flow={}}",
    ],
)
def test_it_runs_only_where_it_is_wanted_and_of_use(tmp_path, small, settings):
    path = run(load(None, (*small, settings)), tmp_path)
    assert read_run(path).perturbed is None


def test_a_start_that_rounding_cannot_change_has_none(tmp_path):
    text = QUARTIC.format(steps=3, curvature=1.0, quartic=1.0, start=0.0)
    assert read_run(run(load_text(text), tmp_path)).perturbed is None


@pytest.mark.parametrize("spoil", ["missing", "wide", "link", "short", "status"])
def test_a_strange_group_is_refused(chaotic, tmp_path, spoil):
    path = tmp_path / "run.h5"
    path.write_bytes(chaotic.path.read_bytes())
    with h5py.File(path, "r+") as file:
        group = file[f"{NAME}/observables"]
        if spoil == "status":
            del file[NAME].attrs["status"]
        else:
            del group["sigma_trace"]
        if spoil == "wide":
            group["sigma_trace"] = np.zeros((201, 2))
        if spoil == "short":
            group["sigma_trace"] = np.zeros(3)
        if spoil == "link":
            group["sigma_trace"] = h5py.ExternalLink("other.h5", "x")
    with pytest.raises(RunFileError):
        read_run(path)


# --- other runs -----------------------------------------------------------------------------------


def test_a_diverging_run_has_a_spread_until_then(tmp_path):
    record = quartic(tmp_path, steps=60, curvature=4.0, quartic=4.0, start=1.5)
    assert record.attributes["status"] == "diverged"
    assert record.perturbed.status == "diverged" and "diverged at step" in record.perturbed.message
    json.dumps(compare(record), allow_nan=False)


def test_a_width_study_does_without_it_and_keeps_the_runs_of_older_versions(tmp_path, small):
    plan = make_plan(load(None, small), (2, 4), seeds=1, reference_width=8)
    one = Run(4, 0)
    assert not plan.study_of(one).output.rounding_spread
    path = one.path(tmp_path)
    path.parent.mkdir(parents=True)
    run(
        plan.study_of(one),
        path.parent,
        given=Given(start=plan.start_of(one), attributes=plan.attributes_of(one)),
        options=Options(),
    )
    (path.parent / "run.h5").rename(path)
    assert read_run(path).perturbed is None and fault(plan, tmp_path, one) is None
    with h5py.File(path, "r+") as file:
        text = file["config"].asstr()[()]
        file["config"][()] = text.replace("rounding_spread = false\n", "")
    assert "rounding_spread" not in read_run(path).config and fault(plan, tmp_path, one) is None
    with h5py.File(path, "r+") as file:
        file["config"][()] = text.replace("steps = 6", "steps = 7")
    assert fault(plan, tmp_path, one) == "it belongs to another run"
