"""What the commands that run something share: their options, what they print at the end, their exit codes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from meanfield.study.commands._shared import (
    FAILED,
    draw,
    print_json,
    print_summary,
    report,
    say,
)

if TYPE_CHECKING:
    from meanfield.study.team import Team
    from meanfield.study.work import Options

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}

CheckpointSecondsOption = Annotated[
    float, typer.Option("--checkpoint-seconds", help="Write a checkpoint so often, in seconds.")
]
CheckpointEveryOption = Annotated[
    int | None,
    typer.Option("--checkpoint-every", metavar="STEPS", help="And at every so many steps."),
]
MaxRuntimeOption = Annotated[
    str | None,
    typer.Option(
        "--max-runtime",
        metavar="TIME",
        help="End in time with a checkpoint and exit code 75; seconds, or as 1h30m.",
    ),
]
MemoryLimitOption = Annotated[
    str | None,
    typer.Option(
        "--memory-limit",
        metavar="AMOUNT",
        help="Refuse what needs more memory, as 8GB; by default more than is available.",
    ),
]


def seconds(text: str) -> float:
    """Seconds of "3600", "1h30m", "90s"."""
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text) if text else None
    if parts is not None:
        amount = sum(
            int(n or 0) * _UNITS[unit] for n, unit in zip(parts.groups(), "hms", strict=True)
        )
    else:
        try:
            amount = float(text)
        except ValueError:
            amount = 0.0
    if not 0 < amount < float("inf"):
        raise ValueError(
            f"--max-runtime: {text!r} came, a time above 0 is needed, as 3600 or 1h30m"
        )
    return amount


def options(
    checkpoint_seconds: float,
    checkpoint_every: int | None,
    max_runtime: str | None,
    memory_limit: str | None,
) -> Options:
    """Options of a run, as they were given."""
    from meanfield.study.keeper import Schedule
    from meanfield.study.memory import parse_bytes
    from meanfield.study.work import Options

    schedule = Schedule(checkpoint_seconds, checkpoint_every)
    runtime = None if max_runtime is None else seconds(max_runtime)
    memory = None if memory_limit is None else parse_bytes(memory_limit)
    return Options(schedule, runtime, memory, say=say)


def carry_out(
    work: Callable[..., Path],
    options: Options,
    team: Team,
    no_figures: bool,
    as_json: bool,
    quiet: bool,
) -> NoReturn:
    """Run something with its progress shown, draw and print what it left; Exit with the code that says how it ended."""
    from meanfield.study.progress import ProgressBars

    with ProgressBars(quiet or not team.is_first) as progress:
        path = work(options=replace(options, progress=progress))
    if not team.is_first:
        raise typer.Exit
    _finish(path, no_figures, as_json, quiet)


def _finish(path: Path, no_figures: bool, as_json: bool, quiet: bool) -> NoReturn:
    from meanfield.study.snapshots import read_run

    record = read_run(path)
    status, message = (str(record.attributes[key]) for key in ("status", "message"))
    figures = []
    if not no_figures and status != "interrupted":
        figures = draw(record, path.parent / "figures", ["png"])
    if as_json:
        print_json(report(record) | {"figures": [str(figure) for figure in figures]})
    elif not quiet:
        print_summary(record)
        typer.echo(f"run: {path}" + (f"\nfigures: {figures[0].parent}" if figures else ""))
    for name, process in record.processes.items():
        if process.message or process.status != "complete":
            typer.echo(f"{name}: {process.message or process.status}", err=True)
    if status == "interrupted":
        typer.echo(f"{message}; `meanfield resume {path.parent}` goes on", err=True)
    raise typer.Exit(exit_code(status, message))


def exit_code(status: str, message: str) -> int:
    """The exit code of a run that ended so."""
    from meanfield.study import interrupt

    if status == "interrupted":
        return interrupt.EXIT_CODES.get(message.removeprefix("stopped by "), FAILED)
    return 0 if status == "complete" else FAILED
