"""The command `width`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from meanfield.study.cli._running import (
    CheckpointEveryOption,
    CheckpointSecondsOption,
    MaxRuntimeOption,
    MemoryLimitOption,
    options,
)
from meanfield.study.cli._shared import (
    FAILED,
    JsonOption,
    NoFiguresOption,
    QuietOption,
    app,
    print_json,
    print_study,
    say,
    user_errors,
)
from meanfield.study.engine.mpi_launcher import launched_rank
from meanfield.study.engine.signals import EXIT_CODES

if TYPE_CHECKING:
    from meanfield.study.engine.prepared_run import Options
    from meanfield.study.storage.study_record import StudyRecord
    from meanfield.study.width.plan import WidthPlan
    from meanfield.study.width.study import Execution, Outcome


@app.command()
def width(
    config: Annotated[
        Path | None,
        typer.Argument(
            help="A TOML file; by default that of the study in the folder, or real digits."
        ),
    ] = None,
    widths: Annotated[
        str | None, typer.Option(help="Numbers of particles, in increasing order: 64,256,1024.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Runs at each width.  [default: 8]")] = None,
    reference_width: Annotated[
        int | None, typer.Option(help="Width of the reference.  [default: 16 times the widest]")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="nested: from particles of the reference; independent.  [default: nested]"
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the study.")] = Path("meanfield-width"),
    jobs: Annotated[
        int | None, typer.Option(help="Number of concurrent workers.  [default: one per core]")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="Total number of threads of all workers.  [default: the cores]"),
    ] = None,
    task_index: Annotated[
        int | None, typer.Option(help="Index of this task in a job array, from 0.")
    ] = None,
    num_tasks: Annotated[int | None, typer.Option(help="Number of tasks of the job array.")] = None,
    collect: Annotated[
        bool,
        typer.Option("--collect", help="Run nothing; compute the distances of the finished runs."),
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting, e.g. learning_rate=0.2."),
    ] = None,
    checkpoint_seconds: CheckpointSecondsOption = 60.0,
    checkpoint_every: CheckpointEveryOption = None,
    max_runtime: MaxRuntimeOption = None,
    memory_limit: MemoryLimitOption = None,
    no_figures: NoFiguresOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Compare runs of several widths and seeds with a much wider one, and fit the rate of convergence."""
    with user_errors():
        asked = {"seeds": seeds, "reference_width": reference_width, "start": start}
        given = {key: value for key, value in asked.items() if value is not None}
        plan = _plan(config, out, overrides or [], widths, given)
        chosen = options(checkpoint_seconds, checkpoint_every, max_runtime, memory_limit)
        execution = _execution(jobs, threads, task_index, num_tasks, collect, chosen)
    carry_out(plan, out, execution, no_figures, as_json, quiet)


def carry_out(
    plan: WidthPlan, out: Path, execution: Execution, no_figures: bool, as_json: bool, quiet: bool
) -> NoReturn:
    """Execute a study, draw and print its results; Exit with the code of its outcome."""
    with user_errors():
        if launched_rank() is not None:
            raise ValueError(
                "a width study must be started without mpiexec, got an MPI launcher; it starts workers itself"
            )
        from meanfield.study.storage.study_file import read_study

        outcome = _outcome(plan, out, execution, quiet)
        study = None if outcome.path is None else read_study(outcome.path)
        figures = [] if study is None or no_figures else _draw(study)
    if as_json:
        about = {key: getattr(outcome, key) for key in ("failures", "missing", "stopped")}
        print_json(_summary(study) | about)
    elif study is not None and not quiet:
        print_study(study)
        typer.echo(f"study: {study.path}" + (f"\nfigures: {figures[0].parent}" if figures else ""))
    for line in _remarks(study, outcome, quiet):
        say(line)
    if outcome.stopped:
        say(f"stopped by {outcome.stopped}; `meanfield resume {out}` continues it")
    raise typer.Exit(_exit_code(study, outcome, execution.collect_only))


def _plan(
    config: Path | None,
    out: Path,
    overrides: list[str],
    widths: str | None,
    options: dict[str, int | str],
) -> WidthPlan:
    """The requested plan; without a configuration and widths, that of the folder."""
    from meanfield.study.config.run_config import load
    from meanfield.study.width.plan import make_plan, read_plan

    there = read_plan(out)
    if there is not None and config is None and not overrides:
        if widths is None and not options:
            return there
        kept = {**there.width.model_dump(), **options}
        return make_plan(there.config, **{**kept, "widths": _numbers(widths) or kept["widths"]})
    if widths is None:
        raise ValueError("--widths must be given, as 64,256,1024, got none")
    return make_plan(load(config, tuple(overrides)), _numbers(widths), **options)  # type: ignore[arg-type]


def _numbers(text: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise ValueError(f"--widths must be integers separated by commas, got {text!r}") from None


def _execution(
    jobs: int | None,
    threads: int | None,
    task_index: int | None,
    num_tasks: int | None,
    collect: bool,
    options: Options,
) -> Execution:
    from meanfield.study.width.study import Execution

    if (task_index is None) != (num_tasks is None):
        raise ValueError("--task-index and --num-tasks must be given together, got one of them")
    shares = 1 if num_tasks is None else num_tasks
    return Execution(jobs, task_index or 0, shares, collect, threads, options)


def _outcome(plan: WidthPlan, out: Path, execution: Execution, quiet: bool) -> Outcome:
    from meanfield.study.width.progress import StudyBars
    from meanfield.study.width.study import run_width_study
    from meanfield.study.width.validity import too_narrow

    if (warning := too_narrow(plan)) and not quiet:
        say(warning)
    with StudyBars(quiet) as progress:
        return run_width_study(plan, out, execution, progress, say)


def _summary(study: StudyRecord | None) -> dict[str, Any]:
    from meanfield.study.width.summary import summarize_study

    return {"file": None} if study is None else summarize_study(study)


def _draw(study: StudyRecord) -> list[Path]:
    from meanfield.study.figures import save_figures

    return save_figures(study, study.path.parent / "figures", ["png"])


def _remarks(study: StudyRecord | None, outcome: Outcome, quiet: bool) -> Iterator[str]:
    """Warnings, failures, and missing runs."""
    if study is not None and not quiet:
        yield from (f"warning: {warning}" for warning in study.warnings)
    yield from (f"{name}: {reason}" for name, reason in outcome.failures.items())
    if outcome.missing:
        yield f"missing: {len(outcome.missing)} runs: {', '.join(outcome.missing)}"


def _exit_code(study: StudyRecord | None, outcome: Outcome, collect: bool) -> int:
    """As for a run: 1 if anything failed or diverged; one of several tasks may leave runs to the others."""
    if outcome.stopped:
        return EXIT_CODES[outcome.stopped]
    if study is None:
        return FAILED if outcome.failures or collect else 0
    whole = (study.statuses == "complete").all() and study.attributes[
        "reference_status"
    ] == "complete"
    return FAILED if outcome.failures or not whole else 0
