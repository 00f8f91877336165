"""The command `run`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from meanfield.study.cli._running import (
    CheckpointEveryOption,
    CheckpointSecondsOption,
    MaxRuntimeOption,
    MemoryLimitOption,
    OverridesOption,
    ThreadsOption,
    carry_out,
    limit_threads,
    options,
)
from meanfield.study.cli._shared import (
    JsonOption,
    ListsFlows,
    NoFiguresOption,
    QuietOption,
    app,
    user_errors,
)


@app.command(cls=ListsFlows)
def run(
    config: Annotated[
        Path | None, typer.Argument(help="A TOML file; without one, the study of real digits.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("meanfield-run"),
    overrides: OverridesOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the run in the folder.")] = False,
    checkpoint_seconds: CheckpointSecondsOption = 60.0,
    checkpoint_every: CheckpointEveryOption = None,
    max_runtime: MaxRuntimeOption = None,
    memory_limit: MemoryLimitOption = None,
    threads: ThreadsOption = None,
    no_figures: NoFiguresOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run several processes on one task or landscape from one start and compare them; or the flow of a measure."""
    with user_errors():
        from meanfield.study.config.run_config import load
        from meanfield.study.engine.ranks import find_ranks
        from meanfield.study.engine.run import run as run_study

        ranks = find_ranks()
        with ranks.together():
            limit_threads(threads)
            settings = load(config, tuple(overrides or ()))
            chosen = options(checkpoint_seconds, checkpoint_every, max_runtime, memory_limit)
        job = partial(run_study, settings, out, force, ranks=ranks)
        carry_out(job, chosen, ranks, no_figures, as_json, quiet)
