"""The command `resume`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

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
from meanfield.study.cli._shared import (
    JsonOption,
    NoFiguresOption,
    QuietOption,
    app,
    say,
    user_errors,
)

if TYPE_CHECKING:
    from meanfield.study.engine.prepared_run import Options


@app.command()
def resume(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="The folder of a run, or of a width study, or its file."
        ),
    ],
    checkpoint_seconds: CheckpointSecondsOption = 60.0,
    checkpoint_every: CheckpointEveryOption = None,
    max_runtime: MaxRuntimeOption = None,
    memory_limit: MemoryLimitOption = None,
    threads: ThreadsOption = None,
    no_figures: NoFiguresOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Resume a run or a width study that was stopped or killed, with the results of an uninterrupted one."""
    with user_errors():
        from meanfield.study.storage.kind import folder_of, kind_of

        folder = folder_of(folder)
        arguments = checkpoint_seconds, checkpoint_every, max_runtime, memory_limit
        if folder.is_dir() and "study" in kind_of(folder):
            _resume_study(folder, options(*arguments), threads, no_figures, as_json, quiet)
        from meanfield.study.engine.ranks import find_ranks
        from meanfield.study.engine.resume import ended
        from meanfield.study.engine.resume import resume as resume_run

        ranks = find_ranks("resume")
        with ranks.together():
            limit_threads(threads)
            chosen = options(*arguments)
        if (path := ranks.of_first(lambda: ended(folder))) is not None:
            say(f"{path}: this run has ended, there is nothing to resume")
            raise typer.Exit
        job = partial(resume_run, folder, ranks=ranks)
        carry_out(job, chosen, ranks, no_figures, as_json, quiet)


def _resume_study(
    folder: Path,
    options: Options,
    threads: int | None,
    no_figures: bool,
    as_json: bool,
    quiet: bool,
) -> NoReturn:
    from meanfield.study.cli.width import carry_out as carry_out_study
    from meanfield.study.width.plan import read_plan
    from meanfield.study.width.study import Execution

    plan = read_plan(folder)
    assert plan is not None  # the study has been started
    execution = Execution(threads=threads, options=options)
    carry_out_study(plan, folder, execution, no_figures, as_json, quiet)
