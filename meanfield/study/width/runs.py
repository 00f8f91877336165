"""One run of a width study: done once, found again, or found broken."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from meanfield.study.file_lock import turn
from meanfield.study.layout import FILE_NAME, RunFileError
from meanfield.study.result import Result
from meanfield.study.run import run as run_processes
from meanfield.study.team import Team
from meanfield.study.width.plan import Run, WidthPlan
from meanfield.study.work import Options


class RunError(RuntimeError):
    """A run that has no result."""


def execute(plan: WidthPlan, folder: Path, run: Run, report: Callable[[float], None]) -> None:
    """Do a run, unless it is there. Its file gets its name when it is whole; until then it grows in a folder beside.

    Parameters
    ----------
    report : callable
        Called with the fraction that is done.

    Raises
    ------
    RunError
        Another process is at it, or it was interrupted.
    OutputError
        It cannot be written.
    """
    path = run.path(folder)
    with _work_folder(path) as work:
        if path.exists() and fault(plan, folder, run) is None:
            return
        study = plan.study_of(run)
        names, done = list(study.processes), dict[str, float]()

        def progress(what: str, step: int, total: int) -> None:
            if what in names:
                done[what] = step / total
                report(sum(done.values()) / len(names))

        written = run_processes(
            study,
            work,
            force=True,
            progress=progress,
            start=plan.start_of(run),
            attributes=plan.attributes_of(run),
            options=Options(schedule=None),  # what was stopped is done again
            team=Team(),  # alone, whatever started the parent
        )
        with Result.open(written) as result:
            if result.status == "interrupted":
                raise RunError("interrupted")
        os.replace(written, path)


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
    study = plan.study_of(run)
    try:
        with Result.open(path) as result:
            if result.status in ("running", "interrupted"):
                return f"it is of a run that was {result.status}"
            about = plan.attributes_of(run)
            found = {key: result.attributes.get(key) for key in about}
            if result.config != study.to_toml() or found != about:
                return "it is of another run"
            for name, process in result.items():
                times = process.snapshots.times
                if process.status == "complete" and study.steps not in times:
                    return f"{name} is complete, but has no last snapshot"
                if len(times):
                    process.snapshots[-1]  # what was broken off shows here
    except (RunFileError, OSError, KeyError, ValueError) as error:
        return str(error)
    return None


def clear(folder: Path, run: Run) -> None:
    """Remove what a run that was stopped left, unless another process is at it."""
    path = run.path(folder)
    if _work_path(path).exists():
        with suppress(RunError), _work_folder(path):
            pass


def _work_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}.work")


@contextmanager
def _work_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside the file-to-be that no other process works in; removed at the end."""
    work = _work_path(path)
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("wb") as lock, turn(lock, exclusive=True) as mine:
        if not mine:
            raise RunError("another process is at it")
        (work / FILE_NAME).unlink(missing_ok=True)
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
