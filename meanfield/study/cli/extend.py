"""The command `extend`."""

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
    ThreadsOption,
    carry_out,
    limit_threads,
    options,
)
from meanfield.study.cli._shared import JsonOption, NoFiguresOption, QuietOption, app, user_errors


@app.command()
def extend(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder of a finished run, or its file.")
    ],
    steps: Annotated[int, typer.Option(help="Steps in all, more than the run has.")],
    checkpoint_seconds: CheckpointSecondsOption = 60.0,
    checkpoint_every: CheckpointEveryOption = None,
    max_runtime: MaxRuntimeOption = None,
    memory_limit: MemoryLimitOption = None,
    threads: ThreadsOption = None,
    no_figures: NoFiguresOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Let a finished run go on to more steps, as if it had been asked for them at once."""
    with user_errors():
        from meanfield.study.engine.extend import extend as extend_run
        from meanfield.study.engine.ranks import find_ranks
        from meanfield.study.storage.kind import folder_of

        ranks = find_ranks("extend")
        with ranks.together():
            limit_threads(threads)
            chosen = options(checkpoint_seconds, checkpoint_every, max_runtime, memory_limit)
        job = partial(extend_run, folder_of(folder), steps, ranks=ranks)
        carry_out(job, chosen, ranks, no_figures, as_json, quiet)
