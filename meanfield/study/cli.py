"""The command line. Everything heavy is imported when a command needs it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from meanfield import __version__

if TYPE_CHECKING:
    from meanfield.study.layout import RunRecord

FAILED, WRONG_INPUT, INTERRUPTED = 1, 2, 130
EXIT_CODES = {"complete": 0, "interrupted": INTERRUPTED}

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Gradient descent on two-layer networks, and the flows that model it, side by side.",
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
FormatsOption = Annotated[
    str, typer.Option("--format", help="png, svg, pdf, or several with commas.")
]


def main() -> None:
    """Entry point of the command ``meanfield``."""
    app()


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"meanfield {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print version."),
    ] = False,
) -> None:
    pass


@app.command()
def run(
    config: Annotated[
        Path | None, typer.Argument(help="A TOML file; without one, the study of real digits.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("meanfield-run"),
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting, e.g. network.width=800."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the run in the folder.")] = False,
    no_figures: Annotated[bool, typer.Option("--no-figures", help="Draw nothing.")] = False,
    as_json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:
    """Run several processes on one task or landscape from one start and compare them."""
    with _user_errors():
        from meanfield.study.config import load
        from meanfield.study.progress import ProgressBars
        from meanfield.study.run import run as run_study
        from meanfield.study.snapshots import read_run

        study = load(config, tuple(overrides or ()))
        with ProgressBars(quiet) as progress:
            path = run_study(study, out, force, progress)
        record = read_run(path)
        status = record.attributes["status"]
        figures = []
        if not no_figures and status != "interrupted":
            figures = _draw(record, path.parent / "figures", ["png"])
    if as_json:
        _print_json(_report(record) | {"figures": [str(figure) for figure in figures]})
    elif not quiet:
        _print_summary(record)
        typer.echo(f"run: {path}" + (f"\nfigures: {figures[0].parent}" if figures else ""))
    for name, process in record.processes.items():
        if process.message or process.status != "complete":
            typer.echo(f"{name}: {process.message or process.status}", err=True)
    raise typer.Exit(EXIT_CODES.get(status, FAILED))


@app.command()
def info(
    path: Annotated[Path, typer.Argument(metavar="RUN.h5", help="The file of a run.")],
    as_json: JsonOption = False,
) -> None:
    """Say what a run was and how it ended."""
    with _user_errors():
        from meanfield.study.snapshots import read_run

        record = read_run(path)
    if as_json:
        _print_json(_report(record) | {"config": record.config})
        return
    for key in ("status", "message", "created", "seed", "learning_rate"):
        if record.attributes[key] != "":
            typer.echo(f"{key}: {record.attributes[key]}")
    _print_summary(record)
    typer.echo(record.config, nl=False)


@app.command()
def plot(
    path: Annotated[Path, typer.Argument(metavar="RUN.h5", help="The file of a run.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the figures; by default figures/ beside it.")
    ] = None,
    formats: FormatsOption = "png",
) -> None:
    """Draw the figures of a run."""
    with _user_errors():
        from meanfield.study.snapshots import read_run

        figures = _draw(read_run(path), out or path.parent / "figures", _names(formats))
    for figure in figures:
        typer.echo(figure)


@app.command()
def compare(
    path: Annotated[Path, typer.Argument(metavar="RUN.h5", help="The file of a run.")],
    formats: FormatsOption = "png",
    no_figure: Annotated[bool, typer.Option("--no-figure", help="Draw nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure how close each process of a run stays to gradient descent; draw figures/compare beside it."""
    with _user_errors():
        from meanfield.study.compare import METRICS, comparison_cell
        from meanfield.study.compare import compare as compare_processes
        from meanfield.study.snapshots import read_run

        record = read_run(path)
        rows = compare_processes(record)
        figures = []
        if not no_figure:
            from meanfield.study.figures import save_comparison

            figures = save_comparison(record, path.parent / "figures", _names(formats))
    if as_json:
        about = {"file": str(path), "learning_rate": float(record.attributes["learning_rate"])}
        _print_json(about | {"processes": rows, "figures": [str(figure) for figure in figures]})
        return
    _print_rows(rows, METRICS, comparison_cell)
    for figure in figures:
        typer.echo(figure)


