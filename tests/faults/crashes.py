"""Kills runs with SIGKILL and resumes them, again and again; every one must end as the run that was left in peace.

    python -m tests.faults.crashes FOLDER --kills 100 --at write --seed 1

Every run is a process of its own, forked from this one, which computes nothing itself. It is killed at a random moment, or at a
random one of its writes: before, in the midst of, or after it. A resumed run may be killed once more.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

from meanfield.study.config.run_config import load_text
from meanfield.study.engine.checkpointing import Schedule
from meanfield.study.engine.prepared_run import Options
from meanfield.study.engine.resume import resume
from meanfield.study.engine.run import run
from meanfield.study.storage import run_folder
from meanfield.study.storage import writer as snapshots
from meanfield.study.storage.files.fault_tolerant import FaultTolerantFile
from meanfield.study.storage.reader import RunReader
from tests.helpers.clocks import Stopwatch
from tests.helpers.same_runs import CLOCK, assert_same

PROBLEMS = {
    "landscape": """
[landscape]
name = "valley"
""",
    "network": """
[task]
n = 20
[network]
width = 8
""",
}
STUDY = """
learning_rate = 0.3
steps = 24
PROBLEM
[output]
snapshot_every = 4
sharpness_every = 5
eigenvalues = 2
[processes.gradient_descent]
[processes.central_flow]
[processes.langevin]
temperature = 1e-3
"""
OPTIONS = Options(Schedule(seconds=1000.0, steps=7))
MOST_KILLS = 3  # of one run


class Writes:
    """Counts everything that reaches the disk, and kills the process at one of them."""

    def __init__(self, fatal=None, how=0.5):
        self.count, self.fatal, self.how = 0, fatal, how

    def install(self):
        write, truncate, replace, fsync = (
            FaultTolerantFile.write, FaultTolerantFile.truncate, os.replace, os.fsync,
        )  # fmt: skip
        counter = self

        def counted_write(file, data):
            if counter.is_fatal():
                write(file, memoryview(data).cast("B")[: int(counter.how * len(data))])
                die()
            return write(file, data)

        def counted(function):
            def call(*arguments):
                fatal = counter.is_fatal()
                if fatal and counter.how < 0.5:
                    die()
                result = function(*arguments)
                if fatal:
                    die()
                return result

            return call

        FaultTolerantFile.write, FaultTolerantFile.truncate = counted_write, counted(truncate)
        os.replace, os.fsync = counted(replace), counted(fsync)

    def is_fatal(self):
        self.count += 1
        return self.count == self.fatal


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def go_on(folder, problem, writes):
    """In a child: run, or resume if there is something to resume."""
    snapshots.ROWS_PER_WRITE = 3
    writes.install()
    left = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if left & {"checkpoint-0", "checkpoint-1"}:
        resume(folder, OPTIONS)
    else:
        run(load_text(STUDY.replace("PROBLEM", PROBLEMS[problem])), folder, options=OPTIONS)


def in_child(folder, problem, fatal=None, how=0.5, kill_after=None):
    """Whether it ended well (not if it was killed), how many writes there were, how long it took."""
    notes = folder.with_suffix(".writes")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            writes = Writes(fatal, how)
            go_on(folder, problem, writes)
            notes.write_text(str(writes.count))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    seconds = seconds_to_the_end(child, kill_after)
    if seconds is None:
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False, None, None
    if status != 0:
        raise RuntimeError(f"{folder}: the run failed with status {status}")
    return True, int(notes.read_text()), seconds


def seconds_to_the_end(child, limit=None):
    """How long it took, a busy machine's delays left out; None if it is not at its end after so long."""
    watch = Stopwatch(child)
    while limit is None or watch.read() < limit:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return watch.read()
        time.sleep(0.002)
    return None


def check_what_is_left(folder, expected):
    """Every row that can be read after a crash is that of the run that was left in peace; how many there are."""
    if not (folder / run_folder.PARTIAL_NAME).exists():
        return 0
    run_folder.RunFolder(folder, patience=60).close()  # what it had started ends too
    try:
        reader = RunReader(folder / run_folder.PARTIAL_NAME)
        header = reader.header()
    except ValueError:  # it died before the file was there in full
        return 0
    total = 0
    for name, process in header.processes.items():
        total += process.rows
        theirs = expected.observables(name, process.rows)
        for key, values in reader.observables(name, process.rows).items():
            assert key in CLOCK or values.tobytes() == theirs[key].tobytes(), (folder, name, key)
        for i in range(len(process.snapshot_times)):
            ours, right = reader.snapshot(name, i), expected.snapshot(name, i)
            for own, other in zip(ours[:3], right[:3], strict=True):  # the fourth is for measures
                assert own.tobytes() == other.tobytes(), (folder, name, i)
    reader.close()
    return total


def crash(folder, problem, kills, at, seed):
    """Kill so often, in as many runs as that takes; counts of what happened."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    in_child(folder / "compiled", problem)
    _, writes, seconds = in_child(folder / "undisturbed", problem)
    expected = RunReader(folder / "undisturbed")
    done = {"killed": 0, "runs": 0, "equal": 0, "writes": writes, "rows left": 0}
    while done["killed"] < kills:
        out = folder / str(done["runs"])
        done["runs"] += 1
        for attempt in range(MOST_KILLS + 1):
            if attempt == MOST_KILLS or done["killed"] == kills:
                fault = {}
            elif at == "write":
                fault = {
                    "fatal": rng.randint(1, writes),
                    "how": rng.choice([0, 0.01, 0.5, 0.99, 1]),
                }
            else:
                fault = {"kill_after": rng.uniform(0, seconds)}
            ended, _, took = in_child(out, problem, **fault)
            if ended:
                if attempt == 0:  # the machine has less to do than it had
                    seconds = min(seconds, took)
                break
            done["killed"] += 1
            done["rows left"] += check_what_is_left(out, expected)
        assert_same(out / "run.h5", expected.path)
        assert os.listdir(out) == ["run.h5"], os.listdir(out)
        done["equal"] += 1
        shutil.rmtree(out)
    return done


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--problem", choices=list(PROBLEMS), default="landscape")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--at", choices=["random", "write"], default="write")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    json.dump(crash(**vars(arguments)), sys.stdout)


if __name__ == "__main__":
    main()
