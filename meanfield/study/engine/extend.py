"""Let a finished run go on to more steps, as if it had been asked for them at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from meanfield.study.config.run_config import RunConfig
from meanfield.study.config.stored import load_stored
from meanfield.study.engine.given import Given, require_same_objects, require_same_problem
from meanfield.study.engine.prepared_run import PROBLEM, Options, PreparedRun, settings
from meanfield.study.engine.ranks import Ranks, find_ranks
from meanfield.study.engine.resume import (
    DYING_SECONDS,
    fits,
    notice_other_versions,
    resume,
    take_back_in_child,
    where_it_stands,
)
from meanfield.study.engine.run import carry_out, prepare
from meanfield.study.storage.checkpoint import Checkpoint, Checkpoints
from meanfield.study.storage.files.journal import journal_path
from meanfield.study.storage.files.sandbox import read_in_child
from meanfield.study.storage.run_folder import RunFolder, sync_folder
from meanfield.study.storage.schema import (
    FILE_NAME,
    OutputError,
    RowCounts,
    RunFileError,
    RunRecord,
    Status,
    require_space,
)
from meanfield.study.storage.writer import extendable_processes, read_final_state, read_run
from solvers._support.arguments import count
from solvers._support.threads import one_blas_thread

if TYPE_CHECKING:
    from meanfield.study.engine.evolution import PreparedEvolution

COPY_NAME = f"{FILE_NAME}.new"


def extend(
    folder: str | Path,
    steps: int,
    options: Options | None = None,
    ranks: Ranks | None = None,
    *,
    given: Given | None = None,
) -> Path:
    """Carry a finished run on to more steps; its file is then that of a run of so many, bit for bit, but for the clock.

    Every process goes on from where it ended, a measure from before its last step; one that diverged or failed stays as it is.
    Until all of it is done the finished run stays as it was, and the file that is being written is beside it: stopped or killed,
    `resume` goes on with it.

    Parameters
    ----------
    folder : path
        With the finished run, ``run.h5``.
    steps : int
        Of gradient descent or of a measure in all, more than the run has.
    options, ranks, given
        As of `meanfield.study.engine.resume.resume`.

    Returns
    -------
    Path
        The file: that of the run, or, if it was stopped, the partial one beside it.

    Raises
    ------
    ValueError
        There is no finished run in the folder, it has as many steps or by a tolerance, its data or objects are not those
        that it began with, or the file does not hold its final states, as those of version 0.1 do not.
    OutputError
        The file cannot be written.
    """
    ranks, folder = ranks or find_ranks("extend"), Path(folder)
    options, steps = options or Options(), count("steps", steps, 1)
    with ExitStack() as stack:
        checkpoints, held = Checkpoints(folder), None
        with ranks.together():
            _require_folder(folder)
            if ranks.is_first:
                held = stack.enter_context(RunFolder(folder, DYING_SECONDS))
        under_way = ranks.of_first(lambda: where_it_stands(held, checkpoints))
        if under_way is None:
            return _extend(folder, steps, options, ranks, given, held, checkpoints)
    at = _steps(load_stored(under_way.config), folder)
    if not under_way.extends or at != steps:
        raise ValueError(
            f"{folder}: the run must have ended, got one that is not finished, of {at} steps; `meanfield resume {folder}` "
            "goes on with it"
        )
    return resume(folder, options, ranks, given=given)


def _extend(
    folder: Path,
    steps: int,
    options: Options,
    ranks: Ranks,
    given: Given | None,
    held: RunFolder | None,
    checkpoints: Checkpoints,
) -> Path:
    path = folder / FILE_NAME
    record = ranks.of_first(lambda: _finished(path))
    with ranks.together(), one_blas_thread():
        prepared = _prepared(record, steps, options, given, ranks)
    ranks.require_same(lambda: settings(prepared.config, options))
    ranks.require_same(prepared.fingerprints)
    begin = ranks.of_first(lambda: _begin(record, prepared, steps))
    notice_other_versions(folder, begin, options)
    with ranks.together():
        if held is not None:
            require_space(folder, prepared.layout)
            if options.schedule is not None:
                checkpoints.save(begin)
            _copy_back(held, record, begin)
    return carry_out(prepared, held, begin, checkpoints, options, ranks)


def _require_folder(folder: Path) -> None:
    if not (folder / FILE_NAME).is_file():
        raise ValueError(
            f"{folder}: must be the folder of a finished run, got no {FILE_NAME} in it"
        )


def _finished(path: Path) -> RunRecord:
    """The run in a file, which has ended."""
    read_in_child(path, read_run)
    record = read_run(path)
    status, message = record.attributes["status"], record.attributes["message"]
    if status in ("running", "interrupted") or message:
        raise ValueError(
            f"{path}: the run must have ended, got one that is {status}; `meanfield resume {path.parent}` goes on with it"
        )
    return record


def _steps(config: RunConfig, path: Path) -> int:
    """The number of steps of a run."""
    if config.measure is None:
        return config.steps
    steps = config.measure.pace(config.steps).steps
    if steps is None:
        raise ValueError(
            f"{path}: measure.tolerance must be left out of a run that is extended, got {config.measure.tolerance:g}: "
            "its last steps depend on where it ends; run it with a longer measure.duration"
        )
    return steps


def _of_steps(config: RunConfig, steps: int) -> RunConfig:
    """The configuration of more steps."""
    measure = config.measure
    if measure is None or measure.duration is None:
        return config.replace(steps=steps)
    assert measure.step_size is not None
    return config.replace(**{"measure.duration": steps * measure.step_size})


def _prepared(
    record: RunRecord, steps: int, options: Options, given: Given | None, ranks: Ranks
) -> PreparedRun | PreparedEvolution:
    """The run of more steps, of the same data and objects."""
    path, before = record.path, load_stored(record.config)
    done = _steps(before, path)
    if steps <= done:
        raise ValueError(f"steps must be above {done}, which the run has, got {steps}")
    if PROBLEM not in record.attributes:
        raise _without_states(path, "any process", steps)
    config = _of_steps(before, steps)
    given = (given or Given()).checked(config)
    about = str(record.attributes.get("given_json", ""))
    require_same_objects(about, given)
    prepared = prepare(config, options, given, ranks)
    require_same_problem(about, prepared.given_text, prepared.precision)
    if prepared.digest() != record.attributes[PROBLEM]:
        raise ValueError(f"{path}: the data or the start of the run must be those it began with")
    if prepared.perturbed is not None and record.perturbed is None:
        prepared = prepared.without_perturbed()
    others = [name for name in prepared.layout.processes if name != prepared.perturbed]
    if others != list(record.processes):
        raise RunFileError(f"{path}: its processes are not those of its configuration")
    return prepared


def _begin(record: RunRecord, prepared: PreparedRun | PreparedEvolution, steps: int) -> Checkpoint:
    """Where the run of more steps stands before its first one."""
    before = _steps(load_stored(record.config), record.path)
    names = list(prepared.layout.processes)
    going_on = extendable_processes(record.path, names)
    for name in going_on:
        if not fits(prepared, name, read_final_state(record.path, name)):
            raise RunFileError(f"{record.path}: the final state of {name} does not fit its run")
    rows: dict[str, RowCounts] = {}
    ended: dict[str, tuple[Status, str]] = {}
    for name in names:
        process = record.perturbed if name == prepared.perturbed else record.processes[name]
        assert process is not None
        last = int(name in going_on)  # the last row is measured once more
        snapshots = len(process.snapshot_times)
        rows[name] = RowCounts(
            len(process.observables["time"]) - last, snapshots - (last if snapshots else 0)
        )
        if name not in going_on:
            if process.status == "complete":
                raise _without_states(record.path, name, steps)
            ended[name] = process.status, process.message
    attributes = record.attributes
    return Checkpoint(
        prepared.config_text,
        prepared.digest(),
        str(attributes["created"]),
        str(attributes["versions_json"]),
        rows,
        ended,
        given=prepared.given_text,
        extends=before,
    )


def _without_states(path: Path, name: str, steps: int) -> ValueError:
    return ValueError(
        f"{path}: must hold where its processes ended, got none of {name}: an older version wrote it; "
        f"`meanfield run` with steps = {steps} runs it anew"
    )


def _copy_back(folder: RunFolder, record: RunRecord, begin: Checkpoint) -> None:
    """A copy of the finished run's file, cut before its last step, under the name of a file that is being written."""
    copy = folder.path / COPY_NAME
    journal = journal_path(copy)
    about: Mapping[str, object] = {
        "created": begin.created,
        "config": record.config,
        "new_config": begin.config,
        "rows": begin.rows,
        "ended": begin.ended,
    }
    try:
        try:
            for path in (copy, journal):
                path.unlink(missing_ok=True)
            shutil.copyfile(record.path, copy)
            journal.touch()
            take_back_in_child(folder, copy, about)
            with copy.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(copy, folder.partial)
            sync_folder(folder.path)
        finally:
            for path in (copy, journal):
                with suppress(OSError):
                    path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{copy}: cannot write: {error.strerror}") from error
