"""Processes of an MPI job that were started with different settings or data: all of them refuse, and none waits for another."""

import json

import numpy as np
import pytest

from meanfield.distributed import require_same
from tests.helpers.lockstep import in_lockstep
from tests.meanfield.distributed.test_distributed_runs import (
    COMMAND,
    SMALL,
    contents,
    finish,
    needs_mpi,
    run_alone,
    settings,
    start,
)

# --- what is said ---


class Comm:
    def __init__(self, processes):
        self.rank, self.allgather = processes.rank, processes._exchange


def messages(*abouts):
    """What every process raises, each saying one of these about itself; None where it raises nothing."""

    def prepared(processes):
        try:
            require_same(Comm(processes), abouts[processes.rank])
        except ValueError as error:
            return str(error)

    return in_lockstep(len(abouts), prepared)


REMEDY = "start every rank with the same configuration, data and packages"


def test_processes_that_agree_hear_nothing():
    assert messages({}, {}) == [None] * 2
    assert messages(*[{"learning_rate": 0.1, "seed": 3}] * 3) == [None] * 3


def test_all_processes_hear_who_has_what():
    (said,) = set(messages({"a": 1, "b": 2}, {"a": 1, "b": 2.5}, {"b": 2, "a": 1}, {"a": 1}))
    assert said == (
        "b must be the same on every rank, got 2 on ranks 0, 2 and 2.5 on rank 1 and nothing on rank 3\n"
        + REMEDY
    )


def test_numbers_that_differ_in_the_last_digit_differ():
    (said,) = set(messages({"a": 0.3}, {"a": 0.1 + 0.2}))
    assert "got 0.3 on rank 0 and 0.30000000000000004 on rank 1" in said


def test_a_message_stays_short():
    (said,) = set(
        messages({f"k{i}": "long " * 1000 for i in range(30)}, {f"k{i}": i for i in range(30)})
    )
    assert len(said) < 3000 and "and 22 more differ" in said and said.endswith(REMEDY)


# --- runs ---

# one job does all of them: what the second process has in place of the first one's setting, and the key in the message
SETTINGS = {
    "learning_rate=0.25": "learning_rate",
    "task.seed=1": "task.seed",
    "task.n=13": "task.n",
    "network.activation=relu": "network.activation",
    "network.width=16": "network.width",
    "risk.weight_decay=0.001": "risk.weight_decay",
    "risk.dtype=float32": "risk.dtype",
    "seed=1": "seed",
    "steps=7": "steps",
    "output.snapshot_every=2": "output.snapshot_every",
    "output.sharpness_every=3": "output.sharpness_every",
    "output.eigenvalues=2": "output.eigenvalues",
    "processes.rod_flow={}": "processes.rod_flow.",
    "processes.gradient_flow.delay=true": "processes.gradient_flow.delay",
}
JOB = """
import json, sys
from pathlib import Path
import numpy as np
import meanfield.study.engine.prepared_run as works
from meanfield.study.config.run_config import load
from meanfield.study.engine.mpi_launcher import launched_rank
from meanfield.study.engine.given import Given
from meanfield.study.engine.run import run
from meanfield.study.engine.prepared_run import Options

folder, base, changes = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
second, said = launched_rank() == 1, []


def attempt(*more, **arguments):
    try:
        run(load(None, (*base, *more)), folder / "out", **arguments)
        said.append(None)
    except ValueError as error:
        said.append(str(error))


for change in changes:
    attempt(*[change] * second)
x = np.random.default_rng(0).standard_normal((8, 66))
attempt(given=Given(start=x[::-1] if second else x))  # the same neurons in another order
attempt(options=Options(schedule=None) if second else None)
for name in ("stale", "none"):
    attempt("task={name='npz', path='%s/%s.npz'}" % (folder, name if second else "new"))
if second:
    versions = works.current_versions
    works.current_versions = lambda: json.dumps(json.loads(versions()) | {"scipy": "0.1"})
attempt()
Path(f"{folder}/said.{launched_rank()}").write_text(json.dumps(said))
"""
BASE = [
    "steps=6", "task.n=12", "network.width=8", "learning_rate=0.5", "output.snapshot_every=3",
    "processes.gradient_descent={}", "processes.gradient_flow={}",
]  # fmt: skip


