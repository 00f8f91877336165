"""Progress of a width study on stderr: one bar per stage, with remaining jobs and time."""

from __future__ import annotations

from rich.progress import (
    BarColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from meanfield.study.width.study import Progress
from solvers._support.bars import Bars


class StudyBars:
    """Callable with a `Progress` within its context; does nothing without a terminal."""

    def __init__(self, quiet: bool = False) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[done]} of {task.fields[jobs]}, left"),
            TimeRemainingColumn(),
            quiet=quiet,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> StudyBars:
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def __call__(self, at: Progress) -> None:
        if self._bars.disable:
            return
        if at.stage not in self._tasks:
            self._tasks[at.stage] = self._bars.add_task(at.stage, total=1.0, done=0, jobs=at.total)
        self._bars.update(self._tasks[at.stage], completed=at.fraction, done=at.done)
