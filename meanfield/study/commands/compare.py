"""The command `compare`."""

from __future__ import annotations

from typing import Annotated

import typer

from meanfield.study.commands._shared import (
    FormatsOption,
    JsonOption,
    RunArgument,
    app,
    names,
    print_json,
    print_rows,
    user_errors,
)


@app.command()
def compare(
    path: RunArgument,
    formats: FormatsOption = "png",
    no_figure: Annotated[bool, typer.Option("--no-figure", help="Draw nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure how close each process of a run stays to gradient descent; draw figures/compare beside it."""
    with user_errors():
        from meanfield.study.compare import METRICS, comparison_cell
        from meanfield.study.compare import compare as compare_processes
        from meanfield.study.snapshots import read_run

        record = read_run(path)
        rows = compare_processes(record)
        figures = []
        if not no_figure:
            from meanfield.study.figures import save_comparison

            figures = save_comparison(record, record.path.parent / "figures", names(formats))
    if as_json:
        about = {
            "file": str(record.path),
            "learning_rate": float(record.attributes["learning_rate"]),
        }
        print_json(about | {"processes": rows, "figures": [str(figure) for figure in figures]})
        return
    print_rows(rows, METRICS, comparison_cell)
    for figure in figures:
        typer.echo(figure)
