"""A choice of figures and processes, at the width of a page's column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from meanfield.study.figures.catalogue import entries
from meanfield.study.figures.onset import is_whole_run
from meanfield.study.figures.style import Drawn, at_width
from meanfield.study.figures.widths import STUDY_FIGURES, study_figures
from meanfield.study.storage.schema import RunRecord
from meanfield.study.storage.study_record import StudyRecord
from solvers._support.arguments import choice, refusal

INCHES = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4}
NARROWEST, WIDEST = 1.5, 20.0  # inches
FEWEST = 30  # particles whose density says more than their places
_LENGTH = re.compile(rf"\s*(\d+\.?\d*|\.\d+)\s*({'|'.join(INCHES)})\s*")


def length(width: str | float) -> float:
    """A length in inches, as ``"3.4in"``, ``"8.6cm"``, ``"86mm"``, or a number of inches.

    Raises
    ------
    ValueError
        It is none, or not from 1.5 to 20 inches.
    """
    if isinstance(width, str):
        found = _LENGTH.fullmatch(width)
        inches = float(found[1]) * INCHES[found[2]] if found else np.nan
    else:
        inches = float(width) if isinstance(width, int | float | np.number) else np.nan
    if not NARROWEST <= inches <= WIDEST:
        condition = (
            f"a length from {NARROWEST:g} to {WIDEST:g} inches, such as '3.4in', '8.6cm' or '86mm'"
        )
        raise refusal("width", condition, width)
    return inches


def chosen_figures(
    record: RunRecord | StudyRecord,
    only: str | Iterable[str] | None = None,
    processes: str | Iterable[str] | None = None,
    width: str | float | None = None,
    without: Sequence[str] = (),
) -> list[Drawn]:
    """Draw the figures of a run or a width study.

    Parameters
    ----------
    record : RunRecord or StudyRecord
    only : names, optional
        The figures, by default all the record has data for.
    processes : names, optional
        Those drawn, by default all; each has the look that it has among all. Of a width study, those of width N.
    width : str or float, optional
        Of each figure, see `length`; letters have the size that is right where the figure is printed at this width.
    without : names
        Figures not drawn unless they are in `only`.

    Raises
    ------
    ValueError
        For an unknown name, a figure that the record has no data for, or a width that is none.

    Examples
    --------
    >>> from meanfield.study import figures
    >>> with meanfield.Result.open("meanfield-run") as result:
    ...     record = result.record()
    >>> (loss,) = figures.chosen_figures(record, "loss", "gradient_descent", width="3.4in")
    >>> float(loss.figure.get_figwidth())
    3.4
    """
    is_run = isinstance(record, RunRecord)
    listed = entries()
    known = [name for e in listed for name in e.shows] if is_run else list(STUDY_FIGURES)
    wanted = None if only is None else _names("only", only, known)
    inches = None if width is None else length(width)
    if processes is not None:
        record = _of_processes(record, processes)
    shown = set(known) - set(without) if wanted is None else set(wanted)
    with at_width(inches):
        if isinstance(record, StudyRecord):
            drawn = list(study_figures(record, shown))
        else:
            needed = [entry for entry in listed if shown & entry.shows.keys()]
            drawn = [one for e in needed for one in e.draw(record) if one.name in shown]
    missing = [name for name in wanted or () if name not in {one.name for one in drawn}]
    if missing:
        what = "run" if is_run else "study"
        raise refusal("only", f"a figure that the {what} has data for", missing[0])
    return drawn


def shown_by_others(run: RunRecord) -> list[str]:
    """The figures that show no more than others do, of a run of few steps or particles.

    A zoom around the onset that is of the whole run, and densities of fewer than `FEWEST` particles: clouds show each of these.
    """
    particles = [
        len(process.first) for process in run.processes.values() if process.first is not None
    ]
    densities = ["measure", "measure_plane"] if 0 < max(particles, default=0) < FEWEST else []
    return [*(["onset"] if is_whole_run(run) else []), *densities]


def _of_processes(
    record: RunRecord | StudyRecord, processes: str | Iterable[str]
) -> RunRecord | StudyRecord:
    if isinstance(record, RunRecord):
        names = _names("processes", processes, record.processes)
        kept = {name: process for name, process in record.processes.items() if name in names}
        return replace(record, processes=kept, all_names=tuple(record.processes))
    names = _names("processes", processes, dict.fromkeys(pair.process for pair in record.pairs))
    rows = [p for p, pair in enumerate(record.pairs) if pair.process in names]
    return replace(
        record,
        pairs=tuple(record.pairs[p] for p in rows),
        all_pairs=record.pairs,
        distances={key: values[rows] for key, values in record.distances.items()},
        floors={key: values[rows] for key, values in record.floors.items()},
        slopes={key: values[rows] for key, values in record.slopes.items()},
    )


def _names(argument: str, names: str | Iterable[str], known: Iterable[str]) -> list[str]:
    known = list(known)
    if not isinstance(names, str | Iterable):
        raise refusal(argument, "a name or several", names)
    chosen = [names] if isinstance(names, str) else list(names)
    if not chosen:
        raise refusal(argument, f"one or more of {', '.join(map(repr, known))}", names)
    return [choice(argument, name, known) for name in chosen]
