"""The command `sweep`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from meanfield.study.cli._running import (
    CheckpointEveryOption,
    CheckpointSecondsOption,
    MaxRuntimeOption,
    MemoryLimitOption,
    OverridesOption,
    ThreadsOption,
    limit_threads,
    options,
)
from meanfield.study.cli._shared import (
    FAILED,
    JsonOption,
    QuietOption,
    app,
    console,
    print_json,
    say,
    user_errors,
)

if TYPE_CHECKING:
    from meanfield.study.sweep.table import SweepResult

_SHOWN = {
    "run": "run",
    "process": "process",
    "status": "status",
    "train_loss": "risk",
    "eta_sharpness": "η·sharpness",
    "final_distance": "final distance to GD",
    "max_distance": "largest distance to GD",
}
_TEXTS = ("run", "process", "status")


@app.command()
def sweep(
    config: Annotated[
        Path | None, typer.Argument(help="A TOML file; without one, the run of real digits.")
    ] = None,
    over: Annotated[
        list[str] | None,
        typer.Option(
            "--over",
            metavar="KEY=VALUES",
            help="A key and its values, e.g. learning_rate=0.5,1,2; several keys are combined.",
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="So many seeds, from that of the configuration on.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the sweep.")] = Path("meanfield-sweep"),
    overrides: OverridesOption = None,
    checkpoint_seconds: CheckpointSecondsOption = 60.0,
    checkpoint_every: CheckpointEveryOption = None,
    max_runtime: MaxRuntimeOption = None,
    memory_limit: MemoryLimitOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run a configuration with every combination of some values; the same command goes on with what is missing."""
    with user_errors():
        from meanfield.study.config.run_config import load
        from meanfield.study.engine.progress import ProgressBars
        from meanfield.study.sweep.plan import make_plan
        from meanfield.study.sweep.sweep import run_sweep

        limit_threads(threads)
        settings = load(config, tuple(overrides or ()))
        plan = make_plan(settings, _values(over or [], seeds, settings.seed))
        chosen = options(checkpoint_seconds, checkpoint_every, max_runtime, memory_limit)
        with ProgressBars(quiet) as progress:
            made = run_sweep(plan, out, replace(chosen, progress=progress))
        _finish(made, out, as_json, quiet)


def _values(over: list[str], seeds: int | None, first: int) -> dict[str, list[Any]]:
    """Lists of values by key, as they were given."""
    from meanfield.study.config.toml import parse_value

    lists: dict[str, list[Any]] = {}
    for text in over:
        key, equals, values = text.partition("=")
        if not equals or not key.strip() or not values.strip():
            raise ValueError(f"--over must be key=value,value,..., got {text!r}")
        lists[key.strip()] = [parse_value(value.strip()) for value in values.split(",")]
    if seeds is not None:
        if seeds < 1:
            raise ValueError(f"--seeds must be at least 1, got {seeds}")
        if "seed" in lists:
            raise ValueError("--seeds must be left out where --over has the key seed")
        lists["seed"] = list(range(first, first + seeds))
    if not lists:
        raise ValueError("--over must be given, e.g. learning_rate=0.5,1,2; or --seeds")
    return lists


def _finish(made: SweepResult, out: Path, as_json: bool, quiet: bool) -> NoReturn:
    """Print the table; Exit with the code that says how the sweep ended."""
    from meanfield.study.engine.signals import EXIT_CODES

    if as_json:
        about = {"folder": str(made.path), "failures": made.failures, "stopped": made.stopped}
        print_json(about | {"rows": made.rows})
    elif not quiet:
        _print(made)
        typer.echo(f"sweep: {made.path}")
    for name, why in made.failures.items():
        say(f"{name}: {why}")
    if made.stopped:
        say(f"stopped by {made.stopped}; the same command goes on")
        raise typer.Exit(EXIT_CODES.get(made.stopped, FAILED))
    complete = all(status == "complete" for status in made.statuses.values())
    raise typer.Exit(0 if complete else FAILED)


def _print(made: SweepResult) -> None:
    """A line for each process of each run."""
    from rich.table import Table

    from meanfield.study.analysis.summary import summary_cell

    table = Table()
    for key, title in _SHOWN.items():
        table.add_column(title, justify="left" if key in _TEXTS else "right", overflow="fold")
    for row in made.rows:
        cells = {"status": row["run_status"], **row}
        table.add_row(*(summary_cell(key, cells.get(key)) for key in _SHOWN))
    console().print(table)
