"""Studies on landscapes: known values, what is stored, what is counted, what is drawn."""

import h5py
import numpy as np
import pytest

from meanfield.study import figures
from meanfield.study.analysis.comparison import compare
from meanfield.study.config.run_config import load
from meanfield.study.engine.build import build_problem
from meanfield.study.engine.run import run
from meanfield.study.storage.writer import read_run
from tests.helpers.commands import meanfield_command

GD, ENERGY = "gradient_descent", "free_energy_flow"
EVERY_STEP = ("output.snapshot_every=1", "output.sharpness_every=1")


def study(landscape, processes, *more):
    return load(None, (f"landscape={{{landscape}}}", f"processes={{{processes}}}", *more))


def run_of(folder, *settings):
    return read_run(run(study(*settings), folder))


@pytest.fixture(scope="module")
def valley(tmp_path_factory):
    """Gradient descent and the free-energy flow through their first spike in the valley."""
    processes = "gradient_descent={},free_energy_flow={integrator='rk4'}"
    more = ("learning_rate=0.3", "steps=500", *EVERY_STEP)
    return run_of(tmp_path_factory.mktemp("valley"), "name='valley'", processes, *more)


def test_the_valley_is_sharpened_as_far_as_is_known(valley):
    descent, flow = valley.processes[GD], valley.processes[ENERGY]
    for process, step, height in ((descent, 480, 7.4349), (flow, 462, 7.3814)):
        y = process.trajectory[:, 1]  # the floor's curvature
        assert int(np.argmax(y)) == step
        assert y.max() == pytest.approx(height, abs=5e-5)
    with h5py.File(valley.path) as file:
        snapshots = file[f"{GD}/snapshots"]
        signs = (-1.0) ** np.arange(501)[:, None]
        iterates = snapshots["position"][:, 0] + signs * snapshots["fluctuation"][:, 0]
    assert int(np.argmax(iterates[:, 1])) == 481
    assert iterates[:, 1].max() == pytest.approx(7.4351, abs=5e-5)


def test_the_sharpness_is_that_of_the_hessian_written_out(valley):
    for process in valley.processes.values():
        x, y = process.trajectory.T
        mean, half = (y + 3 * x) / 2, np.hypot((y + 3 * x) / 2, x)  # of [[y + 3x, x], [x, 0]]
        np.testing.assert_allclose(process.observables["sharpness"], mean + half, rtol=1e-10)


def test_the_first_peaks_are_compared(valley):
    descent, _, flow = compare(valley)
    # the same numbers by another way: where log tr Σ passes the level, by eye in the data
    traces = [valley.processes[name].observables["sigma_trace"] for name in (GD, ENERGY)]
    level = 0.01 * traces[0].max()
    assert descent["onset"] == int(np.argmax(traces[0] > level))
    assert flow["onset_delay"] == int(np.argmax(traces[1] > level)) - descent["onset"]
    assert -25 < flow["onset_delay"] < -10  # linear growth is too fast
    positions = [valley.processes[name].trajectory for name in (GD, ENERGY)]
    distance = np.linalg.norm(positions[0] - positions[1], axis=1)
    assert flow["max_distance"] == pytest.approx(distance.max())
    assert flow["max_distance_time"] == np.argmax(distance)
    assert flow["loss_error"] is None  # the loss passes through zero


def test_a_landscape_is_one_particle_with_named_parameters(valley):
    with h5py.File(valley.path) as file:
        snapshots = file[f"{GD}/snapshots"]
        assert snapshots["position"].shape == snapshots["fluctuation"].shape == (501, 1, 2)
        assert list(snapshots["parameter"].asstr()) == ["x", "y"]
        np.testing.assert_array_equal(snapshots["weight"], [1.0])
    distances = valley.comparison[ENERGY]
    np.testing.assert_array_equal(distances["w2"], distances["center_distance"])
    assert np.isnan(distances["function_distance"]).all()
    trace = valley.processes[GD].observables["sigma_trace"]
    gradient = -0.01 * np.ones(2)  # at (0, 6)
    assert trace[0] == pytest.approx(np.sum((0.15 * gradient) ** 2))


