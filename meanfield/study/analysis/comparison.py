"""Quantitative comparison of the processes of a run with gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.study.analysis.summary import summary_cell, tables
from meanfield.study.analysis.words import AWAY, has_own_optimizer, perturbed_title, titles_for
from meanfield.study.storage.schema import ProcessRecord, RunRecord
from solvers.learning_rates import Schedule

Series = NDArray[np.float64]

VISIBLE, LEAST_RISE = 0.01, 10.0  # see `onset_level`
WINDOW = 20  # steps over which losses are averaged before they are compared
# what captions and tables say of `onset_level`
ONSET_LEVEL = f"the geometric mean of the two ends of its largest rise (or {VISIBLE:.0%} of the upper one, if more)"
PERTURBED_TITLE = f"gradient descent{AWAY}"
WITHIN = "within gradient descent's own"

# key of a row: how people call it
METRICS = {
    "status": "status",
    "max_distance": "largest center distance to GD",
    "max_distance_time": "  at step",
    "max_distance_within": f"  {WITHIN}",
    "final_distance": "final center distance to GD",
    "final_distance_within": f"  {WITHIN}",
    "sharpness_error": "error of sharpness (RMS)",
    "relative_sharpness_error": "  over 2/η",
    "oscillation_error": "error of tr Σ/η (RMS)",
    "onset": "onset of the oscillation, step",
    "onset_delay": "  later than GD by",
    "peak_sharpness": "peak of the sharpness",
    "peak_sharpness_time": "  at step",
    "loss_error": "relative error of predicted loss (RMS)",
    "max_loss_error": "  largest",
    "gradients_per_step": "gradients per step",
    "hvps_per_step": "Hessian products per step",
    "thirds_per_step": "third derivatives per step",
    "solver_seconds": "seconds",
    "wall_seconds": "  with measurements",
}
# that are told from gradient descent's own: when they are taken
DISTANCES = {"max_distance": "all the way", "final_distance": "at the end"}


_OVER_ITS_OWN = {"relative_sharpness_error": "  over its threshold"}


def metrics(run: RunRecord) -> dict[str, str]:
    """`METRICS`, in the words of the process that the others are compared with."""
    own = _OVER_ITS_OWN if has_own_optimizer(run) else {}
    return titles_for(run, METRICS | own)


class Comparison(list[dict[str, Any]]):
    """The rows of `compare`, shown as the table that ``meanfield compare`` prints."""

    titles: Mapping[str, str] = METRICS

    def __repr__(self) -> str:
        from rich.console import Console

        text = StringIO()
        console = Console(file=text, width=1000, markup=False, emoji=False)
        console.print(*tables(list(self), self.titles, comparison_cell))
        return text.getvalue().rstrip()

    def to_dataframe(self) -> Any:
        """A pandas DataFrame, one row per process (extra ``xarray``)."""
        import pandas as pd

        return pd.DataFrame(self).set_index("process")


def compare(run: RunRecord) -> Comparison:
    """One row per process, the one that is compared with first; None for quantities not measured and events that did not occur.

    That is gradient descent, unless the configuration names another `optimizer`; what follows holds for either.

    The second row, named `PERTURBED_TITLE`, is gradient descent from a start perturbed by one rounding, x₀(1 ± ε), if it was
    run: its rounding spread. A model whose distance is at most that, over the same times, is ``…_within`` it: closer cannot be
    distinguished. The spread is that of one draw of the rounding errors; for others it may be a few times smaller or larger.

    Distances are those of ``/comparison``, at the times of the snapshots. Errors relative to gradient descent are over the
    times at which both were measured, root mean square over time: of the sharpness at the center; of tr Σ/η; of the
    predicted loss, both averaged over `WINDOW` consecutive steps, relative to gradient descent's (which must not change sign).
    Evaluations per step exclude those at time 0. For the onset of the oscillation see `onset_level` and `onset`.

    Raises
    ------
    ValueError
        The run has no gradient descent, or no other process.
    """
    if run.is_of_measure:
        raise ValueError(
            f"{run.path} must have a process of gradient descent to compare with, got a measure; "
            "`meanfield distance` compares two"
        )
    name_of_first = run.reference
    if name_of_first is None:
        raise ValueError(
            f"{run.path} must have a process of gradient descent to compare with, got {', '.join(run.processes)}"
        )
    if len(run.processes) == 1:
        raise ValueError(
            f"{run.path} must have two processes or more to compare, got {name_of_first} only"
        )
    reference = run.processes[name_of_first]
    level = onset_level(reference.observables["sigma_trace"])
    first = _row(name_of_first, reference, level)
    rows = [first]
    if run.perturbed is not None:
        times, distances = (run.perturbed.observables[key] for key in ("time", "center_distance"))
        row = _against(run, perturbed_title(run), run.perturbed, first, level)
        rows.append(row | _distances(times, distances))
    for name, process in run.processes.items():
        if name != name_of_first:
            row = _against(run, name, process, first, level)
            if name in run.comparison:  # missing if the run was interrupted before
                distances = run.comparison[name]["center_distance"]
                row |= _distances(run.comparison_times, distances)
                row |= _within(distances, rounding_spread(run))
            rows.append(row)
    found = Comparison({key: _if_finite(value) for key, value in row.items()} for row in rows)
    found.titles = metrics(run)
    return found


def rounding_spread(run: RunRecord) -> Series | None:
    """Distance between the centers of gradient descent and its perturbed run, at `comparison_times`; None where it was not run.

    NaN where unknown, infinite where only one of the two had diverged.
    """
    if run.perturbed is None:
        return None
    data = run.perturbed.observables
    spread = np.full(
        len(run.comparison_times), np.inf if run.perturbed.status == "diverged" else np.nan
    )
    _, rows, others = np.intersect1d(
        run.comparison_times, data["time"], assume_unique=True, return_indices=True
    )
    spread[rows] = data["center_distance"][others]
    return spread


def _within(distance: Series, spread: Series | None) -> dict[str, bool]:
    """Whether a distance is at most the spread: their maxima, and their last values, over their common times."""
    if spread is None:
        return {}
    both = np.isfinite(distance) & ~np.isnan(spread)
    if not both.any():
        return {}
    distance, spread = distance[both], spread[both]
    return {
        "max_distance_within": is_within(np.max(distance), np.max(spread)),
        "final_distance_within": is_within(distance[-1], spread[-1]),
    }


def is_within(distance: float, spread: float) -> bool:
    """Whether a distance to gradient descent is at most the rounding spread, below which a ranking is meaningless."""
    return bool(distance <= spread)


def spread_row(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The row of the perturbed gradient descent in a comparison; None where it was not run."""
    return next((row for row in rows if row["process"].endswith(AWAY)), None)