def save_data(path, change=0.0):
    rng = np.random.default_rng(0)
    inputs, targets = rng.standard_normal((9, 3)), rng.standard_normal((9, 1))
    targets[4, 0] += change
    np.savez(path, inputs=inputs, targets=targets)


@needs_mpi
@pytest.mark.slow
@pytest.mark.essential
def test_runs_with_different_settings_or_data_are_refused_by_all(tmp_path):
    save_data(tmp_path / "new.npz")
    save_data(tmp_path / "stale.npz", 1e-12)
    changes = list(SETTINGS)
    code, _, stderr = finish(start(2, JOB, str(tmp_path), json.dumps(BASE), json.dumps(changes)))
    assert code == 0, stderr
    first, second = (json.loads((tmp_path / f"said.{rank}").read_text()) for rank in (0, 1))
    assert first == second and not (tmp_path / "out").exists()
    *heard, began, schedule, stale, missing, version = first
    for (change, key), said in zip(SETTINGS.items(), heard, strict=True):
        lines = said.splitlines()
        assert lines[-1] == REMEDY
        # a delay has a scheme of its own, so that the keys of the default one are missing
        section = key.rpartition(".")[0] if key.endswith(".delay") else key
        assert all(line.startswith(section) for line in lines[:-1]), said
        lines = [line for line in lines if line.startswith(key)]
        value = change.split("=")[-1].lower().replace("{}", "rod_flow")
        assert value in lines[0].lower().split(" and ")[1]
    assert began.startswith("start must be the same")
    assert schedule.startswith("checkpoints must be the same")
    assert stale.startswith("task.targets must be the same") and "task.inputs" not in stale
    assert missing.startswith("rank 1: ") and "none.npz" in missing
    assert "version of scipy must be the same" in version and "0.1 on rank 1" in version


TOML = """
steps = 4
[task]
name = "npz"
path = "{path}"
[network]
width = 8
[processes.gradient_descent]
"""
OWN_CONFIG = (  # of every process: study.0.toml, study.1.toml
    "import sys; from meanfield.study.engine.mpi_launcher import launched_rank\n"
    "sys.argv[2] = sys.argv[2].replace('RANK', str(launched_rank()))\n" + COMMAND
)


@needs_mpi
@pytest.mark.slow
def test_machines_may_keep_the_same_data_in_different_folders(tmp_path):
    for rank in (0, 1):
        save_data(tmp_path / f"data.{rank}.npz")
        (tmp_path / f"study.{rank}.toml").write_text(TOML.format(path=f"data.{rank}.npz"))
    out = tmp_path / "2"
    arguments = ("run", str(tmp_path / "study.RANK.toml"), "--no-figures", "--out", str(out))
    code, _, stderr = finish(start(2, OWN_CONFIG, *arguments))
    assert code == 0, stderr
    assert contents(out / "run.h5") == contents(
        run_alone(tmp_path / "study.0.toml", tmp_path / "1")
    )


def wrong_toml(folder):
    (folder / "study.1.toml").write_text("steps = six")
    return "rank 1: ", "invalid TOML"


def wrong_toml_of_the_first(folder):
    (folder / "study.0.toml").write_text("steps = -1")
    return "", "steps must be at least 0, got -1"


def no_toml(folder):
    (folder / "study.1.toml").unlink()
    return "rank 1: ", "no such file"


def no_data(folder):
    (folder / "data.1.npz").unlink()
    return "rank 1: ", "data.1.npz"


def more_steps(folder):
    text = (folder / "study.1.toml").read_text()
    (folder / "study.1.toml").write_text(text.replace("steps = 4", "steps = 5"))
    return "steps must be the same on every rank, got 4 on rank 0 and 5 on rank 1", REMEDY


