"""Distances of a tiny study against plain NumPy and SciPy on what h5py reads."""

import h5py
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

import solvers
from meanfield.study.engine.build import build_problem
from meanfield.study.storage.study_record import METRICS
from meanfield.study.width import read_study
from meanfield.study.width.distances import Inputs, coupled, rms, samples
from meanfield.study.width.plan import Run
from meanfield.study.width.study import run_width_study

GD, FLOW, ENERGY = "gradient_descent", "gradient_flow", "free_energy_flow"
COUPLED = ("coupled_rms", "coupled_mean", "coupled_median")


@pytest.fixture(scope="module")
def record(tiny_study):
    return read_study(tiny_study)


def positions(folder, run, process):
    with h5py.File(run.path(folder)) as file:
        return file[f"{process}/snapshots/position"][:]


def assignment(x, y):
    costs = cdist(x, y, "sqeuclidean")
    return np.sqrt(costs[linear_sum_assignment(costs)].mean())


def network(particles, inputs):
    a, w, b = particles[:, 0], particles[:, 1:-1], particles[:, -1]
    return np.tanh(inputs @ w.T + b) @ a / len(a)


CASES = [(i, w, s, t) for i in (0, 3) for w, s, t in ((0, 1, 0), (1, 0, 1), (1, 1, 2))]


@pytest.mark.slow
@pytest.mark.essential
@pytest.mark.parametrize(("pair", "width", "seed", "time"), CASES)
def test_against_plain_formulas(tiny, tiny_study, record, pair, width, seed, time):
    plan = tiny()
    process, reference = record.pairs[pair]
    n = plan.width.widths[width]
    x = positions(tiny_study, Run(n, seed), process)[time]
    y = positions(tiny_study, plan.reference, reference)[time]
    order = plan.order(seed)
    moved = np.sqrt(((x - y[order[:n]]) ** 2).sum(axis=1))
    fresh = Inputs(plan).held_out.inputs
    outputs = network(x, fresh) - network(y, fresh)
    others = y[order[n : 2 * n]]
    expected = {
        "coupled_rms": np.sqrt(np.mean(moved**2)),
        "coupled_mean": moved.mean(),
        "coupled_median": np.median(moved),
        "w2": assignment(x, others),
        "function_distance": np.sqrt(np.mean(outputs**2)),
    }
    found = {name: record.distances[name][pair, width, seed, time] for name in expected}
    assert found == pytest.approx(expected, rel=1e-10, abs=1e-14)
    sliced = solvers.transport.w2(x, others, method="sliced", projections=16).distance
    assert record.distances["sliced_w2"][pair, width, seed, time] == sliced


def test_the_free_energy_gap_is_that_of_the_observables(tiny, tiny_study, record):
    energies = []
    for run, process in ((Run(16, 1), GD), (tiny().reference, ENERGY)):
        with h5py.File(run.path(tiny_study)) as file:
            energies.append(file[f"{process}/observables/free_energy"][[0, 3, 6]])
    gap = record.distances["free_energy_gap"][3, 1, 1]
    np.testing.assert_array_equal(gap, abs(energies[0] - energies[1]))


def test_the_sinkhorn_divergence_is_regularized_by_the_whole_reference(tiny, tiny_study, record):
    """ε = 0.1 tr Cov, of 64 particles, not of the 8 that are compared: it is one for all widths."""
    plan, order = tiny(), tiny().order(0)
    y = positions(tiny_study, plan.reference, FLOW)[-1]
    x = positions(tiny_study, Run(8, 0), FLOW)[-1]
    eps = 0.1 * np.trace(np.cov(y.T, bias=True))
    expected = solvers.transport.w2(x, y[order[8:16]], method="sinkhorn", regularization=eps)
    assert record.distances["sinkhorn"][1, 0, 0, -1] == pytest.approx(expected.distance, rel=1e-9)
    assert np.isnan(record.distances["sinkhorn"][:, 1]).all()


def test_floors_are_of_disjoint_samples_of_the_reference(tiny, tiny_study, record):
    plan = tiny()
    y = positions(tiny_study, plan.reference, ENERGY)[1]
    rng = plan.rng("floor", 16)
    orders = [rng.permutation(64) for _ in range(2)]
    expected = np.mean([assignment(y[order[:16]], y[order[16:32]]) for order in orders])
    assert record.floors["w2"][2, 1, 1] == pytest.approx(expected, rel=1e-10)
    # gradient descent compared with the free-energy flow has the floor of the latter
    np.testing.assert_array_equal(record.floors["w2"][2], record.floors["w2"][3])
    assert set(record.floors) == {"w2", "sliced_w2", "sinkhorn"}