def spread_notes(rows: list[dict[str, Any]]) -> list[str]:
    """Notes on what the second row of a comparison means for the others; empty without one."""
    spread = spread_row(rows)
    if spread is None or spread["max_distance"] is None:
        return []
    name = spread["process"].removesuffix(AWAY)
    notes = [
        f"{name[:1].upper()}{name[1:]} from one rounding away, x₀(1 ± ε), is at a distance of "
        f"{spread['max_distance']:.3g} at most, {spread['final_distance']:.3g} at the end: smaller distances cannot be ranked."
    ]
    if spread["final_distance"] == 0.0:
        notes[0] += (
            " The two became equal, bit for bit: for other rounding errors it may be larger."
        )
    for key, when in DISTANCES.items():
        within = [row["process"] for row in rows if row[f"{key}_within"]]
        if within:
            notes.append(f"Within it {when}: {', '.join(within)}.")
    return notes


def _row(name: str, process: ProcessRecord, level: float | None) -> dict[str, Any]:
    about = {"process": name} | dict.fromkeys(METRICS) | {"status": process.status}
    return about | _own(process, level)


def _against(
    run: RunRecord, name: str, process: ProcessRecord, first: dict[str, Any], level: float | None
) -> dict[str, Any]:
    """A row with the errors relative to gradient descent, whose row is the first; without distances."""
    row, reference = _row(name, process, level), run.processes[first["process"]]
    with np.errstate(over="ignore", invalid="ignore"):  # the last steps of a divergence
        row |= _errors(reference, process, run.learning_rates)
        if has_own_optimizer(run):
            _, here, there = _common(process, reference, "effective_sharpness")
            row["relative_sharpness_error"] = _rms(here - there)
    if row["onset"] is not None and first["onset"] is not None:
        row["onset_delay"] = row["onset"] - first["onset"]
    return row


def onset_level(trace: Series) -> float | None:
    """The value of tr Σ (t,) above which gradient descent counts as oscillating; None if there is no onset.

    The lower end of its largest rise, max_{s<t} log(tr Σ(t)/tr Σ(s)), is the contribution of the drift, as u_k = ±(η/2)∇E(x_k),
    and the upper end is the oscillation. The level is their geometric mean, but at least `VISIBLE` of the upper end. A rise of
    less than `LEAST_RISE`-fold is no onset.
    """
    trace = trace[np.isfinite(trace)]
    if not len(trace):
        return None
    logs = np.log(np.maximum(trace, np.finfo(np.float64).tiny))
    lows = np.minimum.accumulate(logs)
    end = int(np.argmax(logs - lows))
    if logs[end] - lows[end] < np.log(LEAST_RISE):
        return None
    return float(np.exp(max(0.5 * (lows[end] + logs[end]), logs[end] + np.log(VISIBLE))))


