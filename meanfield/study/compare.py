"""How close the processes of a run stay to gradient descent, in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.study.layout import ProcessRecord, RunRecord
from meanfield.study.summary import summary_cell

Series = NDArray[np.float64]

VISIBLE, LEAST_RISE = 0.01, 10.0  # see `onset_level`
WINDOW = 20  # steps over which losses are averaged before they are compared

# key of a row: how people call it
METRICS = {
    "status": "status",
    "max_distance": "largest center distance to GD",
    "max_distance_time": "  at step",
    "final_distance": "final center distance to GD",
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


def compare(run: RunRecord) -> list[dict[str, Any]]:
    """One row per process, gradient descent first; None is what was not measured, or never happened.

    Distances are those of ``/comparison``, at the times of the snapshots. Errors against gradient descent run over the
    times at which both were measured, root mean square over time: of the sharpness at the center; of tr Σ/η; of the
    predicted loss, both averaged over `WINDOW` consecutive steps, relative to gradient descent's (which must not change sign).
    Evaluations per step are those after time 0. For the onset of the oscillation see `onset_level` and `onset`.

    Raises
    ------
    ValueError
        There is no gradient descent in the run, or nothing else.
    """
    names = [name for name, process in run.processes.items() if process.flow == "gradient_descent"]
    if not names:
        raise ValueError(
            f"{run.path}: no process is gradient descent, which others are compared with"
        )
    if len(run.processes) == 1:
        raise ValueError(f"{run.path}: {names[0]} is the only process, there is nothing to compare")
    reference = run.processes[names[0]]
    learning_rate = float(run.attributes["learning_rate"])
    level = onset_level(reference.observables["sigma_trace"])
    rows: list[dict[str, Any]] = []
    for name in (names[0], *(name for name in run.processes if name != names[0])):
        process = run.processes[name]
        row: dict[str, Any] = {"process": name} | dict.fromkeys(METRICS)
        row["status"] = process.status
        row |= _own(process, level)
        if name != names[0]:
            row |= _distances(run, name)
            with np.errstate(over="ignore", invalid="ignore"):  # the last steps of a divergence
                row |= _errors(reference, process, learning_rate)
            if row["onset"] is not None and rows[0]["onset"] is not None:
                row["onset_delay"] = row["onset"] - rows[0]["onset"]
        rows.append({key: _if_finite(value) for key, value in row.items()})
    return rows


def onset_level(trace: Series) -> float | None:
    """The tr Σ (t,) from which on gradient descent counts as oscillating; None if there is no onset to see.

    Of its largest rise, max_{s<t} log(tr Σ(t)/tr Σ(s)), the lower end is what its drift contributes, as u_k = ±(η/2)∇E(x_k), and
    the upper end is the oscillation. The level is their geometric mean, but at least `VISIBLE` of the upper end. A rise of less
    than `LEAST_RISE`-fold is none.
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
    """When the oscillation sets in: the first time tr Σ reaches the level after having been below it; None if never.

    All processes of a run are measured by the level of gradient descent.
    """
    if level is None:
        return None
    below = np.flatnonzero(trace < level)
    if not len(below):
        return None
    risen = np.flatnonzero(trace[below[0] :] >= level)
    return float(times[below[0] + risen[0]]) if len(risen) else None


def comparison_cell(key: str, value: Any) -> str:
    """A metric in a table; no onset is "never"."""
    return "never" if key == "onset" and value is None else summary_cell(key, value)


def _own(process: ProcessRecord, level: float | None) -> dict[str, float | None]:
    """What needs no other process but the level of gradient descent's oscillation."""
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


def _distances(run: RunRecord, name: str) -> dict[str, float | None]:
    if name not in run.comparison:  # as in a run that was interrupted before it
        return {}
    distance = run.comparison[name]["center_distance"]
    measured = np.flatnonzero(np.isfinite(distance))
    if not len(measured):
        return {}
    largest = measured[np.argmax(distance[measured])]
    return {
        "max_distance": float(distance[largest]),
        "max_distance_time": float(run.comparison_times[largest]),
        "final_distance": float(distance[measured[-1]]),
    }


def _errors(
    reference: ProcessRecord, process: ProcessRecord, learning_rate: float
) -> dict[str, float | None]:
    sharpness_error = _rms(np.subtract(*_common(process, reference, "sharpness")))
    trace_error = _rms(np.subtract(*_common(process, reference, "sigma_trace")))
    predicted, measured = map(_smoothed, _common(process, reference, "predicted_loss"))
    error = _relative(predicted, measured)
    return {
        "sharpness_error": sharpness_error,
        "relative_sharpness_error": _over(sharpness_error, 2 / learning_rate),
        "oscillation_error": _over(trace_error, learning_rate),
        "loss_error": _rms(error),
        "max_loss_error": float(np.max(np.abs(error))) if len(error) else None,
    }


def _common(one: ProcessRecord, two: ProcessRecord, key: str) -> tuple[Series, Series]:
    """An observable of two processes at the times at which both have it."""
    _, rows, others = np.intersect1d(
        one.observables["time"], two.observables["time"], assume_unique=True, return_indices=True
    )
    first, second = one.observables[key][rows], two.observables[key][others]
    measured = np.isfinite(first) & np.isfinite(second)
    return first[measured], second[measured]


def _relative(values: Series, references: Series) -> Series:
    """Errors over the size of the references; none where that is zero, none at all if they take both signs."""
    if len(references) and np.min(references) < 0 < np.max(references):
        return np.empty(0)
    there = references != 0
    return (values[there] - references[there]) / np.abs(references[there])


def _smoothed(values: Series) -> Series:
    """Means over `WINDOW` consecutive values; none if there are fewer."""
    if len(values) < WINDOW:
        return np.empty(0)
    return np.convolve(values, np.full(WINDOW, 1 / WINDOW), "valid")


def _rms(values: Series) -> float | None:
    """Root of the mean square, safe from overflow of the squares; None of nothing."""
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
