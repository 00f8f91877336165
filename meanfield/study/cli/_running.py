"""Common to commands that execute runs: options, final output, exit codes."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from meanfield.study.cli._shared import FAILED, draw, print_json, print_summary, report, say

if TYPE_CHECKING:
    from meanfield.study.engine.prepared_run import Options
    from meanfield.study.engine.ranks import Ranks
    from meanfield.study.storage.schema import RunRecord

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}

CheckpointSecondsOption = Annotated[
    float, typer.Option("--checkpoint-seconds", help="Interval between checkpoints, in seconds.")
]
CheckpointEveryOption = Annotated[
    int | None,
    typer.Option(
        "--checkpoint-every", metavar="STEPS", help="Also write a checkpoint every this many steps."
    ),
]
MaxRuntimeOption = Annotated[
    str | None,
    typer.Option(
        "--max-runtime",
        metavar="TIME",
        help="Time limit: end with a checkpoint and exit code 75; seconds, or as 1h30m.",
    ),
]
OverridesOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting, e.g. network.width=800."),
]
MemoryLimitOption = Annotated[
    str | None,
    typer.Option(
        "--memory-limit",
        metavar="AMOUNT",
        help="Memory limit, as 8GB. [default: the available memory]",
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads",
        help="Largest number of threads of a process.  [default: its cores, shared with the others of an MPI job]",
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
        raise ValueError(f"--max-runtime must be a time above 0, as 3600 or 1h30m, got {text!r}")
    return amount


def options(
    checkpoint_seconds: float,
    checkpoint_every: int | None,
    max_runtime: str | None,
    memory_limit: str | None,
) -> Options:
    """Options of a run from those of the command."""
    from meanfield.study.engine.checkpointing import Schedule
    from meanfield.study.engine.memory import parse_bytes
    from meanfield.study.engine.prepared_run import Options

    schedule = Schedule(checkpoint_seconds, checkpoint_every)
    runtime = None if max_runtime is None else seconds(max_runtime)
    memory = None if memory_limit is None else parse_bytes(memory_limit)
    return Options(schedule, runtime, memory, say=say)


def limit_threads(threads: int | None) -> None:
    """Limit the threads of kernels; BLAS uses one thread during a run."""
    if threads is not None:
        from meanfield._kernels.threads import use_threads

        use_threads(threads)


def carry_out(
    job: Callable[..., Path],
    options: Options,
    ranks: Ranks,
    no_figures: bool,
    as_json: bool,
    quiet: bool,
) -> NoReturn:
    """Execute a run with progress bars, draw and print its results; Exit with the code of its outcome."""
    from meanfield.study.engine.progress import ProgressBars

    with ProgressBars(quiet or not ranks.is_first) as progress:
        path = job(options=replace(options, progress=progress))
    if not ranks.is_first:
        raise typer.Exit
    _finish(path, no_figures, as_json, quiet)


def _finish(path: Path, no_figures: bool, as_json: bool, quiet: bool) -> NoReturn:
    from meanfield.study.storage.writer import read_run

    record = read_run(path)
    status, message = (str(record.attributes[key]) for key in ("status", "message"))
    if status == "interrupted":
        with suppress(OSError):  # results are saved, and the terminal may be gone
            _print_end(record, [], as_json, quiet)
            typer.echo(f"{message}; `meanfield resume {path.parent}` continues it", err=True)
    else:
        figures = [] if no_figures else draw(record, path.parent / "figures", ["png"])
        _print_end(record, figures, as_json, quiet)
    raise typer.Exit(exit_code(status, message))


def _print_end(record: RunRecord, figures: list[Path], as_json: bool, quiet: bool) -> None:
    if as_json:
        print_json(report(record) | {"figures": [str(figure) for figure in figures]})
    elif not quiet:
        print_summary(record)
        typer.echo(f"run: {record.path}" + (f"\nfigures: {figures[0].parent}" if figures else ""))
    for name, process in record.processes.items():
        if process.message or process.status != "complete":
            typer.echo(f"{name}: {process.message or process.status}", err=True)


def exit_code(status: str, message: str) -> int:
    """The exit code for a status and message."""
    from meanfield.study.engine import signals as interrupt

    if status == "interrupted":
        return interrupt.EXIT_CODES.get(message.removeprefix("stopped by "), FAILED)
    return 0 if status == "complete" else FAILED
