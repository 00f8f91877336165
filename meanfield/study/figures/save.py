"""Saving figures to files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from meanfield.study.figures.catalogue import comparison, overview, run_figures
from meanfield.study.figures.style import Drawn, styled
from meanfield.study.figures.widths import study_figures
from meanfield.study.storage.layout import OutputError, RunRecord
from meanfield.study.storage.study_record import StudyRecord

FORMATS = ("png", "svg", "pdf")
# no dates: the same data give the same bytes
METADATA: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def save_figures(run: RunRecord, folder: Path, formats: Sequence[str] = ("png",)) -> list[Path]:
    """Draw every figure the run has data for, and an overview, in every format.

    Returns
    -------
    list of Path
        The files, ``<figure>.<format>``.

    Raises
    ------
    ValueError
        A format is not one of `FORMATS`.
    OutputError
        A file cannot be written.

    Examples
    --------
    >>> from pathlib import Path
    >>> from meanfield.study import figures
    >>> with meanfield.Result.open("meanfield-run") as result:
    ...     paths = figures.save_figures(result.record(), Path("drawn"), formats=["svg"])
    >>> paths[0].name
    'loss.svg'
    """
    return _save(chain(run_figures(run), overview(run)), folder, formats)


def save_comparison(run: RunRecord, folder: Path, formats: Sequence[str] = ("png",)) -> list[Path]:
    """Draw ``compare.<format>``: all processes, four quantities over one axis of time. Errors as of `save_figures`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from meanfield.study import figures
    >>> with meanfield.Result.open("meanfield-run") as result:
    ...     figures.save_comparison(result.record(), Path("drawn"))[0].name
    'compare.png'
    """
    return _save(comparison(run), folder, formats)


def save_study_figures(
    study: StudyRecord, folder: Path, formats: Sequence[str] = ("png",)
) -> list[Path]:
    """Draw the figures of a width study in every format. Errors as of `save_figures`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from meanfield.study import figures
    >>> figures.save_study_figures(meanfield.load("study"), Path("drawn"))[0].name
    'width_coupled.png'
    """
    return _save(study_figures(study), folder, formats)


def _save(figures: Iterable[Drawn], folder: Path, formats: Sequence[str]) -> list[Path]:
    for name in formats:
        if name not in FORMATS:
            raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {name!r}")
    paths = []
    for drawn in figures:
        for suffix in formats:
            path = folder / f"{drawn.name}.{suffix}"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                if path.is_symlink():  # the target of a link must not be overwritten
                    path.unlink()
                with styled():
                    drawn.figure.savefig(path, metadata=METADATA.get(suffix))
            except OSError as error:
                raise OutputError(f"{path}: cannot write: {error.strerror}") from error
            paths.append(path)
    return paths
