"""Particles of a run's snapshots, read in bounded parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.study.analysis.process_views import Process, Snapshot
from meanfield.study.analysis.stored_run import StoredRun
from meanfield.study.figures.style import BEYOND, HUGE, Series
from meanfield.study.storage.schema import Floats, ProcessRecord, RunRecord

MOST_SNAPSHOTS = 60
MOST_PARTICLES = 2000
MASS = 0.999  # quantile of a marginal shown on an axis, at each end
BOUND = f"at most {MOST_PARTICLES} particles chosen at random, at most {MOST_SNAPSHOTS} snapshots"

Points = NDArray[np.float64]


@contextmanager
def snapshots_of(run: RunRecord) -> Iterator[dict[str, Process]]:
    """Context with the processes of a run of several particles that have snapshots in its open file."""
    if not run.path.is_file():
        yield {}
        return
    with StoredRun.open(run.path) as result:
        yield {
            name: result[name]
            for name, process in run.processes.items()
            if name in result and process.trajectory is None and len(result[name].snapshots)
        }


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of 0, …, count − 1, evenly spaced, including the first and the last."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, most))})


def chosen_particles(count: int) -> NDArray[np.integer[Any]]:
    """All indices, or the same random `MOST_PARTICLES` of them."""
    if count <= MOST_PARTICLES:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, MOST_PARTICLES, replace=False))


def sample(snapshot: Snapshot) -> tuple[Points, Points, Series]:
    """Positions (m, D), leading fluctuations (m, D), weights (m,) of at most `MOST_PARTICLES` particles, the same every time."""
    chosen = chosen_particles(len(snapshot.position))
    fluctuation = leading_mode(snapshot.fluctuation[..., chosen, :].astype(np.float64))
    return snapshot.position[chosen].astype(np.float64), fluctuation, snapshot.weight[chosen]


def leading_mode(fluctuation: NDArray[np.float64]) -> NDArray[np.float64]:
    """The leading one of fluctuations (r, m, D), √λ₁ v₁ of Σ = Σ_r u_r u_rᵀ, up to its sign; (m, D) is a single one."""
    if fluctuation.ndim == 2:
        return fluctuation
    flat = np.nan_to_num(fluctuation.reshape(len(fluctuation), -1))
    weights = np.linalg.eigh(flat @ flat.T)[1][:, -1]
    leading: Points = np.einsum("r,rmd->md", weights, fluctuation)
    return leading


def sane(points: Floats) -> Points:
    """The rows of points (m, D) that are finite and not huge, as at the end of a divergence."""
    values = points.astype(np.float64)
    kept: Points = values[np.all(np.isfinite(values) & (np.abs(values) < HUGE), axis=1)]
    return kept


def leading_direction(vectors: Floats) -> Points:
    """The unit vector along which vectors (m, D) have the largest mean square, with its largest entry positive."""
    vectors = sane(vectors)
    scale = np.abs(vectors).max(initial=0.0)
    if not scale:
        return np.eye(1, vectors.shape[1])[0]
    q = np.linalg.svd(vectors / scale, full_matrices=False)[2][0]
    return q * np.sign(q[np.argmax(np.abs(q))])


def direction_name(direction: Points, names: Sequence[str]) -> str | None:
    """The parameter along a direction, None if it involves several."""
    i = int(np.argmax(np.abs(direction)))
    return names[i] if np.abs(direction[i]) > 0.999 else None


def strongest(process: ProcessRecord, times: Series) -> int:
    """The index of the time with the largest tr Σ."""
    data = process.observables
    trace = np.interp(times, data["time"], np.nan_to_num(data["sigma_trace"], posinf=0.0))
    return int(np.argmax(trace))


def shared_range(
    run: RunRecord, columns: Mapping[str, Sequence[Series]], share: float = MASS
) -> tuple[float, float]:
    """An axis range for values by process and time: all but a small fraction of those of processes that do not diverge.

    If all diverge, a range not far beyond their start.
    """
    steady = [v for k, s in columns.items() if run.processes[k].status != "diverged" for v in s]
    if steady:
        return range_of(steady, share)
    return range_of([_near_its_start(series) for series in columns.values()], share)


def _near_its_start(series: Sequence[Series]) -> Series:
    values, first = np.concatenate(series), np.abs(series[0])
    return values[np.abs(values) <= BEYOND * max(first, default=0.0)]


def range_of(series: Sequence[Series], share: float = MASS) -> tuple[float, float]:
    """An axis range for all but a small fraction of some values, which may be huge or empty."""
    values = np.concatenate(series)
    values = values[np.abs(values) < HUGE]
    if not len(values):
        return 0.0, 1.0
    low, high = np.quantile(values, [1 - share, share])
    margin = 0.05 * (high - low) or 0.5 * max(abs(low), 1e-3)
    return float(low - margin), float(high + margin)