@pytest.mark.parametrize(
    ("process", "per_step"),
    [
        ("gradient_flow={integrator='euler',dt=1.0}", (1, 0, 0)),
        ("gradient_flow={integrator='rk4',dt=0.5}", (8, 0, 0)),
        ("free_energy_flow={integrator='midpoint',dt=0.25}", (16, 0, 0)),
        ("free_energy_flow={delay=true,dt=1.0}", (2, 0, 0)),
        # a gradient, and for the one fluctuation a Hessian product and a third derivative
        ("free_energy_flow={closure='taylor',integrator='euler',dt=1.0}", (1, 1, 1)),
        ("normalized_gradient_descent={}", (1, 0, 0)),
        ("self_stabilization={}", (0, 0, 0)),  # moves on the model made at the start
    ],
)
def test_the_flows_evaluations_are_counted_and_the_measurements_are_not(
    tmp_path, process, per_step
):
    processes = f"gradient_descent={{}},{process}"
    record = run_of(tmp_path, "name='valley'", processes, "steps=4", *EVERY_STEP)
    descent, mine = record.processes.values()
    for name, count in zip(("gradients", "hvps", "thirds"), per_step, strict=True):
        # the first step of a delayed flow also needs the velocity before the start
        np.testing.assert_array_equal(np.diff(mine.observables[name])[1:], count)
    np.testing.assert_array_equal(np.diff(descent.observables["gradients"]), 1)
    data = mine.observables
    assert np.all(np.diff(data["solver_time"]) > 0)
    assert np.all(data["solver_time"] < data["wall_time"])


def test_the_reduced_model_is_made_at_the_start(tmp_path):
    landscape = "name='valley',start=[0.0,6.6]"
    processes = "gradient_descent={},self_stabilization={dt=0.125}"
    more = (
        "learning_rate=0.3",
        "steps=40",
        "output.snapshot_every=40",
        "output.sharpness_every=40",
    )
    record = run_of(tmp_path, landscape, processes, *more)
    # its drift along the floor is ε per unit of η t, while the oscillation is still small
    center = record.processes["self_stabilization"].last
    assert center.shape == (1, 2)
    assert center[0, 1] == pytest.approx(6.6 + 0.3 * 0.01 * 40, abs=1e-4)


def test_the_diagnostics_of_a_flow_are_kept(tmp_path):
    landscape = "name='valley',start=[0.0,6.65]"
    record = run_of(
        tmp_path, landscape, "gradient_descent={},central_flow={max_modes=2}",
        "learning_rate=0.3", "steps=20", "output.sharpness_every=5",
    )  # fmt: skip
    data = record.processes["central_flow"].observables
    measured = np.flatnonzero(np.isfinite(data["modes"]))
    np.testing.assert_array_equal(measured, [0, 5, 10, 15, 20])
    assert data["modes"][0] == 0 and data["modes"][20] == 1
    assert np.nanmax(data["complementarity_residual"]) < 1e-8
    assert "modes" not in record.processes[GD].observables
    with h5py.File(record.path) as file:
        fluctuations = file["central_flow/snapshots/fluctuation"][-1]
    assert fluctuations.shape == (2, 1, 2)
    assert np.sum(fluctuations**2) == pytest.approx(data["sigma_trace"][-1], rel=1e-12) != 0


def test_maps_have_iterates_and_may_have_no_free_energy(tmp_path):
    processes = "gradient_descent={},normalized_gradient_descent={},sqrt_loss_gradient_descent={}"
    landscape = "name='varying_trough',start=[1.5,0.3]"
    record = run_of(tmp_path, landscape, processes, "learning_rate=0.05", "steps=3", *EVERY_STEP)
    x, y = 1.5, 0.3  # E = (1 + x²) y²
    for name, scale in (("normalized_gradient_descent", 0.0), ("sqrt_loss_gradient_descent", 2.0)):
        loss = (1 + x**2) * y**2
        gradient = np.array([2 * x * y**2, 2 * (1 + x**2) * y])
        step = gradient / (scale * np.sqrt(loss) or np.linalg.norm(gradient))
        after = np.array([x, y]) - 0.05 * step
        data = record.processes[name].observables
        assert data["iterate_loss"][0] == pytest.approx(loss)
        assert data["iterate_loss"][1] == pytest.approx((1 + after[0] ** 2) * after[1] ** 2)
        assert np.isnan(data["free_energy"]).all()


