"""Distance of any two snapshots, of runs of any widths, and what two samples of one law would differ by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import solvers
from meanfield.study.layout import REFERENCE_FLOW, Floats
from meanfield.study.result import Result
from meanfield.study.toml import parse
from solvers.transport import TransportError

__all__ = [
    "Cloud",
    "TransportError",
    "announcement",
    "differences",
    "distance",
    "lines",
    "read_cloud",
]

QUANTITIES = {"exact": "W2", "sliced": "sliced W2", "sinkhorn": "root of the Sinkhorn divergence"}
ERRORS = {
    "exact": "largest violation of a marginal",
    "sliced": "standard error, over directions",
    "sinkhorn": "error, by rounding and by the iterations",
}
# of a configuration, what may differ between two runs of one problem
FREE = {("network", "width"), ("risk", "dtype"), ("landscape", "start"), ("landscape", "dtype")}
NOTICEABLE = 2.0  # seconds
PROBLEM = ("task", "network", "risk", "landscape")


@dataclass(frozen=True)
class Cloud:
    """Centers of the particles (N, D) of a process at a time, their masses (N,), and the configuration of the run."""

    path: Path
    process: str
    time: float
    position: Floats
    weight: NDArray[np.float64]
    config: str

    def describe(self) -> dict[str, Any]:
        """Where it is from."""
        about = {"file": str(self.path), "process": self.process, "time": self.time}
        return about | {"particles": len(self.position)}

    def chosen(self, indices: NDArray[np.intp]) -> Cloud:
        """Some of the particles."""
        weight = self.weight[indices]
        return replace(self, position=self.position[indices], weight=weight / weight.sum())


def read_cloud(path: Path, process: str | None = None, time: float | None = None) -> Cloud:
    """One snapshot of a run's file, nothing else of it; by default the last of gradient descent or of the only process.

    Raises
    ------
    ValueError
        Not the file of a run; no such process, or no snapshot at that time.
    """
    with Result.open(path) as run:
        name = _choose(run, process)
        snapshots = run[name].snapshots
        if not len(snapshots):
            raise ValueError(f"{run.path}: {name} has no snapshots")
        try:
            snapshot = snapshots[-1] if time is None else snapshots.at(time)
        except ValueError as error:
            raise ValueError(f"{run.path}: {name}: {error}") from None
        return Cloud(run.path, name, snapshot.time, snapshot.position, snapshot.weight, run.config)


def differences(a: Cloud, b: Cloud) -> list[str]:
    """What keeps two clouds from being of one problem: task, network (but its width), risk, landscape; else nothing."""
    first, second = (dict(_settings(cloud.config)) for cloud in (a, b))
    return [
        f"{key} is {first.get(key, 'not set')} and {second.get(key, 'not set')}"
        for key in dict.fromkeys([*first, *second])
        if first.get(key) != second.get(key)
    ]


def distance(
    a: Cloud, b: Cloud, method: str = "exact", subsample: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """Distance of two clouds by `solvers.transport.w2`, and its sampling floors.

    A sampling floor is the distance of two random halves of one cloud: what two samples of its law differ by, though the law is
    one. The halves have half the particles, so it is on the high side (W2 of samples falls like N^(−1/D) in D > 4 dimensions).
    Clouds whose particles started from the same draw can be closer than that.

    Parameters
    ----------
    subsample : int, optional
        Take so many particles, at random, of each cloud that has more.
    seed : int
        Of the subsamples, the halves and the directions of "sliced".

    Raises
    ------
    ValueError
        Clouds of different dimension, or with more particles than the method has memory for.
    TransportError
        Sinkhorn's iterations did not converge.
    """
    if subsample is not None and subsample < 1:
        raise ValueError(f"subsample: {subsample} came, at least 1 is needed")
    if seed < 0:
        raise ValueError(f"seed: {seed} came, at least 0 is needed")
    rng = np.random.default_rng(seed)
    a, b = _subsample(a, subsample, rng), _subsample(b, subsample, rng)
    result = _w2(a, b, method, seed)
    report: dict[str, Any] = {"a": a.describe(), "b": b.describe(), "method": method}
    report |= {"distance": result.distance, "error": result.error}
    if result.regularization is not None:
        report["regularization"] = result.regularization
    floors = {name: _floor(cloud, method, rng, seed) for name, cloud in (("a", a), ("b", b))}
    return report | {"sampling_floor": floors}


def announcement(a: Cloud, b: Cloud, method: str, subsample: int | None = None) -> str | None:
    """What memory and time the distance takes, to be said before; None if it is soon done, or is going to be refused."""
    n, m = (min(len(c.position), subsample or len(c.position)) for c in (a, b))
    cost = solvers.transport.estimate(n, m, a.position.shape[1], method)
    if cost.seconds < NOTICEABLE or cost.bytes > solvers.transport.MAX_BYTES:
        return None
    return f"{method} transport of {n:,} to {m:,} points needs {cost}, and as much time again for the sampling floor"


def lines(report: dict[str, Any]) -> Iterator[str]:
    """A report, for people."""
    for name in ("a", "b"):
        about = report[name]
        yield (
            f"{name.upper()}: {about['file']}, {about['process']} at {about['time']:g}, {about['particles']} particles"
        )
    yield f"{QUANTITIES[report['method']]}: {report['distance']:.6g}"
    yield f"{ERRORS[report['method']]}: {report['error']:.2g}"
    if "regularization" in report:
        yield f"regularization: {report['regularization']:.4g}"
    floors = [
        f"{name.upper()} {'–' if floor is None else format(floor, '.4g')}"
        for name, floor in report["sampling_floor"].items()
    ]
    yield f"sampling floor (two halves of one cloud): {', '.join(floors)}"


def _choose(run: Result, process: str | None) -> str:
    names = list(run)
    if process is not None:
        if process not in names:
            raise ValueError(f"{run.path}: process {process} came, allowed are {', '.join(names)}")
        return process
    default = [name for name in names if run[name].flow == REFERENCE_FLOW] or names
    if len(default) != 1:
        raise ValueError(f"{run.path}: process: none came, one of {', '.join(default)} is needed")
    return default[0]


def _settings(config: str) -> Iterator[tuple[str, Any]]:
    """("section.key", value) of all that makes the problem; nothing of what is no TOML."""
    try:
        tables = parse(config)
    except ValueError:
        return
    for section in PROBLEM:
        for key, value in tables.get(section, {}).items():
            if (section, key) not in FREE:
                yield f"{section}.{key}", value


def _subsample(cloud: Cloud, size: int | None, rng: np.random.Generator) -> Cloud:
    n = len(cloud.position)
    if size is None or size >= n:
        return cloud
    return cloud.chosen(np.sort(rng.choice(n, size, replace=False)))


def _floor(cloud: Cloud, method: str, rng: np.random.Generator, seed: int) -> float | None:
    """Of a single particle there is none."""
    n = len(cloud.position)
    if n < 2:
        return None
    order = rng.permutation(n)
    first, second = (cloud.chosen(np.sort(half)) for half in (order[: n // 2], order[n // 2 :]))
    return float(_w2(first, second, method, seed).distance)


def _w2(a: Cloud, b: Cloud, method: str, seed: int) -> Any:
    return solvers.transport.w2(a.position, b.position, a.weight, b.weight, method, seed=seed)
