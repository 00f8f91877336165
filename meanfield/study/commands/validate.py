"""The command `validate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meanfield.study.commands._shared import WRONG_INPUT, JsonOption, app, fail, print_json


@app.command()
def validate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="A TOML file.")],
    as_json: JsonOption = False,
) -> None:
    """Check a TOML file and the data it names, without running it."""
    try:
        from meanfield.study.config import load
        from meanfield.study.problem import check

        check(load(config))
    except (ValueError, MemoryError) as error:
        if not as_json:
            fail(error, WRONG_INPUT)
        print_json({"valid": False, "errors": str(error).splitlines()})
        raise typer.Exit(WRONG_INPUT) from None
    if as_json:
        print_json({"valid": True, "errors": []})
    else:
        typer.echo(f"{config}: valid")