def test_single_precision_and_a_start_of_ones_own():
    problem = build_problem(
        study("name='valley',start=[0.5,7],dtype='float32'", "gradient_descent={}")
    )
    assert problem.start.dtype == np.float32
    np.testing.assert_array_equal(problem.start, [0.5, 7.0])
    np.testing.assert_array_equal(
        build_problem(study("name='valley'", "gradient_descent={}")).start, [0.0, 6.0]
    )


@pytest.mark.parametrize(
    ("landscape", "processes", "message"),
    [
        (
            "name='valley'",
            "free_energy_flow={rank=3}",
            "processes.free_energy_flow: rank must be at most x0.size = 2, got 3",
        ),
        (
            "name='quartic'",
            "self_stabilization={}",
            "processes.self_stabilization: modes must be below x.size = 1",
        ),
        (
            "name='valley'",
            "mine={flow='free_energy_flow',delay=true,growth='exact'}",
            "processes.mine: growth must be 'linear' where delay=True, got 'exact'",
        ),
        (
            "name='valley'",
            "sqrt_loss_gradient_descent={}",
            "processes.sqrt_loss_gradient_descent: x0 must be a point from which a step exists: E − minimum must be above 0",
        ),
    ],
)
def test_what_does_not_fit_the_landscape_is_refused_before_anything_is_made(
    tmp_path, landscape, processes, message
):
    with pytest.raises(ValueError, match=message):
        run(study(landscape, processes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_more_eigenvalues_than_there_are_coordinates_are_refused(tmp_path):
    with pytest.raises(ValueError, match="output.eigenvalues must be at most 2, .*got 3"):
        run(study("name='valley'", "gradient_descent={}", "output.eigenvalues=3"), tmp_path)


@pytest.mark.slow
def test_a_divergence_on_a_landscape_is_recorded_drawn_and_compared(tmp_path):
    processes = "gradient_descent={},gradient_flow={},rod_flow={}"
    path = run(study("name='rosenbrock'", processes, "learning_rate=1.0", "steps=9"), tmp_path)
    record = read_run(path)
    assert record.processes[GD].status == "diverged"
    assert record.processes[GD].observables["time"][-1] < 9
    figures.save_figures(record, tmp_path / "figures")
    result = meanfield_command("compare", str(path))
    assert result.exit_code == 0 and "diverged" in result.stdout


# --- figures -------------------------------------------------------------------------------------


def test_the_clouds_of_a_landscape_are_trajectories(valley):
    drawn = {drawn.name: drawn.figure for drawn in figures.run_figures(valley)}
    assert "particle_clouds" not in drawn
    (ax,) = drawn["trajectories"].axes
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("center x", "center y")
    (line,) = (line for line in ax.lines if line.get_label() == "free energy flow")
    np.testing.assert_array_equal(line.get_xydata(), valley.processes[ENERGY].trajectory)


@pytest.mark.slow
def test_single_precision_is_run_stored_and_drawn(tmp_path):
    landscape = "name='valley',dtype='float32'"
    processes = "gradient_descent={},free_energy_flow={},rod_flow={},edge_flow={},central_flow={}"
    more = ("steps=5", "learning_rate=0.3", "output.snapshot_dtype=float32")
    record = run_of(tmp_path, landscape, processes, *more)
    assert {process.status for process in record.processes.values()} == {"complete"}
    assert record.processes[GD].trajectory.dtype == np.float32
    assert figures.save_figures(record, tmp_path / "figures")


@pytest.mark.slow
def test_on_the_line_there_is_no_trajectory_to_draw(tmp_path):
    record = run_of(tmp_path, "name='quartic'", "gradient_descent={},gradient_flow={}", "steps=3")
    assert record.processes[GD].trajectory.shape == (2, 1)
    names = {path.stem for path in figures.save_figures(record, tmp_path / "figures")}
    assert "overview" in names and not names & {"trajectories", "particle_clouds"}