def onset(times: Series, trace: Series, level: float | None) -> float | None:
    """The onset of the oscillation: the first time tr Σ reaches the level after having been below it; None if never.

    The level of gradient descent is used for all processes of a run.
    """
    if level is None:
        return None
    below = np.flatnonzero(trace < level)
    if not len(below):
        return None
    risen = np.flatnonzero(trace[below[0] :] >= level)
    return float(times[below[0] + risen[0]]) if len(risen) else None


def comparison_cell(key: str, value: Any) -> str:
    """A metric formatted for a table; no onset is "never"."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "never" if key == "onset" and value is None else summary_cell(key, value)


def _own(process: ProcessRecord, level: float | None) -> dict[str, float | None]:
    """The metrics that need only the process itself and the onset level."""
    data = process.observables
    times, sharpness = data["time"], data["sharpness"]
    measured = np.flatnonzero(np.isfinite(sharpness))
    peak = measured[np.argmax(sharpness[measured])] if len(measured) else None
    return {
        "onset": onset(times, data["sigma_trace"], level),
        "peak_sharpness": None if peak is None else float(sharpness[peak]),
        "peak_sharpness_time": None if peak is None else float(times[peak]),
        "gradients_per_step": _per_step(data, "gradients"),
        "hvps_per_step": _per_step(data, "hvps"),
        "thirds_per_step": _per_step(data, "thirds"),
        "solver_seconds": _final(data.get("solver_time")),
        "wall_seconds": _final(data.get("wall_time")),
    }


def _distances(times: Series, distance: Series) -> dict[str, float | None]:
    measured = np.flatnonzero(np.isfinite(distance))
    if not len(measured):
        return {}
    largest = measured[np.argmax(distance[measured])]
    return {
        "max_distance": float(distance[largest]),
        "max_distance_time": float(times[largest]),
        "final_distance": float(distance[measured[-1]]),
    }


def _errors(
    reference: ProcessRecord, process: ProcessRecord, rates: Schedule
) -> dict[str, float | None]:
    first = rates.rates[0]
    times, here, there = _common(process, reference, "sharpness")
    sharpness_error, in_units = _rms(here - there), _rms((here - there) * rates.at(times) / first)
    times, here, there = _common(process, reference, "sigma_trace")
    trace_error = _rms((here - there) / (rates.at(times) / first))
    predicted, measured = map(_smoothed, _common(process, reference, "predicted_loss")[1:])
    error = _relative(predicted, measured)
    return {
        "sharpness_error": sharpness_error,
        "relative_sharpness_error": _over(in_units, 2 / first),
        "oscillation_error": _over(trace_error, first),
        "loss_error": _rms(error),
        "max_loss_error": float(np.max(np.abs(error))) if len(error) else None,
    }


def _common(one: ProcessRecord, two: ProcessRecord, key: str) -> tuple[Series, Series, Series]:
    """Times at which two processes have an observable, and its values."""
    times, rows, others = np.intersect1d(
        one.observables["time"], two.observables["time"], assume_unique=True, return_indices=True
    )
    first, second = one.observables[key][rows], two.observables[key][others]
    measured = np.isfinite(first) & np.isfinite(second)
    return times[measured], first[measured], second[measured]


def _relative(values: Series, references: Series) -> Series:
    """Errors relative to the references; omitted where these are zero, empty if they take both signs."""
    if len(references) and np.min(references) < 0 < np.max(references):
        return np.empty(0)
    there = references != 0
    return (values[there] - references[there]) / np.abs(references[there])


def _smoothed(values: Series) -> Series:
    """Means over `WINDOW` consecutive values; empty if there are fewer."""
    if len(values) < WINDOW:
        return np.empty(0)
    return np.convolve(values, np.full(WINDOW, 1 / WINDOW), "valid")


def _rms(values: Series) -> float | None:
    """Root mean square, safe from overflow of the squares; None for an empty array."""
    if not len(values):
        return None
    scale = float(np.max(np.abs(values)))
    return scale * float(np.sqrt(np.mean((values / scale) ** 2))) if scale else 0.0


def _if_finite(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _over(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


def _per_step(data: dict[str, Series], key: str) -> float | None:
    if key not in data or len(data["time"]) < 2:
        return None
    rate = (data[key][-1] - data[key][0]) / (data["time"][-1] - data["time"][0])
    return float(rate) if np.isfinite(rate) else None


def _final(values: Series | None) -> float | None:
    measured = np.empty(0) if values is None else values[np.isfinite(values)]
    return float(measured[-1]) if len(measured) else None
