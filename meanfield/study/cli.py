"""The command line."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer

from meanfield import __version__
from meanfield.study.commands._shared import app

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

for name in COMMANDS:  # a command's module registers it
    import_module(f"meanfield.study.commands.{name}")


def main() -> None:
    """Entry point of the command ``meanfield``."""
    app()


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
