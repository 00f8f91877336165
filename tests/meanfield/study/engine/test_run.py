import os
import pickle
import signal
import subprocess
import sys
import threading

import h5py
import numpy as np
import pytest

import meanfield
import solvers
from meanfield.study.config.run_config import load
from meanfield.study.engine.build import build_problem
from meanfield.study.engine.run import run
from meanfield.study.storage.writer import read_run
from tests.helpers.clocks import HANGS, wait_until

COMMAND = [sys.executable, "-c", "from meanfield.study.cli.app import main; main()"]
GD, FLOW, ENERGY = "gradient_descent", "gradient_flow", "free_energy_flow"


@pytest.fixture(scope="module")
def record(small_run):
    return read_run(small_run)


@pytest.fixture(scope="module")
def problem(small):
    return build_problem(load(None, small))


def positions(path, process, name="position"):
    with h5py.File(path) as file:
        return file[f"{process}/snapshots/{name}"][:]


def test_processes_run_from_one_start_gradient_descent_first(small_run, record, problem):
    assert list(record.processes) == [GD, FLOW, ENERGY]
    assert {process.status for process in record.processes.values()} == {"complete"}
    for process in record.processes.values():
        np.testing.assert_array_equal(process.observables["time"], np.arange(7))
        np.testing.assert_array_equal(process.snapshot_times, [0, 4, 6])
    centers, fluctuations = (positions(small_run, GD, n) for n in ("position", "fluctuation"))
    start = problem.start
    # the first iterate is center + fluctuation (THEORY: x_0 = w_0 + u_0), to rounding
    np.testing.assert_allclose(centers[0] + fluctuations[0], start, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(positions(small_run, FLOW)[0], start)


def test_the_iterates_are_those_of_plain_gradient_descent(record, problem):
    x, risk = problem.start.copy(), problem.risk
    losses = []
    for _ in range(7):
        losses.append(risk.value(x))
        x = x - 0.5 * risk.gradient(x)
    np.testing.assert_allclose(record.processes[GD].observables["iterate_loss"], losses, rtol=1e-12)


def test_observables_are_those_of_the_snapshots(small_run, record, problem):
    risk = problem.risk
    for name, process in record.processes.items():
        w, u = positions(small_run, name)[2], positions(small_run, name, "fluctuation")[2]
        row = {key: values[6] for key, values in process.observables.items()}
        mean = (risk.value(w + u) + risk.value(w - u)) / 2
        assert row["train_loss"] == pytest.approx(risk.value(w), rel=1e-12)
        assert row["predicted_loss"] == pytest.approx(mean, rel=1e-12)
        assert row["sigma_trace"] == pytest.approx(np.sum(u**2) / len(u), rel=1e-12)
        assert row["free_energy"] == pytest.approx(mean - row["sigma_trace"] / 0.5, rel=1e-12)
        gradient = risk.gradient(w)
        assert row["grad_norm_sq"] == pytest.approx(np.sum(gradient**2) / len(w), rel=1e-12)
        assert 0 <= process.observables["wall_time"][0] <= row["wall_time"]


def test_sharpness_is_the_top_of_the_whole_hessian(record, problem):
    x = record.processes[ENERGY].last
    columns = [problem.risk.hvp(x, unit.reshape(x.shape)).ravel() for unit in np.eye(x.size)]
    top = np.linalg.eigvalsh(np.array(columns))[::-1][:2]
    observables = record.processes[ENERGY].observables
    np.testing.assert_allclose(observables["hessian_eigs"][-1], top, rtol=1e-6)
    measured = ~np.isnan(observables["sharpness"])
    np.testing.assert_array_equal(np.flatnonzero(measured), [0, 3, 6])
    np.testing.assert_array_equal(observables["sharpness"], observables["hessian_eigs"][:, 0])
    assert np.nanmax(observables["sharpness_residual"]) < 1e-4


def test_comparison_is_the_distance_of_the_snapshots(small_run, record, problem):
    np.testing.assert_array_equal(record.comparison_times, [0, 4, 6])
    assert list(record.comparison) == [FLOW, ENERGY]
    inputs = problem.risk.task.inputs
    for name, distances in record.comparison.items():
        for row, (x, y) in enumerate(
            zip(positions(small_run, GD), positions(small_run, name), strict=True)
        ):
            rms = np.sqrt(np.mean(np.sum((x - y) ** 2, axis=1)))
            outputs = problem.network.forward(x, inputs) - problem.network.forward(y, inputs)
            assert distances["center_distance"][row] == pytest.approx(rms, abs=1e-14)
            assert distances["w2"][row] <= rms + 1e-12
            assert distances["function_distance"][row] == pytest.approx(
                np.sqrt(np.mean(outputs**2)), abs=1e-14
            )
    assert record.comparison[FLOW]["w2"][-1] > 0


def test_wide_networks_are_compared_by_a_sample_at_the_end(tmp_path, small, monkeypatch):
    monkeypatch.setattr("meanfield.study.engine.center_distances.EXACT_W2_PARTICLES", 5)
    run(load(None, small), tmp_path)
    record = read_run(tmp_path / "run.h5")
    w2 = record.comparison[FLOW]["w2"]
    assert np.isnan(w2[:-1]).all()
    x, y = record.processes[GD].last, record.processes[FLOW].last
    chosen = np.sort(np.random.default_rng(0).choice(8, 5, replace=False))
    assert w2[-1] == pytest.approx(solvers.transport.w2(x[chosen], y[chosen]).distance)
    with h5py.File(record.path) as file:
        assert "5 random particles" in file["comparison"].attrs["w2_note"]


def test_the_file_says_with_what_it_was_made(record, small):
    assert record.config == load(None, small).to_toml()
    assert f'"meanfield": "{meanfield.__version__}"' in record.attributes["versions_json"]
    assert record.attributes["learning_rate"] == 0.5


def test_options_of_a_process_reach_its_flow(tmp_path, small):
    processes = (
        "processes={euler={flow='free_energy_flow',integrator='euler',dt=1.0},"
        "two={flow='free_energy_flow',closure='taylor',rank=2},gradient_descent={}}"
    )
    path = run(load(None, (*small, processes)), tmp_path)
    # free-energy flow by Euler with unit step is gradient descent, to rounding
    np.testing.assert_allclose(positions(path, "euler"), positions(path, GD), atol=1e-12)
    assert positions(path, "two", "fluctuation").shape == (3, 2, 8, 66)
    assert list(read_run(path).processes) == [GD, "euler", "two"]


def test_images_are_a_task_like_any_other(tmp_path, small):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        images = rng.integers(0, 256, (20, 3072), dtype=np.uint8)
        content = {b"data": images, b"labels": [3, 5] * 10}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    config = tmp_path / "study.toml"
    config.write_text(
        "steps = 2\n[task]\nname = 'cifar10'\npath = 'cifar-10-batches-py'\nn = 12\n"
        "classes = ['cat', 'dog']\ntarget = 'sign'\nmean_square = 0.01\n[network]\nwidth = 4\n"
    )
    study = load(config)
    task = build_problem(study).risk.task
    assert task.inputs.shape == (12, 3072) and set(task.targets.ravel()) == {-1.0, 1.0}
    assert np.mean(task.inputs**2) == pytest.approx(0.01)
    assert read_run(run(study, tmp_path / "out")).attributes["status"] == "complete"


def test_without_gradient_descent_there_is_no_comparison(tmp_path, small):
    path = run(load(None, (*small, "processes={gradient_flow={}}")), tmp_path)
    assert read_run(path).comparison == {}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("risk.loss=softmax",), "softmax"),
        (("risk.loss=logistic", "task.target=classes"), "logistic"),
        (
            ("network.width=1", "output.eigenvalues=67"),
            "output.eigenvalues must be at most 66, .*got 67",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused_before_anything_is_made(
    tmp_path, overrides, message
):
    with pytest.raises(ValueError, match=message):
        run(load(None, overrides), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_divergence_keeps_what_was_before_and_the_others_run(tmp_path, small):
    overrides = ("learning_rate=1e9", "steps=60", "output.sharpness_every=100")
    path = run(load(None, (*small, *overrides)), tmp_path)
    record = read_run(path)
    assert record.attributes["status"] == "diverged"
    for name, process in record.processes.items():
        steps = len(process.observables["time"])
        # the flows are too stiff for any scheme from the start
        assert process.status == ("diverged" if name == GD else "failed")
        assert f"step {steps}" in process.message
        assert 1 <= steps < 60
        # the last state is finite, its risk may have overflowed
        assert np.isfinite(process.observables["train_loss"][:-1]).all()
        assert process.snapshot_times[-1] == steps - 1
    assert len(record.comparison[FLOW]["w2"]) == len(record.processes[GD].snapshot_times)


def test_ctrl_c_stops_between_steps_and_keeps_everything(tmp_path, small):
    def press_at_3(what, done, total):
        if (what, done) == (FLOW, 3):
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    record = read_run(run(load(None, small), tmp_path, progress=press_at_3))
    assert signal.getsignal(signal.SIGINT) is before
    assert record.attributes["status"] == "interrupted"
    statuses = [process.status for process in record.processes.values()]
    assert statuses == ["complete", "interrupted", "interrupted"]
    np.testing.assert_array_equal(record.processes[FLOW].observables["time"], [0, 1, 2, 3])
    np.testing.assert_array_equal(record.processes[FLOW].snapshot_times, [0, 3])
    assert record.processes[ENERGY].message == "not started"


def test_a_run_works_outside_the_main_thread(tmp_path, small):
    thread = threading.Thread(target=run, args=(load(None, small), tmp_path))
    thread.start()
    thread.join()
    assert read_run(tmp_path / "run.h5").attributes["status"] == "complete"


def test_progress_counts_every_step_of_every_process(tmp_path, small):
    calls = []
    run(load(None, small), tmp_path, progress=lambda *call: calls.append(call))
    for name in (GD, FLOW, ENERGY):
        assert [call[1:] for call in calls if call[0] == name][-1] == (6, 6)
    assert calls[-1] == ("comparison", 6, 6)


@pytest.mark.slow
@pytest.mark.essential
def test_sigint_ends_the_command_with_130(tmp_path):
    out = tmp_path / "out"
    settings = ["steps=1000000", "task.n=12", "network.width=8", "output.snapshot_every=1"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    process = subprocess.Popen(
        [*COMMAND, "run", "--out", str(out), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    partial = out / "run.h5.partial"

    def has_grown():
        assert process.poll() is None
        return partial.exists() and partial.stat().st_size > 500_000

    wait_until(has_grown)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=HANGS)
    assert process.returncode == 130
    assert "Traceback" not in stderr and "interrupted after step" in stderr
    assert "run.h5" in os.listdir(out) and "run.h5.partial" not in os.listdir(out)
    record = read_run(out / "run.h5")
    assert record.attributes["status"] == "interrupted"
    descent = record.processes[GD]
    np.testing.assert_array_equal(descent.observables["time"], descent.snapshot_times)


@pytest.mark.slow
@pytest.mark.essential
def test_results_do_not_depend_on_the_number_of_threads(tmp_path):
    settings = ["steps=30", "task.n=60", "network.width=150", "learning_rate=1.0"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    for threads in "12":
        variables = ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
        subprocess.run(
            [*COMMAND, "run", "--out", str(tmp_path / threads), "--no-figures", *arguments],
            env=os.environ | dict.fromkeys(variables, threads),
            check=True,
            capture_output=True,
            timeout=HANGS,
        )
    one, two = tmp_path / "1/run.h5", tmp_path / "2/run.h5"
    for process in (GD, FLOW, ENERGY):
        for name in ("position", "fluctuation"):
            first, second = positions(one, process, name), positions(two, process, name)
            assert first.tobytes() == second.tobytes()
        first, second = (read_run(path).processes[process].observables for path in (one, two))
        for key in ("train_loss", "free_energy", "grad_norm_sq"):
            np.testing.assert_array_equal(first[key], second[key])
