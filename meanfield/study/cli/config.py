"""The command `config`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meanfield.study.cli._running import OverridesOption
from meanfield.study.cli._shared import JsonOption, ListsFlows, app, print_json, user_errors


@app.command(cls=ListsFlows)
def config(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[CONFIG.toml]", help="A TOML file; by default none."),
    ] = None,
    defaults: Annotated[
        bool,
        typer.Option("--defaults", help="Print every key with its type, default and meaning."),
    ] = False,
    overrides: OverridesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a configuration in full, or with --defaults every key that one may have."""
    with user_errors():
        if defaults and (path is not None or overrides):
            raise ValueError("--defaults must be given alone, got a configuration too")
        if defaults:
            from meanfield.study.config import reference

            if as_json:
                print_json({"keys": [key._asdict() for key in reference.all_keys()]})
            else:
                typer.echo(reference.as_toml(), nl=False)
            return
        from meanfield.study.config.run_config import load

        settings = load(path, tuple(overrides or ()))
    if as_json:
        print_json(settings.model_dump(exclude_none=True))
    else:
        typer.echo(settings.to_toml(), nl=False)
