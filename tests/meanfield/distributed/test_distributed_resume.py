"""Runs of several processes that were stopped or killed, and are carried on by other numbers of them."""

import os
import signal

import pytest

from meanfield.study.engine import ranks as ranks_module
from meanfield.study.engine.checkpointing import Checkpointer, Schedule
from meanfield.study.engine.signals import Interruption, Stopped
from meanfield.study.storage.checkpoint import NAMES, Checkpoint, Checkpoints
from tests.helpers.clocks import wait_until
from tests.helpers.same_runs import assert_same
from tests.meanfield.distributed.test_distributed_runs import (
    COMMAND,
    finish,
    needs_mpi,
    run_alone,
    start,
)
from tests.meanfield.distributed.test_ranks import in_team

# flows with a history, with fluctuations, with a warm start, and one that needs the particles together
STUDY = """
steps = {steps}
learning_rate = 0.5
[task]
n = 20
[network]
width = 37
[output]
snapshot_every = 10
sharpness_every = 6
eigenvalues = 2
[processes.gradient_descent]
[processes.delayed]
flow = "free_energy_flow"
delay = true
dt = 0.2
[processes.free_energy_flow]
rank = 2
integrator = "euler"
[processes.edge_flow]
[processes.rod_flow]
"""
STEPS = 24


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The study, and what a single process makes of it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    config = folder / "study.toml"
    config.write_text(STUDY.format(steps=STEPS))
    return config, run_alone(config, folder / "alone")


def begin(config, out, size=2):
    """A run with a checkpoint at every step, so slow that it can be hit in the midst of it."""
    slow = (
        "import time; from meanfield.study.engine.recorder import Recorder as R\n"
        "report = R._report\n"
        "R._report = lambda *a: (time.sleep(0.05), report(*a))[1]\n"
    )
    arguments = ("run", str(config), "--no-figures", "--checkpoint-every", "1", "--out", str(out))
    return start(size, slow + COMMAND, *arguments)


def wait_for(process, out, name):
    """Until a checkpoint is of the process of that name; the process of the operating system by its rank."""

    def is_there():
        assert process.poll() is None
        found = Checkpoints(out).load() if all((out / each).exists() for each in NAMES) else None
        return found is not None and found.process == name and found.position.state.step > 2

    wait_until(is_there)
    return [int((out.parent / f"{out.name}.pid.{rank}").read_text()) for rank in (0, 1)]


def resume(size, out):
    code, _, stderr = finish(start(size, COMMAND, "resume", str(out), "--no-figures", "--quiet"))
    assert code == 0, stderr


@needs_mpi
@pytest.mark.slow
@pytest.mark.parametrize(
    ("killed", "during", "sizes"),
    [(1, "delayed", 3), (0, "free_energy_flow", 1), (1, "gradient_descent/perturbed", 1)],
)
def test_a_run_that_lost_a_process_is_carried_on_by_any_number_of_them(
    undisturbed, tmp_path, killed, during, sizes
):
    config, expected = undisturbed
    out = tmp_path / "out"
    run = begin(config, out)
    pids = wait_for(run, out, during)
    os.kill(pids[killed], signal.SIGKILL)
    code, _, _ = finish(run)
    assert code != 0 and (out / "run.h5.partial").exists()
    resume(sizes, out)
    assert os.listdir(out) == ["run.h5"]
    assert_same(out / "run.h5", expected)


@needs_mpi
@pytest.mark.slow
@pytest.mark.parametrize("told", ["the launcher", "one process"])
def test_a_run_that_is_told_to_end_leaves_a_checkpoint(undisturbed, tmp_path, told):
    config, expected = undisturbed
    out = tmp_path / "out"
    run = begin(config, out)
    pids = wait_for(run, out, "delayed")
    os.kill(run.pid if told == "the launcher" else pids[1], signal.SIGTERM)
    code, _, stderr = finish(run)
    assert code == 143 and "Traceback" not in stderr
    assert stderr.count("stopped by SIGTERM") == 1
    resume(2, out)
    assert_same(out / "run.h5", expected)


@needs_mpi
@pytest.mark.slow
def test_what_cannot_be_resumed_earns_one_message(tmp_path):
    code, stdout, stderr = finish(start(2, COMMAND, "resume", str(tmp_path)))
    assert (
        code == 2
        and stderr.count("error") == 1
        and "must hold a run that can be resumed, got none" in stderr
        and not stdout
    )


class Nothing:
    """A writer and checkpoints that count how often they were asked."""

    def __init__(self):
        self.saved = 0

    def sync(self):
        return {}

    def save(self, checkpoint):
        self.saved += 1


def checkpointer(ranks, schedule, interruption=None):
    nothing = Nothing()
    about = Checkpoint("", "", "", "")
    return Checkpointer(
        about, nothing, nothing, schedule, interruption or Interruption(), ranks
    ), nothing


def test_a_signal_to_one_process_stops_all_after_the_same_step():
    def prepared(ranks, rank):
        interruption = Interruption()
        kept, _ = checkpointer(ranks, Schedule(), interruption)
        for step in range(10):
            if (rank, step) == (1, 3):
                interruption.reason = "SIGTERM"
            try:
                kept.pause(step)
            except Stopped:
                return step, interruption.reason

    assert in_team(3, prepared) == [(3, "SIGTERM")] * 3


def test_only_the_first_process_writes_checkpoints_and_any_may_be_asked_for_one():
    def prepared(ranks, rank):
        interruption = Interruption()
        kept, nothing = checkpointer(ranks, Schedule(steps=4), interruption)
        for step in range(10):  # due at 4 and 8
            interruption.checkpoint_asked |= (rank, step) == (2, 5)
            kept.pause(step)
        return nothing.saved

    assert in_team(3, prepared) == [3, 0, 0]


def test_without_a_schedule_there_are_no_checkpoints():
    interruption = Interruption()
    interruption.checkpoint_asked = True
    kept, nothing = checkpointer(ranks_module.Ranks(), None, interruption)
    kept.pause(1)
    kept.save()
    assert nothing.saved == 0
