"""Progress of a run on stderr: one bar per process, with rate and remaining time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from solvers._support.arguments import flag

if TYPE_CHECKING:
    from rich.progress import TaskID

    from solvers._support.bars import Bars


class ProgressBars:
    """Callable as ``bars(what, done, total)`` within its context; does nothing without a terminal."""

    def __init__(self, quiet: bool = False) -> None:
        self._progress = None if quiet else _bars()
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> ProgressBars:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that `done` of `total` are done."""
        if self._progress is None or self._progress.disable:
            return
        if what not in self._bars:
            self._bars[what] = self._progress.add_task(what.replace("_", " "), total=total)
        self._progress.update(self._bars[what], completed=done)


def _bars() -> Bars:
    """Rich is imported where bars may be shown: it takes longer than a short run."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    from solvers._support.bars import Bars

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.4g}/s")

    return Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
    )


@contextmanager
def shown(
    progress: bool | Callable[[str, int, int], None],
) -> Iterator[Callable[[str, int, int], None]]:
    """Where to report ``(what, done, total)``: nowhere, bars on stderr, or the caller's own callable."""
    if callable(progress):
        yield progress
    else:
        with ProgressBars(quiet=not flag("progress", progress)) as bars:
            yield bars


def warn(text: str) -> None:
    """What there is to notice of a run that was called from Python."""
    warnings.warn(text.removeprefix("warning: "), stacklevel=2)
