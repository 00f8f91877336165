"""The command `info`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import typer

from meanfield.study.cli._shared import (
    JsonOption,
    SourceArgument,
    app,
    print_json,
    print_study,
    print_summary,
    report,
    user_errors,
)


@app.command()
def info(
    source: SourceArgument,
    as_json: JsonOption = False,
) -> None:
    """Show the configuration, status and final values of a run or a width study."""
    with user_errors():
        from meanfield.study.report.source import read_source
        from meanfield.study.storage.study_record import StudyRecord
        from meanfield.study.width.summary import summarize_study

        record = read_source(source)
    if as_json:
        about = summarize_study(record) if isinstance(record, StudyRecord) else report(record)
        print_json(about | {"config": record.config})
        return
    if isinstance(record, StudyRecord):
        _print_attributes(record.attributes, ("created", "start", "reference_width"))
        print_study(record)
        for warning in record.warnings:
            typer.echo(f"warning: {warning}", err=True)
    else:
        _print_attributes(
            record.attributes, ("status", "message", "created", "seed", "learning_rate")
        )
        print_summary(record)
    typer.echo(record.config, nl=False)


def _print_attributes(attributes: Mapping[str, Any], keys: Iterable[str]) -> None:
    for key in keys:
        if attributes.get(key, "") != "":
            typer.echo(f"{key}: {attributes[key]}")
