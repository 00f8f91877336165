"""The ranks that carry out a run: a single one, or those of an MPI job, of which the first writes and prints."""

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
from meanfield.study.storage.checkpoint import Position
from meanfield.study.storage.schema import Floats, OutputError, RowCounts, Status
from meanfield.study.storage.writer import RunWriter

if TYPE_CHECKING:
    import solvers
    from meanfield.distributed import Communicator
    from meanfield.study.engine.build import Problem

T = TypeVar("T")


class Ranks:
    """A single rank."""

    is_first = True  #: whether this rank writes and prints
    size = 1  #: number of ranks

    def together(self) -> AbstractContextManager[None]:
        """Context whose body fails on all ranks or on none: an error of one is raised on all. The body must not be collective."""
        return nullcontext()

    def on_error_end_all(self) -> AbstractContextManager[None]:
        """Context in which an uncaught exception on one rank aborts all ranks, with a message."""
        return nullcontext()

    def largest(self, number: float) -> float:
        """The maximum of a number over the ranks, for collective decisions."""
        return number

    def of_first(self, make: Callable[[], T]) -> T:
        """The result of the first rank on all ranks; its errors are raised on all. The call must not be collective."""
        return make()

    def require_same(self, describe: Callable[[], Mapping[str, object]]) -> None:
        """Raise a ValueError on all ranks if their descriptions differ, with the keys and the ranks."""

    def require_shares(self, problem: Problem) -> None:
        """Raise a ValueError if there is not a share of the problem for every rank."""

    def problem_for(self, problem: Problem, flow: solvers.Flow, **time_stepping: Any) -> Problem:
        """The problem in the form in which all ranks evaluate it together for a flow."""
        return problem


class JobRanks(Ranks):
    """The ranks of an MPI job."""

    def __init__(self, communicator: Communicator) -> None:
        self._communicator = communicator
        self.is_first, self.size = communicator.rank == 0, communicator.size

    @contextmanager
    def together(self) -> Iterator[None]:
        error: Exception | None = None
        with self.on_error_end_all():  # unforeseen errors
            try:
                yield
            except (OutputError, ValueError) as raised:
                error = raised
        errors = self._communicator.comm.allgather(None if error is None else _portable(error))
        first = next((rank for rank, found in enumerate(errors) if found is not None), None)
        if first is None:
            return
        if first == 0:  # the first rank reports for all
            raise errors[0] from None
        raise type(errors[first])(f"rank {first}: {errors[first]}") from None

    @contextmanager
    def on_error_end_all(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:  # before the first step, or a second interrupt
            self._abort("interrupted", EXIT_CODES["SIGINT"])
        except BaseException as error:
            if not isinstance(error, OutputError):
                traceback.print_exc()
            name = "" if isinstance(error, OutputError) else f"{type(error).__name__}: "
            self._abort(f"{name}{error}", 1)

    def _abort(self, message: str, code: int) -> NoReturn:
        rank, size = self._communicator.rank, self._communicator.size
        print(f"error: rank {rank} of {size}: {message}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        self._communicator.comm.Abort(code)
        raise SystemExit(code)

    def largest(self, number: float) -> float:
        return float(self._communicator.numbers(number).max())

    def of_first(self, make: Callable[[], T]) -> T:
        made = None
        with self.together():
            if self.is_first:
                made = make()
        shared: T = self._communicator.comm.bcast(made)  # pickled, by another rank of this job
        return shared

    def require_same(self, describe: Callable[[], Mapping[str, object]]) -> None:
        from meanfield.distributed import require_same

        with self.on_error_end_all():
            about = describe()
        require_same(self._communicator.comm, about)

    def require_shares(self, problem: Problem) -> None:
        from meanfield.distributed import SpreadRisk
        from meanfield.study.engine.build import NetworkProblem

        size = self._communicator.size
        if isinstance(problem, NetworkProblem):
            try:
                SpreadRisk(problem.risk, len(problem.start), self._communicator)
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
            return NetworkProblem(GatheredRisk(problem.risk, self._communicator), problem.start)
        risk = SpreadRisk(problem.risk, len(problem.start), self._communicator)
        return SpreadProblem(risk, risk.own(problem.start))


class SilentWriter(RunWriter):
    """Replaces `RunWriter` on the ranks that write nothing; it records the times of snapshots.

    Parameters
    ----------
    times : mapping, optional
        Times of the snapshots of every process in the file of a resumed run.
    """

    def __init__(self, times: Mapping[str, NDArray[np.float64]] | None = None) -> None:
        self.status: Status = "complete"
        self.message = ""
        self._times = {name: list(values) for name, values in (times or {}).items()}

    def __exit__(self, *exception: object) -> None: ...

    def observe(self, process: str, time: float, row: Mapping[str, Any]) -> None: ...

    def snapshot(self, process: str, time: float, position: Floats, fluctuation: Floats) -> None:
        self._times.setdefault(process, []).append(time)

    def finish(
        self, process: str, status: Status, message: str = "", final: Position | None = None
    ) -> None: ...

    def sync(self) -> dict[str, RowCounts]:
        return {}

    def compare(self, *comparison: object) -> None: ...

    def snapshot_times(self, process: str) -> NDArray[np.float64]:
        return np.array(self._times.get(process, []))


def find_ranks(command: str = "run") -> Ranks:
    """The ranks that an MPI launcher started, or a single one.

    Parameters
    ----------
    command : str
        The command that all ranks must execute.

    Raises
    ------
    ValueError
        A launcher started ranks that cannot communicate through mpi4py, or that execute different commands.
    """
    if launched_rank() is None:
        return Ranks()
    from meanfield._kernels.threads import use_cores
    from meanfield.distributed import Communicator

    started = launched_size()
    try:
        communicator = Communicator.world()
    except ImportError as error:
        raise ValueError(
            f"mpi4py must be usable where an MPI launcher started the program: {error}"
        ) from None
    if started is not None and started != communicator.size:
        raise ValueError(
            f"the MPI launcher must be that of mpi4py's MPI library, got {started} ranks started "
            f"and {communicator.size} found"
        )
    use_cores(communicator.cores())
    ranks = JobRanks(communicator)
    ranks.require_same(lambda: {"command": command})
    return ranks


def end_before_joining(code: int) -> None:
    """Tell the other ranks of a job, which may be waiting for this one, that it ends before joining them.

    If all of them end so, as for a wrong command line, nothing more is printed.
    """
    if launched_rank() is not None and "mpi4py.MPI" not in sys.modules:
        with suppress(ValueError):
            find_ranks(f"nothing (it ended with exit code {code})")


def _portable(error: Exception) -> Exception:
    """The error as a class that can be constructed from a message alone."""
    return (OutputError if isinstance(error, OutputError) else ValueError)(str(error))
