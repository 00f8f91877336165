"""The table of errors against gradient descent: of one start, and of several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from _common import GD, PERTURBED, Array, Run, distances

from meanfield.study.analysis import comparison as compare

HEADER = (
    "process", "RMS distance", "at the end", "peak ηS", "at step", "onset delay",
    "loss error", "seconds", "status",
)  # fmt: skip
DISTANCES = (
    "RMS distance, at the end: of the center to gradient descent's, over time and at the last step. Peak ηS: η times the largest "
    "sharpness at the center."
)
ONSET = (
    "Onset delay: how many steps later than gradient descent's the oscillation sets in: where tr Σ first reaches a level, of "
    f"gradient descent's tr Σ {compare.ONSET_LEVEL}."
)
LOSS = "Loss error: RMS over time of the predicted loss minus gradient descent's, over the RMS of the latter."
WITHIN = "†: at or below gradient descent's distance to itself from one rounding away, x₀(1 ± ε): there is no ranking below that."
LEGEND = f"{DISTANCES} {ONSET} {LOSS} {WITHIN}"

Row = dict[str, Any]  #: by `HEADER`; NaN is what is not known, or never happened


def onset(run: Run, reference: Run) -> float:
    """When the oscillation sets in, to the step, by `meanfield.study.analysis.comparison.onset`; NaN if never."""
    found = compare.onset(run.steps, run.trace, compare.onset_level(reference.trace))
    return math.nan if found is None else found


def errors(objective: Any, runs: dict[str, Run], eta: float) -> list[Row]:
    """Of every process against gradient descent."""
    reference = runs[GD]
    rows = []
    for name, run in runs.items():
        gap = distances(objective, run, reference)
        n = len(gap)
        error = run.predicted[:n] - reference.predicted[:n]
        end = gap[-1] if n == len(reference.times) else math.nan
        delay = onset(run, reference) - onset(reference, reference)
        loss = _rms(error) / _rms(reference.predicted[:n])
        row = (name, _rms(gap), end, *_peak(run, eta), delay, loss, run.seconds, run.status)
        rows.append(dict(zip(HEADER, row, strict=True)))
    return rows


def average(starts: Sequence[Sequence[Row]]) -> list[Row]:
    """Means over several starts; NaN where one is."""
    rows = []
    for same in zip(*starts, strict=True):
        mean: Row = {key: float(np.mean([row[key] for row in same])) for key in HEADER[1:-1]}
        statuses = dict.fromkeys(row["status"] for row in same)
        rows.append({"process": same[0]["process"], **mean, "status": "; ".join(statuses)})
    return rows


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """Rows as text, with a mark at distances within gradient descent's own."""
    spread = next((row for row in rows if row["process"] == PERTURBED), None)
    return [[_cell(key, row, spread) for key in HEADER] for row in rows]


def error_table(objective: Any, runs: dict[str, Run], eta: float) -> list[list[str]]:
    """Errors of every process against gradient descent, by `HEADER`."""
    return cells(errors(objective, runs, eta))


def start_by_start(starts: Sequence[Sequence[Row]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: RMS distance and, in brackets, onset delay of every process at each start."""
    header = ["process", *(f"start {i}" for i in range(len(starts)))]
    table = [[row["process"]] for row in starts[0]]
    for rows in starts:
        for line, row in zip(table, cells(rows), strict=True):
            found = dict(zip(HEADER, row, strict=True))
            line.append(f"{found['RMS distance']} ({found['onset delay']})")
    return header, table


def summary(starts: Sequence[Sequence[Row]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of one table of several starts: `start_by_start`, and means of the most important columns."""
    header, table = start_by_start(starts)
    shown = ("RMS distance", "peak ηS", "loss error")
    for line, row in zip(table, cells(average(starts)), strict=True):
        found = dict(zip(HEADER, row, strict=True))
        line += [found[key] for key in shown]
    return [*header, "mean", *shown[1:]], table


def extended(
    rows: Sequence[Sequence[str]], extra: dict[str, Sequence[str]], without: Sequence[str] = ()
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of an `error_table` with further columns, before the seconds, and without some of its own."""
    kept = [i for i, name in enumerate(HEADER) if name not in without]
    table = [
        [*(row[i] for i in kept[:-2]), *more, *(row[i] for i in kept[-2:])]
        for row, *more in zip([HEADER, *rows], *([k, *v] for k, v in extra.items()), strict=True)
    ]
    return table[0], table[1:]


def _cell(key: str, row: Row, spread: Row | None) -> str:
    value = row[key]
    if isinstance(value, str):
        return value
    if math.isnan(value):
        return "–"
    if key in ("RMS distance", "at the end"):
        is_model = row["process"] not in (GD, PERTURBED) and row["status"] == "complete"
        within = is_model and spread is not None and compare.is_within(value, spread[key])
        return f"{value:.3g}{' †' if within else ''}"
    if key == "loss error":
        return f"{100 * value:.0f} %" if value >= 0.1 else f"{100 * value:.2g} %"
    return format(
        value, {"peak ηS": ".4g", "onset delay": "+.0f", "seconds": ".1f"}.get(key, ".0f")
    )


def _peak(run: Run, eta: float) -> tuple[float, float]:
    """The largest ηS, and when; NaN where it was not measured."""
    if np.isnan(run.sharpness).all():
        return math.nan, math.nan
    peak = int(np.nanargmax(run.sharpness))
    return float(eta * run.sharpness[peak]), float(run.times[peak])


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))
