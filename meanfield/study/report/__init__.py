"""Reports of runs and width studies, each a self-contained HTML file."""

from __future__ import annotations

from pathlib import Path

from meanfield.study.report.document import Report
from meanfield.study.report.source import read_source
from meanfield.study.storage.files.atomic import written_whole
from meanfield.study.storage.study_record import StudyRecord

__all__ = ["Report", "make_report", "write_report"]

PLAIN_NAMES = ("run", "study")  # standard names of files
SUFFIXES = (".html", ".htm")


def make_report(source: str | Path) -> Report:
    """The report of a run, finished or not, or of a width study, given its file or folder.

    The same file gives the same text. It has no scripts and loads nothing, and of the machine it states the
    processor and the system, but no folder.

    Raises
    ------
    RunFileError
        There is no such file, or it cannot be read.
    """
    # the drawing modules are imported lazily
    from meanfield.study.report import evolution_sections, run_sections, study_sections

    record = read_source(source)
    if isinstance(record, StudyRecord):
        return study_sections.report(record)
    of_run = evolution_sections if record.is_of_measure else run_sections
    return of_run.report(record)


def write_report(source: str | Path, out: str | Path | None = None) -> Path:
    """Write the report of a run or a study; by default ``report.html`` beside its file.

    Raises
    ------
    ValueError
        `out` is not the name of an HTML file, or there is no run or study to read (`RunFileError`).
    OutputError
        The file cannot be written.
    """
    if out is not None:
        check_name(out)
    return save(make_report(source), out)


def check_name(out: str | Path) -> None:
    """Raise a ValueError unless this is the name of an HTML file; another one might replace the run itself."""
    if Path(out).suffix.lower() not in SUFFIXES:
        raise ValueError(f"out must be a name that ends in .html, got {Path(out).name!r}")
    if Path(out).is_dir():
        raise ValueError(f"out must be the name of a file, got the folder {out}")


def save(report: Report, out: str | Path | None = None) -> Path:
    """Write a report atomically."""
    path = Path(out) if out is not None else default_path(report.source)
    with written_whole(path) as partial:
        partial.write_text(report.text, encoding="utf-8", newline="\n")
    return path


def default_path(source: Path) -> Path:
    """The path beside the file; a file with a non-standard name has a report of that name."""
    stem = source.name.removesuffix(".partial").removesuffix(".h5")
    return source.with_name("report.html" if stem in PLAIN_NAMES else f"{stem}.html")
