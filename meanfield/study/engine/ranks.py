"""The processes that run a study: one, or those of an MPI job, of which the first writes and speaks."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from meanfield.study.engine.mpi_launcher import launched_rank, launched_size
from meanfield.study.engine.signals import EXIT_CODES
from meanfield.study.storage.layout import Floats, OutputError, RowCounts, Status
from meanfield.study.storage.writer import RunWriter

if TYPE_CHECKING:
    import solvers
    from meanfield.distributed import Processes
    from meanfield.study.engine.build import Problem

T = TypeVar("T")


class Ranks:
    """One process, which does everything itself."""

    is_first = True  #: whether this process writes and speaks
    size = 1  #: how many there are

    def together(self) -> AbstractContextManager[None]:
        """What is done within fails on all processes or on none: an error of one is raised on all. Nothing collective in it."""
        return nullcontext()

    def on_error_end_all(self) -> AbstractContextManager[None]:
        """An exception that leaves it on one process, wherever the others are, ends all of them, with a message."""
        return nullcontext()

    def largest(self, number: float) -> float:
        """The largest of a number that each process gives: how they decide together what none may do alone."""
        return number

    def of_first(self, make: Callable[[], T]) -> T:
        """What the first process makes, for all of them; its errors are raised on all. Nothing collective in it."""
        return make()

    def require_same(self, describe: Callable[[], Mapping[str, object]]) -> None:
        """ValueError on all processes where what they describe differs, with the keys and the processes."""

    def require_shares(self, problem: Problem) -> None:
        """ValueError where there is not a share of the problem for every process."""

    def problem_for(self, problem: Problem, flow: solvers.Flow, **time_stepping: Any) -> Problem:
        """The problem as a flow needs it to be evaluated by all processes together."""
        return problem


class JobRanks(Ranks):
    """The processes of an MPI job."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self.is_first, self.size = processes.rank == 0, processes.size

    @contextmanager
    def together(self) -> Iterator[None]:
        error: Exception | None = None
        with self.on_error_end_all():  # errors that nobody foresaw
            try:
                yield
            except (OutputError, ValueError) as raised:
                error = raised
        errors = self._processes.comm.allgather(None if error is None else _portable(error))
        first = next((rank for rank, found in enumerate(errors) if found is not None), None)
        if first is None:
            return
        if first == 0:  # it speaks for all
            raise errors[0] from None
        raise type(errors[first])(f"rank {first}: {errors[first]}") from None

    @contextmanager
    def on_error_end_all(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:  # before the steps, or the second one
            self._abort("interrupted", EXIT_CODES["SIGINT"])
        except BaseException as error:
            if not isinstance(error, OutputError):
                traceback.print_exc()
            name = "" if isinstance(error, OutputError) else f"{type(error).__name__}: "
            self._abort(f"{name}{error}", 1)

    def _abort(self, message: str, code: int) -> NoReturn:
        rank, size = self._processes.rank, self._processes.size
        print(f"error: rank {rank} of {size}: {message}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        self._processes.comm.Abort(code)
        raise SystemExit(code)

    def largest(self, number: float) -> float:
        return float(self._processes.numbers(number).max())

    def of_first(self, make: Callable[[], T]) -> T:
        made = None
        with self.together():
            if self.is_first:
                made = make()
        shared: T = self._processes.comm.bcast(made)  # pickled: by another process of this job
        return shared

    def require_same(self, describe: Callable[[], Mapping[str, object]]) -> None:
        from meanfield.distributed import require_same

        with self.on_error_end_all():
            about = describe()
        require_same(self._processes.comm, about)

    def require_shares(self, problem: Problem) -> None:
        from meanfield.distributed import SpreadRisk
        from meanfield.study.engine.build import NetworkProblem

        size = self._processes.size
        if isinstance(problem, NetworkProblem):
            try:
                SpreadRisk(problem.risk, len(problem.start), self._processes)
            except ValueError as error:
                raise ValueError(str(error).replace("n_particles", "network.width")) from None
        elif size > 1:
            raise ValueError(
                f"landscape must be left out on {size} ranks, got one; it has no particles to distribute"
            )

    def problem_for(self, problem: Problem, flow: solvers.Flow, **time_stepping: Any) -> Problem:
        from meanfield.distributed import GatheredRisk, SpreadRisk
        from meanfield.study.engine.build import NetworkProblem, SpreadProblem
        from solvers.stepping import is_particlewise

        if not isinstance(problem, NetworkProblem):
            return problem
        if not is_particlewise(flow, **time_stepping):
            return NetworkProblem(GatheredRisk(problem.risk, self._processes), problem.start)
        risk = SpreadRisk(problem.risk, len(problem.start), self._processes)
        return SpreadProblem(risk, risk.own(problem.start))


class SilentWriter(RunWriter):
    """Stands in for `RunWriter` on the processes that write nothing; it knows when snapshots were taken.

    Parameters
    ----------
    times : mapping, optional
        Of the snapshots that the file of a run that goes on has of every process.
    """

    def __init__(self, times: Mapping[str, NDArray[np.float64]] | None = None) -> None:
        self.status: Status = "complete"
        self.message = ""
        self._times = {name: list(values) for name, values in (times or {}).items()}

    def __exit__(self, *exception: object) -> None: ...

    def observe(self, process: str, time: float, row: Mapping[str, Any]) -> None: ...

    def snapshot(self, process: str, time: float, position: Floats, fluctuation: Floats) -> None:
        self._times.setdefault(process, []).append(time)

    def finish(self, process: str, status: Status, message: str = "") -> None: ...

    def sync(self) -> dict[str, RowCounts]:
        return {}

    def compare(self, *comparison: object) -> None: ...

    def snapshot_times(self, process: str) -> NDArray[np.float64]:
        return np.array(self._times.get(process, []))


def find_ranks(command: str = "run") -> Ranks:
    """The processes that an MPI launcher started, or this one alone.

    Parameters
    ----------
    command : str
        What they are to do together.

    Raises
    ------
    ValueError
        A launcher started processes that cannot reach each other through mpi4py, or that are to do different things.
    """
    if launched_rank() is None:
        return Ranks()
    from meanfield._kernels.threads import use_cores
    from meanfield.distributed import Processes

    started = launched_size()
    try:
        processes = Processes.world()
    except ImportError as error:
        raise ValueError(
            f"mpi4py must be usable where an MPI launcher started the program: {error}"
        ) from None
    if started is not None and started != processes.size:
        raise ValueError(
            f"the MPI launcher must be that of mpi4py's MPI library, got {started} ranks started "
            f"and {processes.size} found"
        )
    use_cores(processes.cores())
    ranks = JobRanks(processes)
    ranks.require_same(lambda: {"command": command})
    return ranks


def end_before_joining(code: int) -> None:
    """Tell the other processes of a job, which may be waiting for this one, that it ends before it has joined them.

    Where all of them end so, as they do when all have the same wrong command line, nothing more is said.
    """
    if launched_rank() is not None and "mpi4py.MPI" not in sys.modules:
        with suppress(ValueError):
            find_ranks(f"nothing (it ended with exit code {code})")


def _portable(error: Exception) -> Exception:
    """The error in a class that can be made of a message alone."""
    return (OutputError if isinstance(error, OutputError) else ValueError)(str(error))
