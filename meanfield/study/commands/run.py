"""The command `run`."""

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
    shown,
)
from meanfield.study.commands._shared import JsonOption, app, user_errors


@app.command()
def run(
    config: Annotated[
        Path | None, typer.Argument(help="A TOML file; without one, the study of real digits.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("meanfield-run"),
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting, e.g. network.width=800."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the run in the folder.")] = False,
    checkpoint_seconds: CheckpointSecondsOption = 60.0,
    checkpoint_every: CheckpointEveryOption = None,
    max_runtime: MaxRuntimeOption = None,
    memory_limit: MemoryLimitOption = None,
    no_figures: NoFiguresOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run several processes on one task or landscape from one start and compare them."""
    with user_errors():
        from meanfield.study.config import load
        from meanfield.study.run import run as run_study
        from meanfield.study.team import find_team

        team = find_team()
        with team.together():
            study = load(config, tuple(overrides or ()))
            given = checkpoint_seconds, checkpoint_every, max_runtime, memory_limit
            chosen = options(*given)
        with shown(chosen, quiet or not team.is_first) as how:
            path = run_study(study, out, force, options=how, team=team)
        if not team.is_first:
            raise typer.Exit
        finish(path, no_figures, as_json, quiet)
