"""The command `resume`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from meanfield.study.commands._running import (
    CheckpointEveryOption,
    CheckpointSecondsOption,
    MaxRuntimeOption,
    MemoryLimitOption,
    carry_out,
    options,
)
from meanfield.study.commands._shared import (
    JsonOption,
    NoFiguresOption,
    QuietOption,
    app,
    say,
    user_errors,
)


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.")],
    checkpoint_seconds: CheckpointSecondsOption = 60.0,
    checkpoint_every: CheckpointEveryOption = None,
    max_runtime: MaxRuntimeOption = None,
    memory_limit: MemoryLimitOption = None,
    no_figures: NoFiguresOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Go on with a run that was stopped, or that died, as if nothing had happened."""
    with user_errors():
        from meanfield.study.resume import ended
        from meanfield.study.resume import resume as resume_run
        from meanfield.study.team import find_team

        team = find_team()
        if (path := team.of_first(lambda: ended(folder))) is not None:
            say(f"{path}: this run has ended, there is nothing to go on with")
            raise typer.Exit
        with team.together():
            chosen = options(checkpoint_seconds, checkpoint_every, max_runtime, memory_limit)
        work = partial(resume_run, folder, team=team)
        carry_out(work, chosen, team, no_figures, as_json, quiet)
