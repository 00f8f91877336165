"""Worker processes that execute jobs one after another, and are replaced when they die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from threadpoolctl import threadpool_limits

from meanfield._cores import allowed_cores
from meanfield.study.engine.signals import Interruption
from meanfield.study.storage.files.lock import NO_LOCKS

# Only numba's threads compute; BLAS threads would oversubscribe the cores and change the last digits.
BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
BETWEEN_REPORTS = BETWEEN_LOOKS = 0.2  # seconds
PATIENCE = 4.0  # seconds for workers to end, including the checkpoint of a run

Report = Callable[[str, float], None]  # the name of a job, the fraction of it done


class Job(NamedTuple):
    """``function(*arguments, report)`` in a worker, where ``report(fraction)`` reports progress."""

    name: str
    function: Callable[..., None]
    arguments: tuple[Any, ...]


def available_cores() -> int:
    """Number of cores available to this process; fewer if NUMBA_NUM_THREADS limits it."""
    cores = len(allowed_cores())
    asked = os.environ.get("NUMBA_NUM_THREADS", "")
    return min(cores, int(asked)) if asked.isdigit() and int(asked) > 0 else cores


def do_jobs(
    jobs: list[Job], workers: int, threads: int, report: Report, interruption: Interruption
) -> dict[str, str]:
    """Execute all jobs, `workers` at a time, each with a number of threads; failures by the name of the job.

    A job that raises, or whose worker dies, is skipped; the others continue. An interruption ends all workers by SIGTERM; a
    request for a checkpoint is forwarded to them.

    Raises
    ------
    Stopped
        When interrupted.
    """
    waiting, failures = deque(jobs), dict[str, str]()
    pool = [_Worker(threads) for _ in range(min(workers, len(jobs)))]
    try:
        while waiting or any(worker.job for worker in pool):
            for place, worker in enumerate(pool):
                if worker.job is None and waiting:
                    if not worker.process.is_alive():
                        pool[place] = worker = _Worker(threads)
                    worker.give(waiting.popleft())
            for worker in _with_news(pool):
                worker.listen(report, failures)
            interruption.check()
            if interruption.checkpoint_asked:
                interruption.checkpoint_asked = False
                for worker in pool:
                    worker.ask_for_checkpoint()
    finally:
        with interruption.shielded():
            _end_all(pool)
    return failures


def _end_all(pool: list[_Worker]) -> None:
    for worker in pool:
        worker.stop()
    give_up = time.monotonic() + PATIENCE
    for worker in pool:
        worker.process.join(max(0.0, give_up - time.monotonic()))
        worker.process.kill()


def _with_news(pool: list[_Worker]) -> list[_Worker]:
    busy = {worker.connection: worker for worker in pool if worker.job is not None}
    news = wait(list(busy), BETWEEN_LOOKS)
    return [busy[ready] for ready in news if isinstance(ready, Connection)]


class _Worker:
    """One worker process and its current job."""

    def __init__(self, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.job: Job | None = None
        self._awake = False
        variables = {"NUMBA_NUM_THREADS": threads} | dict.fromkeys(BLAS_VARIABLES, 1)
        with _environment(variables):
            self.process.start()
        theirs.close()

    def give(self, job: Job) -> None:
        self.job = job
        with suppress(BrokenPipeError):  # it died meanwhile, which `listen` detects
            self.connection.send(job)

    def listen(self, report: Report, failures: dict[str, str]) -> None:
        """Receive one message, or record that the worker died."""
        job = self.job
        assert job is not None
        try:
            kind, content = self.connection.recv()
        except (EOFError, OSError):
            self.process.join(PATIENCE)
            failures[job.name] = f"its worker died ({_end(self.process.exitcode)})"
            self.job = None
            return
        self._awake = True
        if kind == "at":
            report(job.name, content)
            return
        if kind == "failed":
            failures[job.name] = content
        report(job.name, 1.0)
        self.job = None

    def ask_for_checkpoint(self) -> None:
        """Send SIGUSR1, but only after `_serve` has started, as it would end the process before."""
        if self._awake and self.process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGUSR1)

    def stop(self) -> None:
        """End the worker; a run writes a checkpoint."""
        if self.job is not None:
            self.process.terminate()
        with suppress(OSError):
            self.connection.send(None)


def _end(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"


@contextmanager
def _environment(variables: Mapping[str, int]) -> Iterator[None]:
    """Context with environment variables for child processes; Numba and BLAS read them on import."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update({name: str(value) for name, value in variables.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# --- in the worker process -----------------------------------------------------------------------


def _serve(connection: Connection) -> None:
    """Execute jobs until there are no more."""
    for name in ("SIGINT", "SIGHUP", "SIGUSR1"):  # the parent decides; a run handles the last one
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    for said in ("compiled code cannot be kept", NO_LOCKS):  # the parent issues these warnings
        warnings.filterwarnings("ignore", said)
    with threadpool_limits(1, user_api="blas"), suppress(EOFError, BrokenPipeError):
        while (job := connection.recv()) is not None:
            connection.send(_do(job, connection))


def _do(job: Job, connection: Connection) -> tuple[str, str]:
    last = 0.0

    def report(fraction: float) -> None:
        nonlocal last
        if time.monotonic() - last > BETWEEN_REPORTS:
            connection.send(("at", fraction))
            last = time.monotonic()

    try:
        job.function(*job.arguments, report)
    except Exception as error:
        return "failed", f"{type(error).__name__}: {error}"
    return "done", ""


def _die_with_parent() -> None:
    """End this worker when the parent is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
