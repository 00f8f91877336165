"""The command `resume`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meanfield.study.commands._running import (
    CheckpointEveryOption,
    CheckpointSecondsOption,
    MaxRuntimeOption,
    MemoryLimitOption,
    NoFiguresOption,
    QuietOption,
    finish,
    options,
)
from meanfield.study.commands._shared import JsonOption, app, user_errors


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.")],
    checkpoint_seconds: CheckpointSecondsOption = 60.0,
    checkpoint_every: CheckpointEveryOption = None,
    max_runtime: MaxRuntimeOption = None,
    memory_limit: MemoryLimitOption = None,
    no_figures: NoFiguresOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Go on with a run that was stopped, or that died, as if nothing had happened."""
    with user_errors():
        from meanfield.study.resume import ended
        from meanfield.study.resume import resume as resume_run

        if (path := ended(folder)) is not None:
            typer.echo(f"{path}: this run has ended, there is nothing to go on with", err=True)
            raise typer.Exit
        with options(checkpoint_seconds, checkpoint_every, max_runtime, memory_limit, quiet) as how:
            path = resume_run(folder, how)
        finish(path, no_figures, as_json, quiet)
