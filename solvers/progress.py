"""A progress bar for long runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

Progress = Callable[[int, int], None]


def shows_bars(console: Console) -> bool:
    """Whether the console shows progress bars: a terminal, or a notebook with ipywidgets."""
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)


@contextmanager
def progress_bar(progress: bool | Progress, steps: int) -> Iterator[Progress]:
    """A callable for (iterations done, total): one that does nothing, a bar on stderr, or the caller's own."""
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda done, total: None
    else:
        from rich import progress as rich_progress
        from rich.console import Console

        console = Console(stderr=True)
        columns = (
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TaskProgressColumn(show_speed=True),
            rich_progress.TimeRemainingColumn(),
        )
        bar = rich_progress.Progress(*columns, console=console, disable=not shows_bars(console))
        with bar:
            task = bar.add_task("", total=steps)
            yield lambda done, total: bar.update(task, completed=done)
