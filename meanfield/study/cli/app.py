"""The command line."""

from __future__ import annotations

import atexit
import gc
import sys
from importlib import import_module
from typing import Annotated

import typer

from meanfield import _process
from meanfield._version import __version__
from meanfield.study.cli._shared import WRONG_INPUT, app
from meanfield.study.cli._streams import set_up_streams

__all__ = ["app", "main"]

COMMANDS = (
    "run",
    "resume",
    "extend",
    "config",
    "validate",
    "info",
    "compare",
    "distance",
    "width",
    "sweep",
    "plot",
    "report",
)  # in the order of the help text
JOINT_COMMANDS = {"run", "resume", "extend"}  #: executed by all ranks of an MPI job together

for name in COMMANDS:  # the module of a command registers it
    import_module(f"meanfield.study.cli.{name}")


def main() -> None:
    """Entry point of the command ``meanfield``."""
    _process.is_command = True
    # Looking for cycles among what is imported takes a tenth of a small run, at its end another.
    gc.set_threshold(50_000, 20, 100)
    atexit.register(gc.freeze)
    set_up_streams()
    try:
        app()
    except SystemExit as end:
        if end.code == WRONG_INPUT and not JOINT_COMMANDS.isdisjoint(sys.argv[1:2]):
            from meanfield.study.engine.ranks import end_before_joining

            end_before_joining(WRONG_INPUT)
        raise


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
