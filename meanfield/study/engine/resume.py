"""Resume an unfinished run, with the results of an uninterrupted one."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meanfield.study.config.stored import load_stored
from meanfield.study.engine.given import Given, require_same_objects, require_same_problem
from meanfield.study.engine.prepared_run import (
    Options,
    PreparedRun,
    current_versions,
    settings,
)
from meanfield.study.engine.ranks import Ranks, find_ranks
from meanfield.study.engine.run import carry_out, prepare
from meanfield.study.storage.checkpoint import Checkpoint, CheckpointError, Checkpoints, Position
from meanfield.study.storage.files.sandbox import read_in_child
from meanfield.study.storage.run_folder import RunFolder
from meanfield.study.storage.schema import COMPARISONS, FILE_NAME, RunFileError
from meanfield.study.storage.writer import read_run
from solvers._support.threads import one_blas_thread

if TYPE_CHECKING:
    from meanfield.study.engine.evolution import PreparedEvolution

DYING_SECONDS = 3.0  # child processes of a killed process may live a little longer
RECOVERY_SECONDS = 120.0  # to open a file and remove its last rows; a damaged file may take forever


def resume(
    folder: str | Path,
    options: Options | None = None,
    ranks: Ranks | None = None,
    *,
    given: Given | None = None,
) -> Path:
    """Continue the run in a folder to its end, from its last checkpoint.

    The file is the same as without the interruption, bit for bit, except for times: timings,
    `created`. This holds on one machine with one set of versions.

    Parameters
    ----------
    folder : path
    options : Options, optional
        Options such as the schedule of checkpoints; they may differ from before. A message is printed if identical bits cannot be
        guaranteed.
    ranks : Ranks, optional
        As for `meanfield.study.engine.run.run`; the number of ranks may differ from before.
    given : Given, optional
        The objects that were given to the run beside its configuration, if any.

    Returns
    -------
    Path
        The run's file; unchanged if the run had ended.

    Raises
    ------
    ValueError
        There is no run in the folder, another process is running there, its data or start have changed, or its
        checkpoints are damaged or those of a newer version.
    RunFileError
        The run's file cannot be recovered.
    OutputError
        The file cannot be written.
    """
    ranks, folder = ranks or find_ranks("resume"), Path(folder)
    options = options or Options()
    if (path := ranks.of_first(lambda: ended(folder))) is not None:
        return path
    with ExitStack() as stack:
        checkpoints = Checkpoints(folder)
        held = None
        with ranks.together():
            if ranks.is_first:
                held = stack.enter_context(RunFolder(folder, DYING_SECONDS))
        here = ranks.of_first(lambda: where_it_stands(held, checkpoints))
        if here is None:
            return folder / FILE_NAME
        with ranks.together(), one_blas_thread():
            prepared = _work(here, folder, options, given, ranks)
        ranks.require_same(lambda: settings(prepared.config, options))
        notice_other_versions(folder, here, options)
        with ranks.together():
            if held is not None and here.rows:
                _recover(held, here)
        return carry_out(prepared, held, here, checkpoints, options, ranks)


def ended(folder: Path) -> Path | None:
    """The file of a run that has ended; None if there is a checkpoint to resume from. Raises as `resume` does."""
    if not folder.is_dir():
        raise ValueError(f"{folder} must be the folder of a run, got no such folder")
    if Checkpoints(folder).load() is not None:
        return None
    path = folder / FILE_NAME
    if not path.is_file():
        raise ValueError(f"{folder} must hold a run that can be resumed, got none")
    read_in_child(path, read_run)
    if (status := read_run(path).attributes["status"]) in ("interrupted", "running"):
        raise ValueError(
            f"{path}: must have a checkpoint beside it to go on from, got none; the run is {status}, "
            "`meanfield run --force` starts over"
        )
    return path


def where_it_stands(held: RunFolder | None, checkpoints: Checkpoints) -> Checkpoint | None:
    """The checkpoint to resume from; None if the run has ended, possibly before it removed its checkpoints."""
    start = checkpoints.load()
    if held is not None and (start is None or _has_ended(held, start)):
        checkpoints.remove()
        return None
    return start


def _has_ended(folder: RunFolder, start: Checkpoint) -> bool:
    """Whether the process died after renaming the file, but before removing the checkpoints."""
    if folder.partial.exists() or not folder.final.exists():
        return False
    read_in_child(folder.final, read_run)
    attributes = read_run(folder.final).attributes
    stopped = attributes["status"] == "interrupted" or attributes["message"] != ""
    return attributes.get("created") == start.created and not stopped


def _work(
    here: Checkpoint, folder: Path, options: Options, given: Given | None, ranks: Ranks
) -> PreparedRun | PreparedEvolution:
    """The study of a checkpoint.

    Raises
    ------
    CheckpointError
        The checkpoint and the configuration do not match.
    """
    config = load_stored(here.config)
    given = (given or Given()).checked(config)
    require_same_objects(here.given, given)
    prepared = prepare(config, options, given, ranks)
    require_same_problem(here.given, prepared.given_text, prepared.precision)
    if prepared.digest() != here.problem:
        raise CheckpointError(
            f"{folder}: the data and the start must be those that the run began with, got others"
        )
    if here.rows and prepared.perturbed not in here.rows:  # an older version began it
        prepared = prepared.without_perturbed()
    if not _fits(here, prepared):
        raise CheckpointError(f"{folder}: the checkpoint must fit the configuration, got another's")
    return prepared


def _fits(start: Checkpoint, prepared: PreparedRun | PreparedEvolution) -> bool:
    names, others = list(prepared.layout.processes), prepared.others
    left = [name for name in names if name not in start.ended]
    if start.rows and list(start.rows) != names:
        return False
    in_order = list(start.ended) == names[: len(start.ended)]
    if len(left) + len(start.ended) != len(names) or not (in_order or start.extends):
        return False
    distances = start.distances
    if distances is not None and (
        distances.ndim != 3 or distances.shape[:2] != (others, len(COMPARISONS))
    ):
        return False
    if start.position is None:
        return True
    if left[:1] != [start.process]:
        return False
    return fits(prepared, start.process, start.position)


def fits(prepared: PreparedRun | PreparedEvolution, process: str, position: Position) -> bool:
    """Whether a process can go on from there."""
    if not isinstance(prepared, PreparedRun):
        return prepared.fits(position)
    state = position.state
    if not 0 <= state.step <= prepared.config.steps:
        return False
    try:
        center = prepared.flow(process).center(state.step, state.values)
    except (ValueError, IndexError, ArithmeticError):
        return False
    shape, history, vectors = prepared.problem.start.shape, state.history, position.vectors
    return (
        center.shape == shape
        and bool(np.all(np.isfinite(state.values)))
        and (history is None or history.shape[1:] == state.values.shape)
        and (vectors is None or (vectors.ndim > len(shape) and vectors.shape[1:] == shape))
        and math.isfinite(position.wall_time)
    )


def _recover(folder: RunFolder, start: Checkpoint) -> None:
    """Truncate the file to the checkpoint's rows."""
    try:
        folder.go_on().close()
    except OSError as error:
        raise RunFileError(f"{folder.partial}: cannot be recovered: {error.strerror}") from error
    about = {key: getattr(start, key) for key in ("created", "config", "rows", "ended")}
    take_back_in_child(folder, folder.partial, about)


