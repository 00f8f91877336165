"""What the processes of a job agree on: threads in lockstep take their place."""

import os
import subprocess
import sys

import numpy as np
import pytest

from meanfield.study.config.run_config import load
from meanfield.study.engine import ranks as ranks_module
from meanfield.study.engine.build import build_problem
from meanfield.study.engine.mpi_launcher import is_first, launched_rank, launched_size
from meanfield.study.storage.schema import OutputError
from tests.helpers.clocks import HANGS
from tests.helpers.lockstep import in_lockstep
from tests.meanfield.distributed.test_distributed_runs import SMALL


@pytest.mark.parametrize(
    ("variables", "rank", "size"),
    [
        ({}, None, None),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "4"}, None, None),  # tasks that are no MPI job
        ({"PMI_RANK": "1", "PMI_SIZE": "2"}, 1, 2),
        ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "3"}, 0, 3),
        ({"PMIX_RANK": "3", "SLURM_STEP_NUM_TASKS": "4"}, 3, 4),
        ({"PMIX_RANK": "0"}, 0, None),
    ],
)
def test_a_launcher_is_known_by_its_environment(monkeypatch, variables, rank, size):
    _forget_launchers(monkeypatch)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (launched_rank(), launched_size()) == (rank, size)
    assert is_first() == (rank in (None, 0))


def _forget_launchers(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("PMI", "OMPI_", "SLURM_")):
            monkeypatch.delenv(name)


def test_without_mpi4py_a_launched_process_says_so(monkeypatch):
    _forget_launchers(monkeypatch)
    monkeypatch.setenv("PMI_RANK", "1")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(
        ValueError, match=r"where an MPI launcher started the program: .*meanfield-eos\[mpi\]"
    ):
        ranks_module.find_ranks()


def test_a_launcher_of_another_mpi_is_found_out(monkeypatch):
    _forget_launchers(monkeypatch)
    monkeypatch.setenv("PMI_RANK", "1")
    monkeypatch.setenv("PMI_SIZE", "2")

    class Alone:
        size = 1

    monkeypatch.setattr("meanfield.distributed.Communicator.world", Alone)
    with pytest.raises(
        ValueError, match="that of mpi4py's MPI library, got 2 ranks started and 1 found"
    ):
        ranks_module.find_ranks()


@pytest.mark.slow
@pytest.mark.essential
def test_a_plain_run_knows_nothing_of_mpi(tmp_path):
    code = (
        "import sys; from meanfield.study.engine.run import run; from meanfield.study.config.run_config import load\n"
        f"run(load(None, {SMALL!r}), {str(tmp_path / 'out')!r}); assert 'mpi4py' not in sys.modules"
    )
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("PMI", "OMPI_"))}
    subprocess.run([sys.executable, "-c", code], check=True, env=variables, timeout=HANGS)


class Job:
    """What `JobRanks` needs of processes in lockstep: objects go around too, and the end of all is an exception."""

    def __init__(self, processes):
        self.comm = self
        self.rank, self.size = processes.rank, processes.size
        self.numbers, self._exchange = processes.numbers, processes._exchange

    def allgather(self, value):
        return self._exchange(value)

    def bcast(self, value):
        return self._exchange(value)[0]

    def Abort(self, code):
        raise RuntimeError(f"abort {code} from {self.rank}")


def in_team(size, prepared):
    return in_lockstep(
        size, lambda processes: prepared(ranks_module.JobRanks(Job(processes)), processes.rank)
    )


@pytest.mark.parametrize("error", [ValueError, OutputError])
@pytest.mark.parametrize(("failing", "message"), [({0}, "^bad$"), ({1}, "^rank 1: bad$")])
def test_an_error_of_one_process_is_one_of_all(error, failing, message):
    def prepared(ranks, rank):
        with ranks.together():
            pass
        with pytest.raises(error, match=message), ranks.together():
            if rank in failing:
                raise error("bad")

    in_team(3, prepared)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyError("bug"), 1, "error: rank 1 of 2: KeyError: 'bug'"),
        (OutputError("disk full"), 1, "error: rank 1 of 2: disk full"),
        (KeyboardInterrupt(), 130, "error: rank 1 of 2: interrupted"),
    ],
)
def test_an_exception_ends_the_job_with_the_number_of_the_process(capsys, error, code, message):
    def prepared(ranks, rank):
        with ranks.on_error_end_all():
            if rank == 1:
                raise error

    with pytest.raises(RuntimeError, match=f"abort {code} from 1"):
        in_team(2, prepared)
    stderr = capsys.readouterr().err
    assert message in stderr
    assert ("Traceback" in stderr) == isinstance(error, KeyError)


def test_what_the_first_process_makes_all_have():
    def prepared(ranks, rank):
        made = ranks.of_first(lambda: f"by {rank}")
        with pytest.raises(ValueError, match="^bad$"):
            ranks.of_first(lambda: int("bad") if rank else _fail())
        return made

    def _fail():
        raise ValueError("bad")

    assert in_team(3, prepared) == ["by 0"] * 3


def test_a_study_without_shares_for_all_is_refused():
    narrow = build_problem(load(None, (*SMALL, "network.width=2")))
    valley = build_problem(load(None, ("landscape={name='valley'}",)))

    def prepared(ranks, rank):
        with pytest.raises(ValueError, match=r"network.width must be .* 3 ranks, got 2"):
            ranks.require_shares(narrow)
        with pytest.raises(ValueError, match=r"landscape must be left out on 3 ranks"):
            ranks.require_shares(valley)

    in_team(3, prepared)


def test_who_does_not_write_knows_when_snapshots_were_taken():
    x = np.zeros((2, 3))
    with ranks_module.SilentWriter() as writer:
        writer.observe("p", 0.0, {})
        assert len(writer.snapshot_times("p")) == 0
        for t in (0.0, 4.0):
            writer.snapshot("p", t, x, x)
        writer.finish("p", "complete")
        np.testing.assert_array_equal(writer.snapshot_times("p"), [0, 4])
    with ranks_module.SilentWriter({"p": writer.snapshot_times("p")}) as writer:
        writer.snapshot("p", 6.0, x, x)
        np.testing.assert_array_equal(writer.snapshot_times("p"), [0, 4, 6])
