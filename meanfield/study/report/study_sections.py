"""The report of a width study."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.study.figures.particles import evenly
from meanfield.study.report import about
from meanfield.study.report.document import Report
from meanfield.study.report.figures import Illustrations
from meanfield.study.report.markup import (
    Html,
    Row,
    bullets,
    element,
    facts,
    html,
    paragraph,
    spoken,
    table,
)
from meanfield.study.report.page import Page, Section, lead, warning_section
from meanfield.study.report.source import settings, without_folders
from meanfield.study.storage.study_record import LEAST_FOR_INTERVAL, METRICS, Pair, StudyRecord

KEY = "function_distance"
MOST_TIMES = 12  # most times shown in a table


def report(study: StudyRecord) -> Report:
    """The report of a width study."""
    warnings = list(map(without_folders, study.warnings))
    figures = Illustrations.of_study(study)
    status = "complete" if np.all(study.statuses == "complete") else "incomplete"
    sections = [
        Section("What was run", [facts(_facts(study))]),
        warning_section(warnings),
        Section("Slopes", [*_slopes(study)]),
        *figures.sections(),
        Section("Distances", [*_distances(study)]),
        Section("Slopes over time", [*_slopes_along_time(study)]),
        Section("Runs", [_statuses(study)]),
        about.making(study.attributes, study.config, "meanfield width config.toml"),
    ]
    title = f"Width study: {spoken(about.problem_name(study.config, study.attributes))}, η = {_rate(study)}"
    page = Page(title, lead(status, len(warnings), *_verdict(study)), sections)
    return Report(study.path, "study", status, page.render(), tuple(warnings), figures.names)


def _rate(study: StudyRecord) -> str:
    rate = study.attributes.get("learning_rate")
    return about.UNKNOWN if rate is None else f"{float(rate):g}"


def _verdict(study: StudyRecord) -> Iterator[Html]:
    """The slopes of the function distance, for which theory makes the strongest predictions."""
    found = [
        html(_label(pair), ": ", _power(slope[0]), _ends_text(study, slope))
        for pair, slope in zip(study.pairs, _last(study, KEY), strict=True)
        if np.isfinite(slope[0])
    ]
    if found:
        yield paragraph(f"At step {study.times[-1]:g} the distance of functions is like")
        yield bullets(found)


def _last(study: StudyRecord, key: str) -> NDArray[Any]:
    """Slopes at the last time (p, 3); NaN where missing."""
    if key not in study.slopes or not len(study.times):
        return np.full((len(study.pairs), 3), np.nan)
    return study.slopes[key][:, -1]


def _power(slope: float) -> Html:
    return html("N", element("sup", f"{slope:.2f}"))


def _ends_text(study: StudyRecord, slope: NDArray[Any]) -> str:
    _, low, high = slope
    if not np.isfinite([low, high]).all():
        return ", without an interval"
    few = ", too few for an interval" if len(study.seeds) < LEAST_FOR_INTERVAL else ""
    return f", {study.slope_ends} of the exponent {low:.2f} to {high:.2f}{few}"


def _ends_about(study: StudyRecord) -> str:
    if len(study.seeds) == 1:
        return "without an interval, as there is a single seed"
    if len(study.seeds) < LEAST_FOR_INTERVAL:
        return "beside it the smallest and the largest of single seeds, as there are too few for an interval"
    return "its 95% interval a bootstrap over seeds"


def _label(pair: Pair) -> str:
    return pair.label[:1].upper() + pair.label[1:]


def _facts(study: StudyRecord) -> about.Facts:
    yield "File", study.path.name
    yield from about.problem_facts(study.config, study.attributes, without=("width",))
    yield "Learning rate η", _rate(study)
    yield "Steps of gradient descent", str(settings(study.config).get("steps", about.UNKNOWN))
    yield "Widths N", _listed(study.widths)
    yield "Width of the reference", str(study.attributes.get("reference_width", about.UNKNOWN))
    yield "Seeds", _listed(study.seeds)
    yield "Starts", str(study.attributes.get("start", about.UNKNOWN))
    yield "Inputs of the function distance", str(study.attributes.get("held_out", about.UNKNOWN))
    complete = np.count_nonzero(study.statuses == "complete")
    yield "Runs", f"{complete} of {study.statuses.size} complete"
    yield from list(about.machine_facts(study.attributes))[:2]


def _listed(values: NDArray[Any]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _slopes(study: StudyRecord) -> Iterator[Html]:
    yield paragraph(
        f"The slope is d log distance / d log N of a straight line through the medians over seeds, "
        f"{_ends_about(study)}. Where the flow is smooth, theory has −½ for functions and for labelled particles; W2 between "
        "independent samples is mostly sampling, with −1/D for particles of D > 4 parameters."
    )
    if len(study.times):
        rows = [Row(key, list(map(_slope, _last(study, key)))) for key in study.slopes]
        ends = f", each with its {study.slope_ends}" if study.slope_ends else ""
        caption = f"Slopes at step {study.times[-1]:g}{ends}"
        yield table(caption, list(map(_label, study.pairs)), rows, "distance")


def _slopes_along_time(study: StudyRecord) -> Iterator[Html]:
    for p, pair in enumerate(study.pairs):
        rows = [
            Row(f"{study.times[t]:g}", [_slope(slopes[p, t]) for slopes in study.slopes.values()])
            for t in evenly(len(study.times), MOST_TIMES)
        ]
        yield table(_label(pair), list(study.slopes), rows, "step")


def _slope(slope: NDArray[Any]) -> str:
    value, low, high = slope
    if not np.isfinite(value):
        return "–"
    interval = f" [{low:.2f}, {high:.2f}]" if np.isfinite([low, high]).all() else ""
    return f"{value:.2f}{interval}"


def _distances(study: StudyRecord) -> Iterator[Html]:
    yield facts((key, METRICS[key][0]) for key in study.distances)
    yield paragraph(
        "Medians over seeds, below them the range. The floor is the distance of two independent samples of the "
        "reference, of N particles each: a distance near its floor is sampling, not dynamics.",
        class_="note",
    )
    for p, pair in enumerate(study.pairs):
        if len(study.times):
            rows = [row for key in study.distances for row in _distance_rows(study, key, p)]
            caption = f"Distances at step {study.times[-1]:g}: {pair.label}"
            yield table(caption, [f"N = {n}" for n in study.widths], rows, "distance")


def _distance_rows(study: StudyRecord, key: str, pair: int) -> Iterator[Row]:
    values = study.distances[key][pair, :, :, -1]  # (w, s)
    measured = [seeds[np.isfinite(seeds)] for seeds in values]
    if not any(map(len, measured)):
        return
    yield Row(key, [_cell(np.median(seeds)) if len(seeds) else "–" for seeds in measured])
    if len(study.seeds) > 1:
        spans = [f"{_cell(s.min())} to {_cell(s.max())}" if len(s) else "–" for s in measured]
        yield Row("least to largest", spans, indented=True)
    if key in study.floors:
        yield Row("floor", [_cell(f) for f in study.floors[key][pair, :, -1]], indented=True)


def _cell(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "–"


def _statuses(study: StudyRecord) -> Html:
    rows = [
        Row(f"N = {width}", list(map(str, statuses)))
        for width, statuses in zip(study.widths, study.statuses, strict=True)
    ]
    return table("How every run ended", [f"seed {s}" for s in study.seeds], rows, "width")
