"""The command `distance`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from meanfield.study.cli._shared import (
    FAILED,
    JsonOption,
    app,
    fail,
    print_json,
    run_to_read,
    user_errors,
)

SUBSAMPLED = (
    "too many particles for exact transport of all in memory: the distance of their laws by subsamples of at most 2,000, which "
    "takes up to a minute; --lazy, --memory-limit or --method sliced compare all"
)


@app.command()
def distance(
    paths: Annotated[
        tuple[Path, Path],
        typer.Argument(metavar="A.h5 B.h5", help="The files or folders of two runs, or one twice."),
    ],
    processes: Annotated[
        list[str] | None,
        typer.Option(
            "--process",
            metavar="NAME",
            help="Given twice, one for each file; by default gradient descent.",
        ),
    ] = None,
    times: Annotated[
        list[str] | None,
        typer.Option(
            "--time",
            metavar="T",
            help="A snapshot's time, or last; given twice, one for each file.",
        ),
    ] = None,
    method: Annotated[str, typer.Option(help="exact, sliced or sinkhorn.")] = "exact",
    subsample: Annotated[
        int | None, typer.Option(metavar="N", help="Use this many random particles of each.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    lazy: Annotated[
        bool,
        typer.Option("--lazy", help="Exact transport with less memory and more time."),
    ] = False,
    memory_limit: Annotated[
        str | None,
        typer.Option(metavar="AMOUNT", help="Memory limit, as 8GB. [default: 1GB]"),
    ] = None,
    error: Annotated[
        str | None,
        typer.Option(
            metavar="bootstrap",
            help="An interval for the distance of the laws that the particles are samples of.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also compare runs of different problems.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compute the distance of two snapshots, of runs of any widths, and its sampling floor."""
    with user_errors():
        asked = list(zip(paths, _pair("process", processes), _pair("time", times), strict=True))
        report = _measured(asked, method, subsample, seed, lazy, memory_limit, error, force)
    if as_json:
        print_json(report)
    else:
        _print(report)


def _measured(
    asked: list[tuple[Path, str | None, str | None]],
    method: str,
    subsample: int | None,
    seed: int,
    lazy: bool,
    memory_limit: str | None,
    error: str | None,
    force: bool,
) -> dict[str, Any]:
    """The distance of two snapshots, each given by a path, a process and a time; what is said before it is on stderr."""
    from meanfield.study.analysis import measure_distance as of_measures
    from meanfield.study.analysis import snapshot_distance as between
    from meanfield.study.engine.memory import parse_bytes

    for path, _, _ in asked:
        run_to_read(path)
    a, b = (between.read_cloud(path, name, _time(time)) for path, name, time in asked)
    if unlike := "; ".join(between.differences(a, b)):
        if not force:
            one, other = (path for path, _, _ in asked)
            raise ValueError(
                f"{one} and {other} must be of one problem, got {unlike}; --force compares them"
            )
        typer.echo(f"warning: different problems: {unlike}", err=True)
    if error not in (None, "bootstrap"):
        raise ValueError(f"--error must be bootstrap, got {error}")
    if subsample is not None and subsample < 1:
        raise ValueError(f"--subsample must be an integer of at least 1, got {subsample}")
    limit = None if memory_limit is None else parse_bytes(memory_limit)
    if of_measures.are_measures(a, b):
        if (method, subsample, error, lazy) != ("exact", None, None, False):
            raise ValueError(
                "--method, --subsample, --error and --lazy must be left out for densities and quantile functions, got one of "
                "them; their distance is exact"
            )
        return of_measures.distance(a, b, limit, progress=True)
    plain = method == "exact" and subsample is None and memory_limit is None and not lazy
    if plain and between.is_too_large(a, b, method):
        typer.echo(SUBSAMPLED, err=True)
        return between.distance_of_laws(a, b, method, seed)
    options: dict[str, Any] = {
        "lazy": lazy,
        "memory_limit": limit,
    }
    if about := between.announcement(a, b, method, subsample, **options):
        typer.echo(about, err=True)
    try:
        return between.distance(a, b, method, subsample, seed, error=error, **options)
    except between.TransportError as failure:
        fail(failure, FAILED)


def _print(report: dict[str, Any]) -> None:
    from meanfield.study.analysis.snapshot_distance import lines

    for warning in report["warnings"]:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo("\n".join(lines(report)))


def _pair(name: str, values: list[str] | None) -> tuple[str | None, str | None]:
    """The values of an option for two files: none, one for both, or two."""
    if not values:
        return None, None
    if len(values) > 2:
        raise ValueError(f"--{name} must be given once or twice, got {len(values)} times")
    return values[0], values[-1]


def _time(text: str | None) -> float | None:
    if text is None or text == "last":
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--time must be a number or last, got {text!r}") from None
