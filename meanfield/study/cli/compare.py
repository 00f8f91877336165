"""The command `compare`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from meanfield.study.cli._shared import (
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
    """Compare each process of a run with its optimizer; draw figures/compare beside it."""
    with user_errors():
        from meanfield.study.analysis.comparison import compare as compare_processes
        from meanfield.study.analysis.comparison import (
            comparison_cell,
            metrics,
            spread_notes,
            spread_row,
        )
        from meanfield.study.storage.writer import read_run

        record = read_run(path)
        rows = compare_processes(record)
        figures = []
        if not no_figure:
            from meanfield.study.figures import save_comparison

            figures = save_comparison(record, record.path.parent / "figures", names(formats))
    if as_json:
        spread = spread_row(rows)
        about: dict[str, Any] = {
            "file": str(record.path),
            "learning_rate": record.learning_rates.rates[0],
        }
        if len(record.learning_rates.steps) > 1:
            about["learning_rates"] = record.learning_rates.learning_rate
        about |= {"processes": [row for row in rows if row is not spread]}
        about |= {"rounding_spread": spread, "figures": [str(figure) for figure in figures]}
        print_json(about)
        return
    print_rows(rows, metrics(record), comparison_cell)
    for note in spread_notes(rows):
        typer.echo(note)
    for figure in figures:
        typer.echo(figure)
