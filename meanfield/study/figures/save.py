"""Saving figures to files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from meanfield.study.figures.catalogue import COMPARISON
from meanfield.study.figures.layout import only_places_change
from meanfield.study.figures.selection import chosen_figures, length, shown_by_others
from meanfield.study.figures.style import Drawn, at_width, styled
from meanfield.study.storage.schema import OutputError, RunRecord
from meanfield.study.storage.study_record import StudyRecord

FORMATS = ("png", "svg", "pdf")
# no dates: the same data give the same bytes
METADATA: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def save_figures(
    record: RunRecord | StudyRecord,
    folder: Path,
    formats: Sequence[str] = ("png",),
    only: str | Iterable[str] | None = None,
    processes: str | Iterable[str] | None = None,
    width: str | float | None = None,
) -> list[Path]:
    """Draw the figures of a run or a width study in every format.

    By default all but the comparison and those of `shown_by_others`.

    Parameters
    ----------
    record : RunRecord or StudyRecord
    folder : Path
    formats : sequence of str
        Of `FORMATS`.
    only, processes, width
        See `chosen_figures`.

    Returns
    -------
    list of Path
        The files, ``<figure>.<format>``.

    Raises
    ------
    ValueError
        A format is not one of `FORMATS`, or as of `chosen_figures`.
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
    _require_formats(formats)
    without: Sequence[str] = ()
    if isinstance(record, RunRecord):
        without = (*COMPARISON.shows, *shown_by_others(record))
    drawn = chosen_figures(record, only, processes, width, without)
    return save_drawn(drawn, folder, formats, width)


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
    _require_formats(formats)
    return save_drawn(COMPARISON.draw(run), folder, formats)


def _require_formats(formats: Sequence[str]) -> None:
    for name in formats:
        if name not in FORMATS:
            raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {name!r}")


def save_drawn(
    figures: Iterable[Drawn],
    folder: Path,
    formats: Sequence[str],
    width: str | float | None = None,
) -> list[Path]:
    """Write figures that were drawn for a width. Errors as of `save_figures`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from meanfield.study import figures
    >>> with meanfield.Result.open("meanfield-run") as result:
    ...     drawn = figures.chosen_figures(result.record(), "loss", width="3.4in")
    >>> figures.save_drawn(drawn, Path("drawn"), ["pdf"], "3.4in")[0].name
    'loss.pdf'
    """
    _require_formats(formats)
    paths = []
    for drawn in figures:
        for suffix in formats:
            path = folder / f"{drawn.name}.{suffix}"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                if path.is_symlink():  # the target of a link must not be overwritten
                    path.unlink()
                with at_width(None if width is None else length(width)), styled():
                    _write(drawn.figure, path, suffix)
            except OSError as error:
                raise OutputError(f"{path}: cannot write: {error.strerror}") from error
            paths.append(path)
    return paths


def _write(figure: Figure, path: Path, suffix: str) -> None:
    with only_places_change(figure):
        if suffix == "png":
            _write_pixels(figure, path)
        else:
            figure.savefig(path, metadata=METADATA[suffix])


def _write_pixels(figure: Figure, path: Path) -> None:
    """The pixels of `savefig`, drawn once, where it first draws all of it to place the axes, and without a channel of opacity."""
    canvas: Any = FigureCanvasAgg(figure)
    engine, dpi = figure.get_layout_engine(), figure.dpi
    figure.dpi = rcParams["savefig.dpi"]
    try:
        if engine is not None and figure.axes:
            engine.execute(figure)
        figure.set_layout_engine(None)
        canvas.draw()
        size, pixels = canvas.get_width_height(physical=True), canvas.buffer_rgba()
        image = Image.frombuffer("RGBA", size, pixels, "raw", "RGBA", 0, 1).convert("RGB")
        image.save(path, dpi=(figure.dpi, figure.dpi), compress_level=2)  # the fastest
    finally:
        figure.set_layout_engine(engine)
        figure.dpi = dpi
