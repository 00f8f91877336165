"""The final values of a run, one row per process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from meanfield.study.analysis import evolution
from meanfield.study.analysis.energy_balance import balance
from meanfield.study.analysis.words import has_own_optimizer, titles_for
from meanfield.study.storage.schema import RunRecord

COLUMN_WIDTH = 16

# key of the summary: its title
QUANTITIES = {
    "status": "status",
    "time": "steps",
    "train_loss": "risk",
    "predicted_loss": "predicted risk",
    "eta_sharpness": "η·sharpness",
    "sigma_trace": "tr Σ",
    "center_distance": "center distance to GD",
    "rounding_spread": "GD to itself, one rounding away",
    "w2": "W2 to GD",
    "balance_residual": "energy balance residual",
    "wall_time": "seconds",
}


_OF_ITS_OWN = {"effective_sharpness": "sharpness over its threshold"}


def quantities(run: RunRecord) -> dict[str, str]:
    """`QUANTITIES`, in the words of the process that the others are compared with, with its own threshold's; a measure's."""
    if run.is_of_measure:
        return evolution.QUANTITIES
    own = _OF_ITS_OWN if has_own_optimizer(run) else {}
    return titles_for(run, QUANTITIES | own)


def summarize(run: RunRecord) -> list[dict[str, Any]]:
    """Name, status, message and the last finite value of every quantity, or None."""
    if run.is_of_measure:
        return [
            {"process": name} | evolution.summary_of(process) | {"message": process.message}
            for name, process in run.processes.items()
        ]
    rates = run.learning_rates
    rows: list[dict[str, Any]] = []
    for name, process in run.processes.items():
        last = {key: _last(values) for key, values in process.observables.items()}
        scaled = rates.at(process.observables["time"]) * process.observables["sharpness"]
        last["eta_sharpness"] = _last(scaled)
        last |= {key: _last(values) for key, values in run.comparison.get(name, {}).items()}
        if run.perturbed is not None and run.is_optimizer(name):
            last["rounding_spread"] = _last(run.perturbed.observables["center_distance"])
        last["balance_residual"] = _balance_residual(process.observables)
        about = {"status": process.status, "message": process.message}
        rows.append({"process": name} | {key: last.get(key) for key in quantities(run)} | about)
    return rows


def spectrum_warnings(run: RunRecord) -> list[str]:
    """Warnings about eigenvalues of the Hessian that did not converge, with the number of times; of a measure about its steps."""
    if run.is_of_measure:
        return list(evolution.evolution_warnings(run))
    found = []
    for name, process in run.processes.items():
        measured = np.isfinite(process.observables["grad_norm_sq"])
        missing = np.isnan(process.observables["hessian_eigs"]).any(axis=1)
        failed = int(np.sum(measured & missing))
        if failed:
            found.append(
                f"{name}: at {failed} of {int(measured.sum())} times not all eigenvalues of the Hessian converged; these are NaN"
            )
    return found


def summary_cell(key: str, value: Any) -> str:
    """A quantity formatted for a table: integers in full, others to four significant digits, a dash for None."""
    if value is None or isinstance(value, str):
        return value or "–"
    return f"{value:.0f}" if abs(value) < 1e9 and float(value).is_integer() else f"{value:.4g}"


def tables(
    rows: list[dict[str, Any]],
    titles: Mapping[str, str],
    cell: Callable[[str, Any], str] = summary_cell,
    width: int | None = None,
) -> Iterator[Table]:
    """Rows as tables for the terminal, one column per process, as many side by side as the width (in characters) allows."""
    first = max(map(len, titles.values())) + 4
    columns = len(rows) if width is None else max(1, (width - first) // COLUMN_WIDTH)
    for start in range(0, len(rows), columns):
        block = rows[start : start + columns]
        table = Table("")
        for row in block:
            table.add_column(row["process"], justify="right", overflow="fold")
        for key, title in titles.items():
            table.add_row(title, *(cell(key, row[key]) for row in block))
        yield table


def _last(values: NDArray[np.float64]) -> float | None:
    if values.ndim != 1:
        return None
    measured = values[np.isfinite(values)]
    return float(measured[-1]) if len(measured) else None


def _balance_residual(observables: dict[str, NDArray[np.float64]]) -> float | None:
    """Largest |F(t) − F(0) − ∫ (dF/dt) dt|, the error of the time integration; None for maps."""
    found = balance(observables)
    return None if found is None or found.residual is None else _finite(found.residual)


def _finite(value: float) -> float | None:
    """The value, or None if it is not finite, as JSON has no infinity."""
    return value if np.isfinite(value) else None
