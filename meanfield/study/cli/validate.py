"""The command `validate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meanfield.study.cli._running import MemoryLimitOption
from meanfield.study.cli._shared import WRONG_INPUT, JsonOption, ListsFlows, app, fail, print_json


@app.command(cls=ListsFlows)
def validate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="A TOML file.")],
    memory_limit: MemoryLimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a TOML file and the data it names, without running it."""
    try:
        from meanfield.study.config.run_config import load
        from meanfield.study.engine.build import check
        from meanfield.study.engine.evolution import PreparedEvolution
        from meanfield.study.engine.memory import memory_notice, parse_bytes
        from meanfield.study.engine.prepared_run import Options

        settings, notice = load(config), ""
        limit = None if memory_limit is None else parse_bytes(memory_limit)
        if settings.measure is not None:
            PreparedEvolution.of(settings, Options(memory_limit=limit))
        else:
            problem = check(settings, limit)
            notice = memory_notice(settings, len(problem.parameter_names))
    except (ValueError, MemoryError, OSError) as error:
        if not as_json:
            fail(error, WRONG_INPUT)
        print_json({"valid": False, "errors": str(error).splitlines()})
        raise typer.Exit(WRONG_INPUT) from None
    if as_json:
        print_json({"valid": True, "errors": []})
    else:
        typer.echo(f"{config}: valid" + (f"; {notice}" if notice else ""))
