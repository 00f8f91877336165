"""A sweep from its plan to its table: what is missing is run, what is there is kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from meanfield.study.analysis.stored_run import StoredRun
from meanfield.study.config.run_config import RunConfig
from meanfield.study.config.stored import load_stored
from meanfield.study.engine.given import Given
from meanfield.study.engine.mpi_launcher import launched_rank
from meanfield.study.engine.prepared_run import Options, current_versions
from meanfield.study.engine.resume import resume
from meanfield.study.engine.run import run
from meanfield.study.engine.signals import MAX_RUNTIME
from meanfield.study.storage.checkpoint import Checkpoints, NewerCheckpointError
from meanfield.study.storage.files.atomic import write_atomically
from meanfield.study.storage.kind import SWEEP_NAME
from meanfield.study.storage.schema import FILE_NAME, OutputError, RunFileError
from meanfield.study.storage.writer import read_run
from meanfield.study.sweep.objects import SweepObjects, require_same_run
from meanfield.study.sweep.plan import SweepPlan, read_plan
from meanfield.study.sweep.table import SweepResult

TABLE_NAME = "sweep.csv"
_STOPPED = "stopped by "


def run_sweep(
    plan: SweepPlan,
    folder: str | Path,
    options: Options | None = None,
    open_run: Callable[[str | Path], StoredRun] = StoredRun.open,
    objects: SweepObjects | None = None,
) -> SweepResult:
    """Do the runs that are not there, one after the other in this process, and write their table, ``sweep.csv``.

    A run that fails is recorded, and the others go on. When the sweep is stopped (`meanfield.study.engine.signals`) or dies,
    finished runs are kept, and the one under way leaves a checkpoint from which the next call goes on.

    Parameters
    ----------
    plan : SweepPlan
    folder : path
        It is made if it does not exist. One with this sweep in it is gone on with, also with more values.
    options : Options, optional
        Of every run, but for the time, which is that of the whole call.
    open_run : callable
        How the result opens a run.
    objects : SweepObjects, optional
        Objects of one's own for the runs.

    Raises
    ------
    ValueError
        The folder holds another sweep, or something else, or a run of other objects; an MPI launcher started this process.
    OutputError
        The folder cannot be written.
    """
    folder, options = Path(folder), options or Options()
    if launched_rank() is not None:
        raise ValueError(
            "a sweep must be started without an MPI launcher, got one; run the command without mpiexec"
        )
    objects = objects or SweepObjects()
    objects.of(next(iter(plan.configs.values())))  # what is wrong is said before anything is made
    _prepare(plan, folder)
    clock = _Clock(options, plan)
    failures: dict[str, str] = {}
    stopped = None
    for name, config in plan.configs.items():
        if not is_done(folder / name, config, objects):
            stopped = _do(config, folder / name, clock, failures, name, objects)
        clock.done(name)
        if stopped is not None:
            break
    write_atomically(folder / SWEEP_NAME, plan.to_json(failures).encode())
    sweep = SweepResult(plan, folder, failures, open_run, stopped)
    write_atomically(folder / TABLE_NAME, sweep.to_csv().encode())
    return sweep


def read_sweep(
    folder: Path, open_run: Callable[[str | Path], StoredRun] = StoredRun.open
) -> SweepResult:
    """The sweep in a folder, as far as it is.

    Raises
    ------
    ValueError
        There is none.
    """
    found = read_plan(folder)
    if found is None:
        raise ValueError(f"{folder}: must be the folder of a sweep, got no {SWEEP_NAME} in it")
    plan, failures = found
    return SweepResult(plan, folder, failures, open_run)


class _Clock:
    """How far a sweep is, in steps of all processes, and how much time is left."""

    def __init__(self, options: Options, plan: SweepPlan) -> None:
        self._options = options
        self._steps = {
            name: max(1, config.steps) * max(1, len(config.processes))
            for name, config in plan.configs.items()
        }
        self._total, self._before = sum(self._steps.values()), 0
        self._began = time.monotonic()

    def options_of(self, name: str, config: RunConfig) -> Options | None:
        """Those of a run; None if there is no time left for it."""
        at: dict[str, int] = {}

        def report(what: str, done: int, total: int) -> None:
            if what in config.processes:
                at[what] = done
                self._report(self._before + sum(at.values()))

        runtime = self._options.max_runtime
        if runtime is not None:
            runtime -= time.monotonic() - self._began
            if runtime <= 0:
                return None
        return replace(self._options, max_runtime=runtime, progress=report)

    def done(self, name: str) -> None:
        """A run has ended."""
        self._before += self._steps[name]
        self._report(self._before)

    def _report(self, steps: int) -> None:
        if self._options.progress is not None:
            self._options.progress("sweep", steps, self._total)


def _prepare(plan: SweepPlan, folder: Path) -> None:
    """The folder with the plan in it; refused if something else is there."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: must be a folder for the sweep, got a file")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_empty = not any(folder.iterdir())
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}") from error
    found = read_plan(folder)
    if found is None and not is_empty:
        raise ValueError(
            f"{folder}: must be empty or hold this sweep, got other files; choose another"
        )
    if found is not None:
        there, _ = found
        if there.config != plan.config or list(there.over) != list(plan.over):
            raise ValueError(
                f"{folder}: must hold this sweep, got one of another configuration or other keys; choose another folder"
            )
    write_atomically(folder / SWEEP_NAME, plan.to_json({}).encode())


def is_done(folder: Path, config: RunConfig, objects: SweepObjects) -> bool:
    """Whether the run of a configuration is in a folder, as it ended.

    Raises
    ------
    ValueError
        It was made with other objects.
    """
    if not (folder / FILE_NAME).is_file():
        return False
    try:
        record = read_run(folder / FILE_NAME)
        same = load_stored(record.config) == config
    except (RunFileError, ValueError):
        return False
    ended = record.attributes["status"] not in ("running", "interrupted")
    is_there = same and ended and record.attributes["message"] == ""
    if is_there:
        require_same_run(str(record.attributes.get("given_json", "")), config, objects.of(config))
    return bool(is_there)


def _do(
    config: RunConfig,
    folder: Path,
    clock: _Clock,
    failures: dict[str, str],
    name: str,
    objects: SweepObjects,
) -> str | None:
    """One run, from its last checkpoint on if there is one; by what it was stopped, if it was."""
    options = clock.options_of(name, config)
    if options is None:
        return MAX_RUNTIME
    try:
        path = _written(config, folder, options, objects.of(config))
    except (ValueError, OutputError, ArithmeticError, MemoryError) as error:
        failures[name] = f"{type(error).__name__}: {error}"
        return None
    message = str(read_run(path).attributes["message"])
    return message.removeprefix(_STOPPED) if message.startswith(_STOPPED) else None


def _written(config: RunConfig, folder: Path, options: Options, given: Given) -> Path:
    try:
        left = Checkpoints(folder).load() if folder.is_dir() else None
        if left is not None and (left.config, left.versions) == (
            config.to_toml(),
            current_versions(),
        ):
            return resume(folder, options, given=given)
    except NewerCheckpointError:
        raise
    except ValueError:
        pass  # damaged, or of other data: the run is done again
    return run(config, folder, force=True, given=given, options=options)
