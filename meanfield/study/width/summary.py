"""The final values of a width study."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from rich.table import Table

from meanfield.study.storage.study_record import METRICS, StudyRecord
from meanfield.study.width.statistics import medians


def summarize_study(study: StudyRecord) -> dict[str, Any]:
    """All values at the last time: medians over seeds, floors, slopes; None where missing."""
    about = {key: study.attributes[key] for key in ("start", "reference_width")}
    pairs = [
        {"process": pair.process, "reference": pair.reference, "metrics": _metrics(study, i)}
        for i, pair in enumerate(study.pairs)
    ]
    return {
        "file": str(study.path),
        **about,
        "inputs": study.attributes["held_out"],
        "slope_ends": study.slope_ends,
        "widths": study.widths.tolist(),
        "seeds": len(study.seeds),
        "time": float(study.times[-1]),
        "pairs": pairs,
        "warnings": list(study.warnings),
    }


def _metrics(study: StudyRecord, pair: int) -> dict[str, dict[str, Any]]:
    found = {}
    for name in METRICS:
        values = _numbers(medians(study.distances[name][pair, :, :, -1]))
        if all(value is None for value in values):
            continue
        slope, *interval = _numbers(study.slopes[name][pair, -1])
        found[name] = {"median": values, "slope": slope, "interval": interval}
        if name in study.floors:
            found[name]["floor"] = _numbers(study.floors[name][pair, :, -1])
    return found


def study_tables(study: StudyRecord) -> Iterator[tuple[str, Table]]:
    """A title and a table for each pair of processes: metrics, floors by width, and slopes."""
    summary = summarize_study(study)
    for pair, about in zip(study.pairs, summary["pairs"], strict=True):
        title = f"{pair.label}, at {summary['time']:g}: median over {summary['seeds']} seeds"
        table = Table("")
        for width in summary["widths"]:
            table.add_column(f"N = {width}", justify="right")
        table.add_column("slope", justify="right")
        table.add_column(study.slope_ends, justify="right")
        for name, found in about["metrics"].items():
            interval = " to ".join(_cell(end, ".2f") for end in found["interval"])
            medians_ = [_cell(value) for value in found["median"]]
            table.add_row(name, *medians_, _cell(found["slope"], ".3f"), interval)
            if "floor" in found:
                table.add_row("  sampling floor", *map(_cell, found["floor"]), "", "", style="dim")
        yield title, table


def _numbers(values: Any) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]


def _cell(value: float | None, digits: str = ".4g") -> str:
    return "–" if value is None else format(value, digits)
