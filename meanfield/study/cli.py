"""The command line."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from typing import Annotated, TextIO

import typer

from meanfield import __version__
from meanfield.study.commands._shared import WRONG_INPUT, app, say

__all__ = ["app", "main"]

COMMANDS = (
    "run",
    "resume",
    "validate",
    "info",
    "compare",
    "distance",
    "width",
    "plot",
    "report",
)  # in the order of the help
JOINT_COMMANDS = {"run", "resume"}  #: that the processes of an MPI job carry out together

for name in COMMANDS:  # a command's module registers it
    import_module(f"meanfield.study.commands.{name}")


def main() -> None:
    """Entry point of the command ``meanfield``."""
    warnings.showwarning = _show_warning
    try:
        app()
    except SystemExit as end:
        if end.code == WRONG_INPUT and not JOINT_COMMANDS.isdisjoint(sys.argv[1:2]):
            from meanfield.study.team import end_before_joining

            end_before_joining(WRONG_INPUT)
        raise


_show_elsewhere = warnings.showwarning
_shown: set[str] = set()


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """What is meant for whoever calls the command, in one line, once; others as Python shows them, with the place in the code."""
    if category is not UserWarning:
        _show_elsewhere(message, category, filename, lineno, file, line)
    elif str(message) not in _shown:
        _shown.add(str(message))
        say(f"warning: {message}")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"meanfield {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print version."),
    ] = False,
) -> None:
    pass
