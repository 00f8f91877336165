"""The command `info`."""

from __future__ import annotations

import typer

from meanfield.study.commands._shared import (
    JsonOption,
    RunArgument,
    app,
    print_json,
    print_summary,
    report,
    user_errors,
)


@app.command()
def info(
    path: RunArgument,
    as_json: JsonOption = False,
) -> None:
    """Say what a run was and how it ended."""
    with user_errors():
        from meanfield.study.snapshots import read_run

        record = read_run(path)
    if as_json:
        print_json(report(record) | {"config": record.config})
        return
    for key in ("status", "message", "created", "seed", "learning_rate"):
        if record.attributes.get(key, "") != "":
            typer.echo(f"{key}: {record.attributes[key]}")
    print_summary(record)
    typer.echo(record.config, nl=False)
