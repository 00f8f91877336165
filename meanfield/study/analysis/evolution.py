"""A run of a measure as what `solvers.evolve` returns, its numbers and its warnings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meanfield.study.storage.measure_schema import PROCESS
from meanfield.study.storage.schema import ProcessRecord, RunRecord
from solvers.jko.evolution import Evolution

if TYPE_CHECKING:
    from meanfield.study.analysis.process_views import Process

#: By how much an energy inequality may be exceeded, relative to the energy, and which part of the fall of the energy the balance
#: may leave open.
ROUNDING, OPEN = 1e-10, 0.1

QUANTITIES = {
    "status": "status",
    "time": "time t",
    "steps": "steps",
    "rejected": "steps taken again, shorter",
    "energy": "energy E",
    "balance": "E(0) − E(t) less Σ W2²/ητ",
    "excess": "largest excess of an energy inequality",
    "residual": "largest residual",
    "iterations": "inner iterations",
    "wall_time": "seconds",
}


def evolution_of(process: Process, learning_rate: float, most: int | None = None) -> Evolution:
    """The evolution that a process is, with all of its measures, or at most so many, evenly chosen."""
    data = process.observables
    times = process.snapshots.times
    rows = np.arange(len(times))
    if most is not None and len(rows) > most:
        rows = np.unique(np.linspace(0, len(rows) - 1, most).round().astype(np.intp))
    measures = tuple(process.snapshots[int(row)].measure for row in rows)
    saved = np.searchsorted(data["time"], times[rows])
    return Evolution(
        times=data["time"],
        energies=data["energy"],
        measures=measures,  # type: ignore[arg-type]
        saved=saved.astype(np.intp),
        step_sizes=data["step_size"][1:],
        transport_costs=data["transport_cost"][1:],
        excesses=data["excess"][1:],
        residuals=data["residual"][1:],
        iterations=data["iterations"][1:].astype(np.intp),
        errors=data["error"][1:],
        rejected=int(data["rejected"][-1]) if len(data["rejected"]) else 0,
        learning_rate=learning_rate,
        status=process.status,
        message=process.message,
    )


def summary_of(process: ProcessRecord) -> dict[str, Any]:
    """Its last or largest numbers by the keys of `QUANTITIES`; None for what it has none of."""
    data = process.observables
    last: dict[str, Any] = {
        key: _last(data[key]) for key in ("time", "energy", "balance", "rejected", "wall_time")
    }
    last |= {key: _largest(data[key]) for key in ("excess", "residual")}
    last["steps"] = max(len(data["time"]) - 1, 0)
    last["iterations"] = int(np.nansum(data["iterations"]))
    return last | {"status": process.status}


def evolution_warnings(run: RunRecord) -> Iterator[str]:
    """What is to be known of the numbers, without the end of a run that failed."""
    data = run.processes[PROCESS].observables
    if len(data["energy"]) < 2:
        return
    scale = max(1.0, float(np.max(np.abs(data["energy"]))))
    largest = float(np.nanmax(data["excess"]))
    if largest > ROUNDING * scale:
        yield f"an energy inequality is exceeded by {largest:.2g}"
    fall, still_open = data["energy"][0] - data["energy"][-1], abs(data["balance"][-1])
    if fall > ROUNDING * scale and still_open > OPEN * fall:
        yield (
            f"of the energy that was lost, {still_open / fall:.0%} is not what the transport has dissipated: a smaller "
            "measure.step_size or tolerance, or order = 2, is closer"
        )


def _last(values: NDArray[np.float64]) -> float | None:
    measured = values[np.isfinite(values)]
    return float(measured[-1]) if len(measured) else None


def _largest(values: NDArray[np.float64]) -> float | None:
    measured = values[np.isfinite(values)]
    return float(measured.max()) if len(measured) else None