@app.command()
def distance(
    paths: Annotated[
        tuple[Path, Path],
        typer.Argument(metavar="A.h5 B.h5", help="The files of two runs, or one file twice."),
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
        int | None, typer.Option(metavar="N", help="Take so many random particles of each.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Runs of different problems, too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure the distance of two snapshots, of runs of any widths, and what sampling alone makes of it."""
    with _user_errors():
        from meanfield.study import distance as between

        asked = zip(paths, _pair("process", processes), _pair("time", times), strict=True)
        a, b = (between.read_cloud(path, name, _time(time)) for path, name, time in asked)
        unlike = "; ".join(between.differences(a, b))
        if unlike and not force:
            raise ValueError(
                f"{paths[0]} and {paths[1]} are of different problems: {unlike}; --force compares them"
            )
        if unlike:
            typer.echo(f"warning: different problems: {unlike}", err=True)
        if about := between.announcement(a, b, method, subsample):
            typer.echo(about, err=True)
        try:
            report = between.distance(a, b, method, subsample, seed)
        except between.TransportError as error:
            _fail(error, FAILED)
    if as_json:
        _print_json(report)
    else:
        typer.echo("\n".join(between.lines(report)))


@app.command()
def validate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="A TOML file.")],
    as_json: JsonOption = False,
) -> None:
    """Check a TOML file and the data it names, without running it."""
    try:
        from meanfield.study.config import load
        from meanfield.study.problem import check

        check(load(config))
    except ValueError as error:
        if not as_json:
            _fail(error, WRONG_INPUT)
        _print_json({"valid": False, "errors": str(error).splitlines()})
        raise typer.Exit(WRONG_INPUT) from None
    if as_json:
        _print_json({"valid": True, "errors": []})
    else:
        typer.echo(f"{config}: valid")


@contextmanager
def _user_errors() -> Iterator[None]:
    """Errors that a person can mend become a message and an exit code, never a traceback."""
    from meanfield.study.layout import OutputError

    try:
        yield
    except OutputError as error:
        _fail(error, FAILED)
    except ValueError as error:
        _fail(error, WRONG_INPUT)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _fail(error: Exception, code: int) -> NoReturn:
    text = str(error)
    separator = "\n  " if "\n" in text else " "
    typer.echo(f"error:{separator}" + text.replace("\n", separator), err=True)
    raise typer.Exit(code) from None


def _draw(record: RunRecord, folder: Path, formats: list[str]) -> list[Path]:
    from meanfield.study.figures import save_figures

    return save_figures(record, folder, formats)


def _report(record: RunRecord) -> dict[str, Any]:
    from meanfield.study.summary import summarize

    attributes = {key: record.attributes[key] for key in ("status", "message", "seed")}
    return {"file": str(record.path), **attributes, "processes": summarize(record)}


def _print_summary(record: RunRecord) -> None:
    from meanfield.study.summary import QUANTITIES, summarize, summary_cell

    _print_rows(summarize(record), QUANTITIES, summary_cell)


def _print_rows(
    rows: list[dict[str, Any]], titles: dict[str, str], cell: Callable[[str, Any], str]
) -> None:
    from rich.console import Console

    from meanfield.study.summary import tables

    terminal = Console()
    if terminal.is_terminal:
        terminal.print(*tables(rows, titles, cell, terminal.width))
    else:  # a file or a pipe has no width that the table would have to fit in
        Console(width=1000).print(*tables(rows, titles, cell))


def _pair(name: str, values: list[str] | None) -> tuple[str | None, str | None]:
    """What was asked for each of two files: nothing, one thing for both, or two."""
    if not values:
        return None, None
    if len(values) > 2:
        raise ValueError(f"--{name}: {len(values)} came, one or two are allowed")
    return values[0], values[-1]


def _time(text: str | None) -> float | None:
    if text is None or text == "last":
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--time: {text!r} came, a number or last is needed") from None


def _names(formats: str) -> list[str]:
    return [name.strip() for name in formats.split(",")]


def _print_json(content: dict[str, Any]) -> None:
    typer.echo(json.dumps(content, indent=2, allow_nan=False))