def take_back_in_child(folder: RunFolder, path: Path, about: Mapping[str, Any]) -> None:
    """`storage.recovery.take_back` in a process that may be ended: what is damaged can hang its reader."""
    command = [sys.executable, "-P", "-m", "meanfield.study.storage.recovery", str(path)]
    held = () if sys.platform == "win32" else (folder.journal.fileno(),)
    try:
        done = subprocess.run(
            command,
            input=json.dumps(about),
            capture_output=True,
            text=True,
            timeout=RECOVERY_SECONDS,
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join(sys.path)},  # so that it imports this package
            pass_fds=held,  # the folder stays locked if this process dies
        )
        trouble = done.stderr.strip() or f"exit code {done.returncode}"
    except subprocess.TimeoutExpired:
        done, trouble = None, f"it did not end within {RECOVERY_SECONDS:g} s"
    if done is None or done.returncode != 0:
        raise RunFileError(
            f"{path}: cannot be recovered: {trouble}; `meanfield run --force` starts over"
        )


def notice_other_versions(folder: Path, start: Checkpoint, options: Options) -> None:
    """Give notice if the same bits cannot be guaranteed."""
    if start.versions != current_versions():
        options.notice(
            f"warning: {folder}: begun with other versions ({_differing(start.versions)}); "
            "the last digits may differ from those of a run without interruption"
        )


def _differing(versions: str) -> str:
    """The changed versions, as "numpy 2.0 before, 2.1 now"."""
    before, now = json.loads(versions), json.loads(current_versions())
    return ", ".join(
        f"{name} {before.get(name, 'none')} before, {now.get(name, 'none')} now"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    )
