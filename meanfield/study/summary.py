"""The numbers a run ends with, one row per process, for people and for machines."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from meanfield.study.layout import RunRecord

# key of the summary: how people call it
QUANTITIES = {
    "time": "steps",
    "train_loss": "risk",
    "predicted_loss": "predicted risk",
    "eta_sharpness": "η·sharpness",
    "sigma_trace": "tr Σ",
    "center_distance": "center distance to GD",
    "w2": "W2 to GD",
    "balance_residual": "energy balance residual",
    "wall_time": "seconds",
}


def summarize(run: RunRecord) -> list[dict[str, Any]]:
    """Name, status, message and the last finite value of every quantity, None without one."""
    learning_rate = float(run.attributes["learning_rate"])
    rows = []
    for name, process in run.processes.items():
        last = {key: _last(values) for key, values in process.observables.items()}
        sharpness = last["sharpness"]
        last["eta_sharpness"] = None if sharpness is None else learning_rate * sharpness
        last |= {key: _last(values) for key, values in run.comparison.get(name, {}).items()}
        last["balance_residual"] = _balance_residual(process.observables)
        about = {"process": name, "status": process.status, "message": process.message}
        rows.append(about | {key: last.get(key) for key in QUANTITIES})
    return rows


def summary_table(rows: list[dict[str, Any]]) -> Table:
    """The summary as a table for the terminal, one column per process."""
    table = Table("")
    for row in rows:
        table.add_column(row["process"], justify="right", overflow="fold")
    table.add_row("status", *(row["status"] for row in rows))
    for key, title in QUANTITIES.items():
        table.add_row(title, *(_number(row[key]) for row in rows))
    return table


def _last(values: NDArray[np.float64]) -> float | None:
    if values.ndim != 1:
        return None
    measured = values[np.isfinite(values)]
    return float(measured[-1]) if len(measured) else None


def _balance_residual(observables: dict[str, NDArray[np.float64]]) -> float | None:
    """Largest |F(t) − F(0) − ∫ (dF/dt) dt|: how far the scheme in time is from the flow; None for maps."""
    energy, dissipated = observables["free_energy"], observables["dissipated"]
    if not len(energy) or not np.isfinite(dissipated[0]):
        return None
    return float(np.nanmax(np.abs(energy - energy[0] - dissipated)))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
