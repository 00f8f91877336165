"""Common to all commands: the app, options, errors, tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from meanfield.study.engine.mpi_launcher import is_first
from meanfield.study.storage.text import clean

if TYPE_CHECKING:
    from rich.console import Console

    from meanfield.study.storage.schema import RunRecord
    from meanfield.study.storage.study_record import StudyRecord

FAILED, WRONG_INPUT, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Gradient descent on two-layer networks, compared with the flows that model it.",
)


class ListsFlows(TyperCommand):
    """A command whose help ends with the flows that there are, looked up when it is shown."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from solvers.flows import FLOWS

        self.epilog = f"Flows: {', '.join(FLOWS)}."
        super().format_help(ctx, formatter)


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
FormatsOption = Annotated[
    str, typer.Option("--format", help="png, svg, pdf, or several separated by commas.")
]
NoFiguresOption = Annotated[bool, typer.Option("--no-figures", help="Draw nothing.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Print errors only.")]


@contextmanager
def user_errors() -> Iterator[None]:
    """Context that turns user errors into a message and an exit code, without a traceback."""
    from meanfield.study.storage.schema import OutputError

    try:
        yield
    except OutputError as error:
        fail(error, FAILED)
    except ValueError as error:
        fail(error, WRONG_INPUT)
    except OSError as error:  # of a path, e.g. a folder without permission
        where = "" if error.filename is None else f"{error.filename}: "
        fail(ValueError(f"{where}{error.strerror or error}"), WRONG_INPUT)
    except MemoryError as error:
        fail(MemoryError(f"there is not enough memory: {error}"), FAILED)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def fail(error: Exception, code: int) -> NoReturn:
    text = str(error)
    separator = "\n  " if "\n" in text else " "
    say(f"error:{separator}" + text.replace("\n", separator))
    raise typer.Exit(code) from None


def say(text: str) -> None:
    if is_first():  # only the first rank of an MPI job prints
        typer.echo(clean(text), err=True)


def tried(path: Path) -> Path:
    """The path of a file that can be read safely; otherwise the command ends."""
    from meanfield.study.report.source import read_source
    from meanfield.study.storage.files.sandbox import read_in_child

    with user_errors():
        read_in_child(path, read_source)
    return path


def run_to_read(path: Path) -> Path:
    """The path of a run, possibly its folder; the command ends if it cannot be read safely."""
    from meanfield.study.storage.kind import require_run

    tried(path)
    with user_errors():
        return require_run(path)


RunArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RUN.h5", help="The file of a run, or its folder.", callback=run_to_read
    ),
]
SourceArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RUN_OR_STUDY",
        help="The file of a run or a width study, or its folder; a run may still be running.",
        callback=tried,
    ),
]


def draw(record: RunRecord, folder: Path, formats: list[str]) -> list[Path]:
    from meanfield.study.figures import save_figures

    return save_figures(record, folder, formats)


def report(record: RunRecord) -> dict[str, Any]:
    from meanfield.study.analysis.summary import spectrum_warnings, summarize

    attributes = {key: record.attributes.get(key) for key in ("status", "message", "seed")}
    return {
        "file": str(record.path),
        **attributes,
        "processes": summarize(record),
        "warnings": spectrum_warnings(record),
    }


def print_summary(record: RunRecord) -> None:
    from meanfield.study.analysis.summary import (
        quantities,
        spectrum_warnings,
        summarize,
        summary_cell,
    )

    print_rows(summarize(record), quantities(record), summary_cell)
    for warning in spectrum_warnings(record):
        typer.echo(f"warning: {warning}", err=True)


def print_study(study: StudyRecord) -> None:
    from meanfield.study.width.summary import study_tables

    out = console()
    for title, table in study_tables(study):
        out.print(title, table, highlight=False)


def print_rows(
    rows: list[dict[str, Any]], titles: dict[str, str], cell: Callable[[str, Any], str]
) -> None:
    from meanfield.study.analysis.summary import tables

    out = console()
    out.print(*tables(rows, titles, cell, out.width if out.is_terminal else None))


def console() -> Console:
    """The console for tables; a file or a pipe has no limited width."""
    from rich.console import Console

    plainly: dict[str, Any] = {
        "markup": False,
        "emoji": False,
    }  # texts of files are not markup, even [/b] and :b:
    terminal = Console(**plainly)
    return terminal if terminal.is_terminal else Console(width=1000, **plainly)


def names(formats: str) -> list[str]:
    return [name.strip() for name in formats.split(",")]


def print_json(content: dict[str, Any]) -> None:
    typer.echo(json.dumps(content, indent=2, allow_nan=False))
