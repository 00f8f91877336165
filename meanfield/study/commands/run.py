"""The command `run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meanfield.study.commands._shared import (
    EXIT_CODES,
    FAILED,
    JsonOption,
    app,
    draw,
    print_json,
    print_summary,
    report,
    user_errors,
)


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
    no_figures: Annotated[bool, typer.Option("--no-figures", help="Draw nothing.")] = False,
    as_json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:
    """Run several processes on one task or landscape from one start and compare them."""
    with user_errors():
        from meanfield.study.config import load
        from meanfield.study.progress import ProgressBars
        from meanfield.study.run import run as run_study
        from meanfield.study.snapshots import read_run
        from meanfield.study.team import find_team

        team = find_team()
        with team.together():
            study = load(config, tuple(overrides or ()))
        with ProgressBars(quiet or not team.is_first) as progress:
            path = run_study(study, out, force, progress, team=team)
        if not team.is_first:
            raise typer.Exit
        record = read_run(path)
        status = record.attributes["status"]
        figures = []
        if not no_figures and status != "interrupted":
            figures = draw(record, path.parent / "figures", ["png"])
    if as_json:
        print_json(report(record) | {"figures": [str(figure) for figure in figures]})
    elif not quiet:
        print_summary(record)
        typer.echo(f"run: {path}" + (f"\nfigures: {figures[0].parent}" if figures else ""))
    for name, process in record.processes.items():
        if process.message or process.status != "complete":
            typer.echo(f"{name}: {process.message or process.status}", err=True)
    raise typer.Exit(EXIT_CODES.get(status, FAILED))
