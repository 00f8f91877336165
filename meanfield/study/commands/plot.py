"""The command `plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meanfield.study.commands._shared import (
    FormatsOption,
    RunArgument,
    app,
    draw,
    names,
    user_errors,
)


@app.command()
def plot(
    path: RunArgument,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the figures; by default figures/ beside it.")
    ] = None,
    formats: FormatsOption = "png",
) -> None:
    """Draw the figures of a run."""
    with user_errors():
        from meanfield.study.snapshots import read_run

        figures = draw(read_run(path), out or path.parent / "figures", names(formats))
    for figure in figures:
        typer.echo(figure)
