"""Execute a run: every process from the same start, all observables in one file."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meanfield.study.config.run_config import RunConfig
from meanfield.study.engine.checkpointing import Checkpointer
from meanfield.study.engine.given import Given
from meanfield.study.engine.prepared_run import (
    Options,
    PreparedRun,
    Progress,
    current_versions,
    settings,
)
from meanfield.study.engine.ranks import Ranks, SilentWriter, find_ranks
from meanfield.study.engine.recorder import Recorder
from meanfield.study.engine.signals import Interruption, Stopped, interruptible
from meanfield.study.storage.checkpoint import NAMES as CHECKPOINT_NAMES
from meanfield.study.storage.checkpoint import Checkpoint, Checkpoints, Position
from meanfield.study.storage.datasets import now
from meanfield.study.storage.run_folder import RunFolder
from meanfield.study.storage.schema import OutputError, Status, require_space
from meanfield.study.storage.writer import RunWriter, read_final_state
from solvers._support.threads import one_blas_thread

if TYPE_CHECKING:
    from meanfield.study.engine.evolution import EvolutionRecorder, PreparedEvolution

# files left by a process that died before it began
LEFT_OVER = (".partial.journal", ".new", ".new.journal")


def run(
    config: RunConfig,
    out: str | Path,
    force: bool = False,
    progress: Progress | None = None,
    *,
    given: Given | None = None,
    options: Options | None = None,
    ranks: Ranks | None = None,
) -> Path:
    """Run the processes of a configuration and write ``run.h5`` in a folder.

    All start from the same particles, gradient descent first; afterwards the others are compared
    with it, and it with a perturbed run of itself (`meanfield.study.engine.perturbed`). A process that
    diverges or fails ends there and the others continue. The file contains its status, and everything up
    to then. A run that is stopped (`meanfield.study.engine.signals`) or killed leaves a checkpoint, from
    which `meanfield.study.engine.resume.resume` continues.

    Parameters
    ----------
    config : RunConfig
    out : path
        A folder; it is created if it does not exist.
    force : bool
        Whether the folder may be non-empty; an older ``run.h5`` is replaced at the end.
    progress : callable, optional
        Called as ``progress(what, done, total)``.
    given : Given, optional
        Flows, an objective and a start that a configuration cannot contain; `resume` needs them again.
    options : Options, optional
        Options that do not change the results.
    ranks : Ranks, optional
        The MPI ranks that execute the run, by default those that a launcher started: each has its share
        of the particles, and the first one writes. Without a launcher there is a single rank.

    Returns
    -------
    Path
        The file, which `meanfield.study.storage.writer.read_run` reads.

    Raises
    ------
    ValueError
        The folder is not empty, the data or options are inconsistent, or they differ between ranks.
    OutputError
        The file cannot be written.
    """
    ranks, folder = ranks or find_ranks(), Path(out)
    options = options or Options()
    if progress is not None:
        options = replace(options, progress=progress)
    ranks.require_same(lambda: settings(config, options))
    with ranks.together(), one_blas_thread():
        prepared = prepare(config, options, given, ranks)
    ranks.require_same(prepared.fingerprints)
    begin = Checkpoint(
        prepared.config_text,
        prepared.digest(),
        now(),
        current_versions(),
        given=prepared.given_text,
    )
    with ExitStack() as stack:
        held, checkpoints = None, Checkpoints(folder)
        with ranks.together():
            if ranks.is_first:
                _prepare(folder, force)
                require_space(folder, prepared.layout)
                held = stack.enter_context(RunFolder(folder))
                checkpoints.remove()
                if options.schedule is not None:
                    checkpoints.save(begin)
        return carry_out(prepared, held, begin, checkpoints, options, ranks)


def prepare(
    config: RunConfig, options: Options, given: Given | None, ranks: Ranks
) -> PreparedRun | PreparedEvolution:
    """Build the run of a configuration.

    Raises
    ------
    ValueError
        The data, options, start or given objects do not fit together, do not fit the memory, or cannot be shared by the ranks.
    """
    if config.measure is not None:
        if ranks.size > 1:
            raise ValueError(
                f"measure must be left out on {ranks.size} ranks, got one; run it without mpiexec"
            )
        from meanfield.study.engine.evolution import PreparedEvolution  # with schemes and kernels

        return PreparedEvolution.of(config, options, given)
    prepared = PreparedRun.of(config, options, given)
    ranks.require_shares(prepared.problem)
    return prepared


def carry_out(
    prepared: PreparedRun | PreparedEvolution,
    folder: RunFolder | None,
    start: Checkpoint,
    checkpoints: Checkpoints,
    options: Options,
    ranks: Ranks,
) -> Path:
    """Continue from a checkpoint to the end; if it has rows, `folder` contains the file with exactly these rows.

    Only the first rank has a folder, and only its clock counts. Returns the path of the file.
    """
    described = prepared.attributes | {"created": start.created, "versions_json": start.versions}
    runtime = options.max_runtime if ranks.is_first else None
    with (
        ranks.on_error_end_all(),
        one_blas_thread(),  # see `docs/guides/reproducibility.md`
        interruptible(runtime) as interruption,
        _writer(prepared, folder, start, described, options, ranks, interruption) as writer,
    ):
        checkpointer = Checkpointer(
            start, writer, checkpoints, options.schedule, interruption, ranks
        )
        recorder: Recorder | EvolutionRecorder
        finished = partial(_where_it_ended, folder, ranks) if start.extends else None
        if isinstance(prepared, PreparedRun):
            recorder = Recorder(prepared, writer, checkpointer, options.progress, ranks, finished)
        else:
            recorder = prepared.recorder(writer, checkpointer, options.progress, finished)
        try:
            if (
                ranks.size == 1
            ):  # otherwise the other ranks would wait forever for one that leaves a step
                interruption.begin()
            writer.status = _worst(recorder.run_all())
        except Stopped:
            interruption.finish()
            recorder.stop()
            writer.status, writer.message = "interrupted", f"stopped by {interruption.reason}"
        finally:
            interruption.finish()  # no signal interrupts the closing of the file
    if ranks.is_first and writer.status != "interrupted":
        checkpoints.remove()
    return ranks.of_first(lambda: writer.path)


def _where_it_ended(folder: RunFolder | None, ranks: Ranks, process: str) -> Position:
    """Where a process of the finished run ended that is extended, of all particles."""

    def read() -> Position:
        assert folder is not None  # the first of the processes has it
        return read_final_state(folder.final, process)

    return ranks.of_first(read)


def _writer(
    prepared: PreparedRun | PreparedEvolution,
    folder: RunFolder | None,
    start: Checkpoint,
    attributes: Mapping[str, Any],
    options: Options,
    ranks: Ranks,
    interruption: Interruption,
) -> RunWriter:
    """The writer of the first rank; the others have none, and receive the times of the snapshots in the file."""
    writer, rows = None, start.rows or None
    if folder is not None:
        resumable = options.schedule is not None
        writer = RunWriter(
            folder,
            prepared.layout,
            start.config,
            attributes,
            rows,
            resumable,
            hurry=lambda: interruption.noticed() is not None,
            extends=start.extends > 0,
        )
    if rows is None:
        return writer or SilentWriter()
    names = [name for name in prepared.layout.processes if name != prepared.perturbed]
    times = ranks.of_first(
        lambda: {name: writer.snapshot_times(name) for name in names} if writer else {}
    )
    return writer or SilentWriter(times)


def _worst(statuses: list[Status]) -> Status:
    order: list[Status] = ["interrupted", "diverged", "failed", "complete"]
    return next(status for status in order if status in statuses)


def _prepare(folder: Path, force: bool) -> None:
    """Create the folder if necessary; raise if it is not empty, unless `force`."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} must be a folder for the output, got a file")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise OutputError(f"{folder}: cannot be created: {error.strerror}") from error
    if found & set(CHECKPOINT_NAMES) and not force:
        raise ValueError(
            f"{folder} must be empty, got an unfinished run; `meanfield resume {folder}` continues it, "
            "--force (force=True in Python) starts over"
        )
    if any(not name.endswith(LEFT_OVER) for name in found) and not force:
        raise ValueError(
            f"{folder} must be empty, got other files; choose another folder, or use --force (force=True in Python)"
        )
