"""Bars of progress on stderr."""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec

from rich.console import Console
from rich.progress import Progress, ProgressColumn


class Bars(Progress):
    """Rich's bars on stderr; none if `quiet`, or where they cannot be shown."""

    def __init__(self, *columns: ProgressColumn, quiet: bool = False) -> None:
        console = Console(stderr=True)
        super().__init__(*columns, console=console, disable=quiet or not shows_bars(console))

    def stop(self) -> None:
        if not self.disable:  # Rich before 14.3 would end the line
            with suppress(OSError):  # the terminal may be gone
                super().stop()


def shows_bars(console: Console) -> bool:
    """Whether the console shows progress bars: a terminal, or a notebook with ipywidgets."""
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)