@needs_mpi
@pytest.mark.slow
@pytest.mark.parametrize(
    "spoil", [wrong_toml, wrong_toml_of_the_first, no_toml, no_data, more_steps]
)
def test_one_message_and_exit_code_2_where_one_process_has_something_else(tmp_path, spoil):
    for rank in (0, 1):
        save_data(tmp_path / f"data.{rank}.npz")
        (tmp_path / f"study.{rank}.toml").write_text(TOML.format(path=f"data.{rank}.npz"))
    beginning, content = spoil(tmp_path)
    arguments = ("run", str(tmp_path / "study.RANK.toml"), "--out", str(tmp_path / "out"))
    code, stdout, stderr = finish(start(2, OWN_CONFIG, *arguments))
    assert code == 2 and not stdout
    assert stderr.count("error:") == 1 and "Traceback" not in stderr
    assert stderr.split("error:")[1].strip().startswith(beginning) and content in stderr
    assert not (tmp_path / "out").exists()


@needs_mpi
@pytest.mark.slow
@pytest.mark.parametrize(
    ("second", "described"),
    [
        (["resume", "."], "resume"),
        (["run", "--nonsense"], "nothing (it ended with exit code 2)"),
        (["run", "--max-runtime", "x"], None),
    ],
)
def test_processes_with_other_command_lines_are_not_waited_for(tmp_path, second, described):
    code = (
        "import sys; from meanfield.study.engine.mpi_launcher import launched_rank\n"
        f"if launched_rank() == 1: sys.argv[1:] = {second!r}\n" + COMMAND
    )
    out = str(tmp_path / "out")
    code, _, stderr = finish(start(2, code, "run", *settings(SMALL), "--out", out))
    assert code == 2 and stderr.count("error:") == 1 and "Traceback" not in stderr
    if described is None:
        assert "error: rank 1: --max-runtime" in stderr
    else:
        assert f"command must be the same on every rank, got run on rank 0 and {described}" in (
            stderr
        )


# --- in Python ---

IN_PYTHON = """
import json, sys
import numpy as np
import meanfield
from meanfield.distributed import Communicator, gathered, spread

second, said = Communicator.world().rank == 1, []


def risk(change=0.0, activation="tanh", loss="squared", **options):
    rng = np.random.default_rng(0)
    inputs, targets = rng.standard_normal((9, 2)), np.eye(2)[rng.integers(0, 2, 9)]
    inputs[3, 1] += change
    task = meanfield.tasks.Task(inputs, targets, "random")
    return meanfield.Risk(meanfield.TwoLayerNetwork(2, 2, activation), task, loss, **options)


def attempt(make, **changes):
    try:
        make(risk(**changes if second else {}))
        said.append(None)
    except (ValueError, RuntimeError) as error:
        said.append(str(error))


changes = [
    dict(), dict(change=1e-12), dict(activation="relu"), dict(loss="softmax"), dict(weight_decay=0.1),
    dict(dtype="float32"),
]
for make in (gathered, lambda risk: spread(risk, 20)):
    for change in changes:
        attempt(make, **change)
attempt(lambda risk: spread(risk, 20 + second))
x = np.random.default_rng(1).standard_normal((20, 5))
shares = spread(risk(), 20)
attempt(lambda risk: shares.own(x))
attempt(lambda risk: shares.own(x[::-1] if second else x))
attempt(lambda risk: shares.own(-x if second else x))
print(json.dumps(Communicator.world().comm.gather(said)) if not second else
      Communicator.world().comm.gather(said) or "", end="")
"""


@pytest.mark.slow
@pytest.mark.essential
@needs_mpi
def test_risks_that_differ_are_refused_by_all(tmp_path):
    code, stdout, stderr = finish(start(2, IN_PYTHON))
    assert code == 0, stderr
    first, second = json.loads(stdout)
    assert first == second
    keys = [None, "inputs", "network", "loss", "weight_decay", "dtype"] * 2 + ["n_particles", None]
    for key, said in zip(keys, first[:-2], strict=True):
        assert said is None if key is None else said.startswith(f"{key} must be the same"), said
        assert key is None or len(said.splitlines()) == 2
    assert all("must hold the same particles" in said for said in first[-2:])
