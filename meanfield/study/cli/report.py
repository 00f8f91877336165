"""The command `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meanfield.study.cli._shared import JsonOption, SourceArgument, app, print_json, user_errors


@app.command()
def report(
    source: SourceArgument,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="By default report.html beside the file."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a self-contained HTML report of a run or a width study."""
    with user_errors():
        from meanfield.study.report import check_name, make_report, save

        if out is not None:
            check_name(out)  # before the figures are drawn
        made = make_report(source)
        path = save(made, out)
    if as_json:
        about = {"file": str(made.source), "report": str(path), "bytes": path.stat().st_size}
        said = {"kind": made.kind, "status": made.status, "warnings": list(made.warnings)}
        print_json(about | said | {"figures": list(made.figures)})
        return
    for warning in made.warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(path)
