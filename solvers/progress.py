"""A progress bar for long runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int], None]


@contextmanager
def progress_bar(progress: bool | Progress, steps: int) -> Iterator[Progress]:
    """A callable for (iterations done, total): one that does nothing, a bar on stderr, or the caller's own."""
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda done, total: None
    else:
        from rich import progress as rich_progress

        from solvers._support.bars import Bars

        columns = (
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TaskProgressColumn(show_speed=True),
            rich_progress.TimeRemainingColumn(),
        )
        with Bars(*columns) as bar:
            task = bar.add_task("", total=steps)
            yield lambda done, total: bar.update(task, completed=done)
