"""One run of a width study: executed once, resumed if it was stopped, repeated if its file is damaged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from meanfield.study.analysis.stored_run import StoredRun
from meanfield.study.config.stored import load_stored
from meanfield.study.engine.given import Given
from meanfield.study.engine.prepared_run import Options, current_versions
from meanfield.study.engine.ranks import Ranks
from meanfield.study.engine.resume import resume
from meanfield.study.engine.run import run as run_processes
from meanfield.study.storage.checkpoint import NAMES as CHECKPOINT_NAMES
from meanfield.study.storage.checkpoint import Checkpoints, NewerCheckpointError
from meanfield.study.storage.files.lock import turn
from meanfield.study.storage.schema import RunFileError
from meanfield.study.width.plan import Run, WidthPlan


class RunError(RuntimeError):
    """A run that has no result."""


def execute(
    plan: WidthPlan, folder: Path, run: Run, options: Options, report: Callable[[float], None]
) -> None:
    """Execute a run unless it exists. Its file is renamed when it is complete; until then it is in a temporary folder beside.

    A run that was stopped, or whose process died, continues from its last checkpoint there.

    Parameters
    ----------
    options : Options
    report : callable
        Called with the fraction done.

    Raises
    ------
    RunError
        Another worker is computing it, or it was interrupted.
    OutputError
        It cannot be written.
    """
    path = run.path(folder)
    with _work_folder(path) as unfinished:
        if path.exists() and fault(plan, folder, run) is None:
            Checkpoints(unfinished).remove()
            return
        names, done = list(plan.config.processes), dict[str, float]()

        def progress(what: str, step: int, total: int) -> None:
            if what in names:
                done[what] = step / total
                report(sum(done.values()) / len(names))

        written = _written(plan, run, unfinished, replace(options, progress=progress))
        with StoredRun.open(written) as result:
            if result.status == "interrupted":
                raise RunError("interrupted")
        os.replace(written, path)


def _written(plan: WidthPlan, run: Run, unfinished: Path, options: Options) -> Path:
    """The file of a run, continued from its last checkpoint if there is one."""
    config = plan.study_of(run)
    given = Given(start=plan.start_of(run), attributes=plan.attributes_of(run))
    alone = Ranks()  # even if an MPI launcher started the parent
    try:
        left = Checkpoints(unfinished).load()
        now = config.to_toml(), current_versions()
        if left is not None and (left.config, left.versions) == now:
            return resume(unfinished, options, alone, given=given)
    except NewerCheckpointError:
        raise
    except ValueError:
        pass  # damaged, or of other data, settings or versions: the run is repeated
    return run_processes(
        config,
        unfinished,
        force=True,
        given=given,
        options=options,
        ranks=alone,
    )


def fault(plan: WidthPlan, folder: Path, run: Run) -> str | None:
    """What is wrong with the file of a run, None if it can be used; a process that diverged is no fault.

    Raises
    ------
    FileNotFoundError
        There is no file.
    """
    path = run.path(folder)
    if not path.exists():
        raise FileNotFoundError(path)
    config = plan.study_of(run)
    try:
        with StoredRun.open(path) as result:
            if result.status in ("running", "interrupted"):
                return f"its run was {result.status}"
            about = plan.attributes_of(run)
            found = {key: result.attributes.get(key) for key in about}
            if found != about or plan.settings_of_a_run(load_stored(result.config)) != config:
                return "it belongs to another run"
            for name, process in result.items():
                times = process.snapshots.times
                if process.status == "complete" and config.steps not in times:
                    return f"{name} is complete, but has no last snapshot"
                if len(times):
                    process.snapshots[-1]  # raises for an incomplete file
    except (RunFileError, OSError, KeyError, ValueError) as error:
        return str(error)
    return None


def clear(folder: Path, run: Run) -> None:
    """Remove the temporary folder of a completed run, unless another worker uses it."""
    path = run.path(folder)
    if _work_path(path).exists():
        with suppress(RunError), _work_folder(path) as unfinished:
            Checkpoints(unfinished).remove()


def _work_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}.work")


@contextmanager
def _work_folder(path: Path) -> Iterator[Path]:
    """A locked folder beside the future file; removed at the end, unless it contains a checkpoint."""
    unfinished = _work_path(path)
    unfinished.mkdir(parents=True, exist_ok=True)
    with (unfinished / "lock").open("wb") as lock, turn(lock, exclusive=True) as mine:
        if not mine:
            raise RunError("another worker is computing it")
        try:
            yield unfinished
        finally:
            if not any((unfinished / name).exists() for name in CHECKPOINT_NAMES):
                shutil.rmtree(unfinished, ignore_errors=True)
