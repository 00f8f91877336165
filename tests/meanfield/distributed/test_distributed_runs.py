"""Studies run by several processes under mpiexec."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import meanfield
import solvers
from meanfield.study.config.run_config import load
from tests.helpers.clocks import HANGS, stopwatch, wait_until

# The launcher beside the interpreter first: it is the one of the MPI library that mpi4py finds there.
MPIEXEC = shutil.which(
    "mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
)
needs_mpi = pytest.mark.skipif(
    MPIEXEC is None or importlib.util.find_spec("mpi4py") is None,
    reason="needs mpi4py and mpiexec, of the extra `mpi`",
)
ENVIRONMENT = {
    "NUMBA_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Open MPI, were it the one that is installed, refuses root and more processes than cores
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
COMMAND = "from meanfield.study.cli.app import main; main()"
SMALL = ("steps=6", "task.n=12", "network.width=8", "learning_rate=0.5")
ENDLESS = ("steps=1000000", "task.n=12", "network.width=8", "output.snapshot_every=1")


def settings(values):
    return [part for value in values for part in ("--set", value)]


def start(size, code, *arguments):
    """The code in so many processes, with a file `pid.<rank>` of each in the working directory."""
    out = arguments[arguments.index("--out") + 1] if "--out" in arguments else ""
    note = (
        "import os, sys; from meanfield.study.engine.mpi_launcher import launched_rank\n"
        f"open({out + '.pid.'!r} + str(launched_rank()), 'w').write(str(os.getpid()))\n"
    )
    code = note + code if out else code
    return subprocess.Popen(
        [MPIEXEC, "-n", str(size), sys.executable, "-c", code, *arguments],
        env=os.environ | ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    try:
        stdout, stderr = process.communicate(timeout=HANGS)
    finally:
        process.kill()
    return process.returncode, stdout, stderr


def run_alone(config, out):
    """The file of a run of one process that no launcher started."""
    command = [sys.executable, "-c", COMMAND, "run", str(config), "--no-figures", "--out", str(out)]
    environment = os.environ | ENVIRONMENT
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=HANGS)
    return out / "run.h5"


def wait_for_snapshots(process, partial, size=300_000):
    def has_grown():
        assert process.poll() is None
        return partial.exists() and partial.stat().st_size > size

    wait_until(has_grown)


def contents(path):
    """Everything in a file but when and on how many threads it was made, and the seconds."""
    found, seconds = {}, ("wall_time", "solver_time")

    def note(name, item):
        if isinstance(item, h5py.Dataset) and not name.endswith(seconds):
            values = np.asarray(item[()])
            found[name] = values.tolist() if values.dtype == object else values.tobytes()
        kept = [k for k in item.attrs if "REFERENCE" not in k and k not in seconds]
        found[name + "@"] = str({k: str(item.attrs[k]) for k in kept})

    with h5py.File(path) as file:
        file.visititems(note)
        kept = file.attrs.keys() - {"created", "machine_json"}
        found["@"] = {k: str(file.attrs[k]) for k in kept}
    return found


OPERATIONS = """
import json, numpy as np, meanfield
from meanfield.distributed import Communicator, gathered, spread
p = Communicator.world()
for dtype in ("float64", "float32"):
    array = np.arange(6, dtype=dtype).reshape(2, 3) * (p.rank + 1)
    p.add(array)
    assert array.dtype == dtype and np.array_equal(array, 3 * np.arange(6).reshape(2, 3)), array
    rows = np.full((p.rank, 2, 2), p.rank, dtype)  # the first process has none
    assert np.array_equal(p.join(rows, [0, 1]), np.ones((1, 2, 2), dtype))
assert np.array_equal(p.numbers(-p.rank), [0, -1])
net = meanfield.TwoLayerNetwork(2)
rng = np.random.default_rng(0)
task = meanfield.tasks.Task(rng.standard_normal((9, 2)), rng.standard_normal((9, 1)), "random")
risk, x = meanfield.Risk(net, task), net.initialize(40)
shares = spread(risk, 40)
assert np.array_equal(shares.gather(shares.gradient(shares.own(x))), risk.gradient(x))
assert np.array_equal(gathered(risk).gradient(x), risk.gradient(x))
assert shares.value(shares.own(x)) == risk.value(x)
numbers = p.comm.gather(p.cores())
if p.rank == 0:
    print(json.dumps(numbers))