def test_samples_are_disjoint_and_as_large_as_the_run(tiny):
    plan = tiny(widths=(8, 32, 48))
    mine, others = samples(plan, Run(32, 0))
    assert len(mine) == len(others) == 32 and not set(mine) & set(others)
    assert samples(plan, Run(48, 0))[1] is None
    independent = tiny(widths=(8, 48), start="independent")
    assert len(samples(independent, Run(48, 0))[1]) == 48


@pytest.mark.slow
def test_at_the_width_of_the_reference_the_distance_is_rounding(tiny, at_home, tmp_path):
    """All of the reference's particles in another order: sums are taken in another order, nothing else differs.

    A step adds some roundings of numbers of order one, and at ηS < 1 stretches what was there by less than 1 + η|H| < 1.5: after
    20 steps less than 1.5^20 / 0.5 ≈ 7,000 of them, where the bound is never attained.
    """
    plan = tiny("steps=20", "output.snapshot_every=20", widths=(8, 64), seeds=2, reference_width=64)
    record = read_study(run_width_study(plan, tmp_path / "study").path)
    for name in (*COUPLED, "function_distance", "free_energy_gap"):
        same, narrow = (record.distances[name][:3, w, :, -1] for w in (1, 0))
        assert same.max() < 7000 * np.finfo(float).eps and narrow.min() > 1e-5, name
    assert (
        np.isnan(record.distances["w2"][:, 1]).all() and np.isnan(record.floors["w2"][:, 1]).all()
    )
    # a width that has no distance tells nothing of a slope: one is left, no line
    assert np.isnan(record.slopes["function_distance"]).all()
    assert any("reference is too narrow" in text for text in record.warnings)
    assert any(
        text.startswith("No w2, sliced_w2, sinkhorn at width 64") for text in record.warnings
    )


@pytest.mark.slow
def test_independent_starts_have_no_coupled_distance(tiny, at_home, tmp_path):
    plan = tiny("processes={gradient_descent={}}", start="independent")
    record = read_study(run_width_study(plan, tmp_path / "study").path)
    for name in METRICS:
        assert np.isnan(record.distances[name]).all() == (name in COUPLED), name
    x = positions(tmp_path / "study", Run(16, 1), GD)[2]
    y = positions(tmp_path / "study", plan.reference, GD)[2]
    expected = assignment(x, y[plan.order(1)[:16]])
    assert record.distances["w2"][0, 1, 1, 2] == pytest.approx(expected, rel=1e-10)


def test_exact_and_entropic_distances_only_where_there_is_time(tiny, at_home, tmp_path):
    sizes = {"exact_points": 16, "sinkhorn_points": 8, "frequent_points": 4}
    plan = tiny("processes={gradient_descent={}}", seeds=1, **sizes)
    record = read_study(run_width_study(plan, tmp_path / "study").path)
    measured = {name: np.isfinite(record.distances[name][0, :, 0]) for name in METRICS}
    np.testing.assert_array_equal(measured["w2"], [[0, 0, 1]] * 2)
    np.testing.assert_array_equal(measured["sinkhorn"], [[0, 0, 1], [0, 0, 0]])
    assert measured["sliced_w2"].all()
    assert "No sinkhorn at width 16: it takes too long beyond 8 particles." in record.warnings
    assert np.isnan(record.slopes["w2"][..., 1:]).all()
    assert any(text.startswith("One seed: there is no interval") for text in record.warnings)


def test_small_distances():
    x = np.zeros((4, 2))
    y = np.array([[3.0, 4.0], [0, 0], [0, 0], [0, 1.0]])
    assert coupled(x, y) == {
        "coupled_rms": np.sqrt(26 / 4),
        "coupled_mean": 1.5,
        "coupled_median": 0.5,
    }
    assert rms(np.array([[3.0, 4.0], [0, 0]])) == np.sqrt(12.5)


def test_the_network_of_a_run_is_that_of_the_study(tiny):
    plan = tiny("output.eigenvalues=20")  # more than a single particle has
    problem = build_problem(plan.study_of(plan.reference))
    assert Inputs(plan).problem.network == problem.network