"""


@pytest.mark.slow
@pytest.mark.essential
@needs_mpi
def test_the_operations_of_mpi():
    code, stdout, stderr = finish(start(2, OPERATIONS))
    assert code == 0, stderr
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert sum(json.loads(stdout)) <= max(2, available)


BOTH_KINDS = """  # of flows: those that go particle by particle, and those that need the particles together
steps = 3
learning_rate = 0.5
[task]
n = 20
target = "classes"
[network]
width = 37
[risk]
weight_decay = 0.01
[output]
snapshot_every = 2
sharpness_every = 3
eigenvalues = 2
[processes.gradient_descent]
[processes.gradient_flow]
[processes.free_energy_flow]
rank = 2
fluctuation_floor = "rounding"
[processes.edge_flow]
[processes.rod_flow]
[processes.langevin]
temperature = 0.001
"""


@needs_mpi
@pytest.mark.slow
@pytest.mark.essential
def test_a_run_is_the_same_file_for_any_number_of_processes(tmp_path):
    config = tmp_path / "study.toml"
    config.write_text(BOTH_KINDS)
    expected = contents(run_alone(config, tmp_path / "0"))
    assert expected["@"]["status"] == "complete"
    for size in (1, 2):
        out = str(tmp_path / str(size))
        run = start(size, COMMAND, "run", str(config), "--no-figures", "--out", out)
        code, stdout, stderr = finish(run)
        assert code == 0, stderr
        assert stdout.count("energy balance residual") == 1
        assert contents(Path(out) / "run.h5") == expected


@needs_mpi
@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("network.width=5", "network.activation=relu", "risk.dtype=float32"),
        ("network.width=17", "network.train_output=false"),
        ("network.width=17", "network.output_bias=true"),
    ],
)
def test_small_and_odd_runs_are_the_same_file(tmp_path, overrides):
    """Three processes wait milliseconds for each other where there are two cores, so they are not asked much."""
    from meanfield.study.engine.run import run

    flows = "processes={gradient_descent={},free_energy_flow={integrator='euler'}}"
    overrides = (*SMALL, "steps=3", "output.sharpness_every=3", flows, *overrides)
    expected = contents(run(load(None, overrides), tmp_path / "0"))
    arguments = ("run", "--no-figures", *settings(overrides), "--out", str(tmp_path / "3"))
    code, _, stderr = finish(start(3, COMMAND, *arguments))
    assert code == 0, stderr
    assert contents(tmp_path / "3/run.h5") == expected


@needs_mpi
@pytest.mark.slow
def test_a_run_is_extended_by_any_number_of_processes(tmp_path):
    """Begun by two processes and extended by two, or begun by one and extended by two: the run of so many steps."""
    from meanfield.study.engine.run import run

    flows = "processes={gradient_descent={},free_energy_flow={delay=true},rod_flow={}}"
    overrides = (*SMALL, flows)
    expected = contents(run(load(None, (*overrides, "steps=10")), tmp_path / "whole"))
    alone, together = tmp_path / "alone", tmp_path / "together"
    run(load(None, overrides), alone)
    arguments = ("run", "--no-figures", *settings(overrides), "--out", str(together))
    code, _, stderr = finish(start(2, COMMAND, *arguments))
    assert code == 0, stderr
    for out in (alone, together):
        code, _, stderr = finish(start(2, COMMAND, "extend", str(out), "--steps", "10"))
        assert code == 0, stderr
        assert contents(out / "run.h5") == expected


@needs_mpi
@pytest.mark.slow
def test_bad_input_earns_one_message(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    for out, values, message in [
        ("a", ("steps=-1",), "steps must be at least 0, got -1"),
        ("full", SMALL, "must be empty, got other files"),
    ]:
        run = start(2, COMMAND, "run", *settings(values), "--out", str(tmp_path / out))
        code, stdout, stderr = finish(run)
        assert code == 2 and stderr.count("error") == 1 and message in stderr
        assert "Traceback" not in stderr and not stdout
        assert not list(tmp_path.glob("a/*"))


@needs_mpi
@pytest.mark.slow
def test_ctrl_c_leaves_a_finished_file(tmp_path):
    out = tmp_path / "out"
    run = start(2, COMMAND, "run", *settings(ENDLESS), "--no-figures", "--out", str(out))
    wait_for_snapshots(run, out / "run.h5.partial")
    run.send_signal(signal.SIGINT)
    code, _, stderr = finish(run)
    assert code == 130 and "Traceback" not in stderr
    assert stderr.count("gradient_descent: interrupted after step") == 1
    assert {"run.h5", "checkpoint-0"} <= set(os.listdir(out))
    assert not (out / "run.h5.partial").exists()
    with h5py.File(out / "run.h5") as file:
        assert file.attrs["status"] == "interrupted"
        times = file["gradient_descent/observables/time"][:]
        np.testing.assert_array_equal(times, file["gradient_descent/snapshots/time"][:])


@needs_mpi
@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_the_others_and_the_file_can_be_read(tmp_path, killed):
    out = tmp_path / "out"
    run = start(2, COMMAND, "run", *settings(ENDLESS), "--no-figures", "--out", str(out))
    wait_for_snapshots(run, out / "run.h5.partial")
    pids = [int((tmp_path / f"out.pid.{rank}").read_text()) for rank in (0, 1)]
    with stopwatch(run.pid) as watch:
        os.kill(pids[killed], signal.SIGKILL)
        code, stdout, stderr = finish(run)
    assert watch.seconds < 10 and code != 0
    assert "signal 9" in stdout + stderr  # the launcher's own message
    with pytest.raises(ProcessLookupError):
        os.kill(pids[1 - killed], 0)
    with meanfield.Result.open(out) as result:
        descent = result["gradient_descent"]
        assert len(descent.snapshots) > 1
        assert np.isfinite(descent.snapshots[-1].position).all()


@needs_mpi
@pytest.mark.slow
def test_the_example_of_the_document(capsys):
    text = (Path(__file__).parents[3] / "docs/guides/mpi.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    code, stdout, stderr = finish(start(2, block))
    assert code == 0, stderr

    task = meanfield.tasks.digits(n=100)
    risk = meanfield.Risk(meanfield.TwoLayerNetwork(input_dim=64), task)
    x0 = risk.network.initialize(n_particles=200, seed=0)
    descent = solvers.solve(solvers.GradientDescent(1.0), risk, x0, steps=20)
    sharpness = solvers.top_eigenpairs(risk, descent.centers[-1]).values[0]
    rod = solvers.solve(solvers.RodFlow(1.0), risk, x0, steps=20)
    print(descent.losses[-1], sharpness, abs(descent.centers[-1] - rod.centers[-1]).max())
    assert stdout == capsys.readouterr().out


FAILS = {
    "an exception": (
        "import meanfield.distributed as d; from meanfield.study.engine.ranks import launched_rank\n"
        "together, calls = d.SpreadRisk.value_and_gradient, []\n"
        "def fail(self, x):\n"
        "    calls.append(x)\n"
        "    if launched_rank() == 1 and len(calls) == 3: raise MemoryError('no room')\n"
        "    return together(self, x)\n"
        "d.SpreadRisk.value_and_gradient = fail\n",
        "error: rank 1 of 2: MemoryError: no room",
    ),
    "a full disk": (
        "from meanfield.study.storage.schema import OutputError; import meanfield.study.engine.run as r\n"
        "def fail(self, *row): raise OutputError('run.h5.partial: cannot write: disk full')\n"
        "r.RunWriter.observe = fail\n",
        "error: rank 0 of 2: run.h5.partial: cannot write: disk full",
    ),
}


@needs_mpi
@pytest.mark.slow
@pytest.mark.parametrize("cause", FAILS)
def test_what_happens_to_one_process_ends_the_others(tmp_path, cause):
    code, message = FAILS[cause]
    out = ("--out", str(tmp_path / "out"))
    run = start(2, code + COMMAND, "run", *settings(SMALL), "--no-figures", *out)
    returned, _, stderr = finish(run)
    assert returned == 1 and message in stderr
    assert ("Traceback" in stderr) == (cause == "an exception")
    assert not (tmp_path / "out/run.h5").exists()


SHARES = """
import os; os.environ.pop("NUMBA_NUM_THREADS", None)
from meanfield.study.engine.ranks import find_ranks
from meanfield.distributed import Communicator
from meanfield._kernels.threads import most_threads, use_threads
find_ranks()
shared = most_threads()
use_threads(1)
processes = Communicator.world()
counts = processes.comm.gather((processes.cores(), shared, most_threads()))
if processes.rank == 0:
    import json; print(json.dumps(counts))
"""


@needs_mpi
@pytest.mark.slow
def test_processes_share_the_cores_unless_they_are_told():
    code, stdout, stderr = finish(start(2, SHARES))
    assert code == 0, stderr
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    for share, shared, told in json.loads(stdout):
        assert shared == share <= max(1, cores // 2) and told == 1
