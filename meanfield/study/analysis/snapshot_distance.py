"""Distance between two snapshots of runs of any widths, and the sampling floor of that distance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import solvers
from meanfield.study.analysis.stored_run import StoredRun
from meanfield.study.config.run_config import load_text
from meanfield.study.config.toml import parse
from meanfield.study.storage.schema import Floats
from solvers.measures.representations import Measure
from solvers.transport.wasserstein import TransportError, TransportResult

__all__ = [
    "Cloud",
    "TransportError",
    "announcement",
    "differences",
    "distance",
    "distance_of_laws",
    "is_too_large",
    "lines",
    "read_cloud",
]

QUANTITIES = {"exact": "W2", "sliced": "sliced W2", "sinkhorn": "root of the Sinkhorn divergence"}
ERRORS = {
    "exact": "error, proved by dual potentials",
    "sliced": "standard error, over directions",
    "sinkhorn": "error, by rounding and by the iterations",
}
# of a configuration, what may differ between two runs of one problem
FREE = {("network", "width"), ("risk", "dtype"), ("landscape", "start"), ("landscape", "dtype")}
LESS_THAN_EXACT = "--lazy, --method sliced, --method sinkhorn and --subsample need"
NOTICEABLE = 2.0  # seconds
FREE |= {
    ("measure", key) for key in ("space", "initial", "step_size", "tolerance", "order", "duration")
}
PROBLEM = ("task", "network", "risk", "landscape", "measure")


@dataclass(frozen=True)
class Cloud:
    """Centers of the particles (N, D) of a process at a time, their masses (N,), and the configuration of the run."""

    path: Path
    process: str
    time: float
    position: Floats
    weight: NDArray[np.float64]
    config: str
    measure: Measure | None = None

    def describe(self) -> dict[str, Any]:
        """The origin of the cloud."""
        about = {"file": str(self.path), "process": self.process, "time": self.time}
        return about | {"particles": len(self.position)}

    def chosen(self, indices: NDArray[np.intp]) -> Cloud:
        """The particles of these indices."""
        weight = self.weight[indices]
        return replace(self, position=self.position[indices], weight=weight / weight.sum())


def read_cloud(path: Path, process: str | None = None, time: float | None = None) -> Cloud:
    """One snapshot of a run's file; by default the last of gradient descent or of the only process.

    Raises
    ------
    ValueError
        Not the file of a run; no such process, or no snapshot at that time.
    """
    with StoredRun.open(path) as run:
        name = _choose(run, process)
        snapshots = run[name].snapshots
        if not len(snapshots):
            raise ValueError(f"{run.path}: {name} must have snapshots, got none")
        try:
            snapshot = snapshots[-1] if time is None else snapshots.at(time)
        except ValueError as error:
            raise ValueError(f"{run.path}: {name}: {error}") from None
        points = snapshot.position, snapshot.weight
        return Cloud(run.path, name, snapshot.time, *points, run.config, snapshot.measure)


def differences(a: Cloud, b: Cloud) -> list[str]:
    """Differences of the problems of two clouds: in task, network (except its width), risk or landscape."""
    (first, first_default), (second, second_default) = map(_settings, (a.config, b.config))
    found = []
    for key in dict.fromkeys([*first, *second]):
        # an older version did not write the keys that it did not have
        one, other = (
            first.get(key, first_default.get(key)),
            second.get(key, second_default.get(key)),
        )
        if one != other:
            found.append(
                "{} is {} and {}".format(
                    key, *("not set" if v is None else v for v in (one, other))
                )
            )
    return found


def distance(
    a: Cloud,
    b: Cloud,
    method: str = "exact",
    subsample: int | None = None,
    seed: int = 0,
    *,
    lazy: bool = False,
    memory_limit: int | None = None,
    error: str | None = None,
) -> dict[str, Any]:
    """Distance of two clouds by `solvers.transport.w2`, an upper bound, and its sampling floors.

    For clouds with equally many particles of equal masses, the distance between particles of equal index is computed too: it is
    the cost of one coupling, no less than W2. A sampling floor is the distance of two random halves of one cloud: the distance
    of two samples of the same law. The halves have half the particles, so it is an overestimate (W2 of samples decreases like
    N^(−1/D) in D > 4 dimensions). Clouds whose particles share a start can be closer than that.

    Parameters
    ----------
    subsample : int, optional
        Number of random particles to take from each larger cloud; the same indices from clouds of equal size.
    seed : int
        Seed of the subsamples, the halves and the directions of "sliced".
    lazy : bool
        Compute the costs of "exact" whenever they are used.
    memory_limit : int, optional
        Bytes; by default 2³⁰.
    error : {"bootstrap"}, optional
        Also the distance of the laws that the particles are samples of, with its interval.

    Raises
    ------
    ValueError
        For clouds of different dimensions, or with too many particles for the memory limit.
    TransportError
        When Sinkhorn's iterations do not converge, or a plan is not proved optimal.
    """
    if subsample is not None and subsample < 1:
        raise ValueError(f"subsample must be an integer of at least 1, got {subsample}")
    if seed < 0:
        raise ValueError(f"seed must be an integer of at least 0, got {seed}")
    rng = np.random.default_rng(seed)
    paired = len(a.position) == len(b.position) and np.array_equal(a.weight, b.weight)
    a, b = _subsamples(a, b, subsample, rng, paired)
    measure = _DistanceOptions(
        method, seed, lazy, memory_limit or solvers.transport.wasserstein.MAX_BYTES
    )
    measure.require_memory(a, b)
    result = measure.between(a, b)
    report: dict[str, Any] = {"a": a.describe(), "b": b.describe(), "method": method}
    bound = result.gap if method == "exact" else result.error
    report |= {"distance": result.distance, "error": bound}
    if result.regularization is not None:
        report["regularization"] = result.regularization
    report["coupled_distance"] = _coupled(a, b) if paired else None
    floors = {name: measure.floor(cloud, rng) for name, cloud in (("a", a), ("b", b))}
    report["sampling_floor"] = floors
    report |= {"warnings": list(_warnings(report))}
    return report | ({} if error is None else {"of_laws": measure.of_laws(a, b, error)})


def distance_of_laws(a: Cloud, b: Cloud, method: str = "exact", seed: int = 0) -> dict[str, Any]:
    """Only the distance of the laws that two clouds are samples of, by subsamples: for many particles."""
    measure = _DistanceOptions(method, seed, False, solvers.transport.wasserstein.MAX_BYTES)
    paired = len(a.position) == len(b.position) and np.array_equal(a.weight, b.weight)
    report: dict[str, Any] = {"a": a.describe(), "b": b.describe(), "method": method}
    report["coupled_distance"] = _coupled(a, b) if paired else None
    return report | {"of_laws": measure.of_laws(a, b, "bootstrap"), "warnings": []}


def is_too_large(a: Cloud, b: Cloud, method: str) -> bool:
    """Whether the distance of all particles needs more memory than is allowed by default."""
    cost = solvers.transport.estimate(len(a.position), len(b.position), a.position.shape[1], method)
    return cost.bytes > solvers.transport.wasserstein.MAX_BYTES


def _warnings(report: dict[str, Any]) -> Iterator[str]:
    """Warnings about the validity of the distance."""
    name, value = QUANTITIES[report["method"]], report["distance"]
    if value <= report["error"] != 0:
        yield f"{name} {value:.3g} is not above its error {report['error']:.2g}: it is not told from zero"
    floors = [floor for floor in report["sampling_floor"].values() if floor is not None]
    if value > 0 and floors and value <= max(floors):
        also = "" if report["coupled_distance"] is None else ", unless both are from one start"
        yield (
            f"{name} {value:.4g} is not above its sampling floor {max(floors):.4g}: "
            f"independent samples of one law differ by as much{also}"
        )


def announcement(
    a: Cloud,
    b: Cloud,
    method: str,
    subsample: int | None = None,
    *,
    lazy: bool = False,
    memory_limit: int | None = None,
) -> str | None:
    """A message about the memory and time that the distance takes; None if it is quick, or will be refused."""
    n, m = (min(len(c.position), subsample or len(c.position)) for c in (a, b))
    cost = solvers.transport.estimate(n, m, a.position.shape[1], method, lazy=lazy)
    if cost.seconds < NOTICEABLE or cost.bytes > (
        memory_limit or solvers.transport.wasserstein.MAX_BYTES
    ):
        return None
    return f"{method} transport of {n:,} to {m:,} points needs {cost}, and as much time again for the sampling floor"


def lines(report: dict[str, Any]) -> Iterator[str]:
    """A report as lines of text."""
    for name in ("a", "b"):
        about = report[name]
        yield (
            f"{name.upper()}: {about['file']}, {about['process']} at {about['time']:g}, {about['particles']} particles"
        )
    if "distance" in report:
        yield f"{QUANTITIES[report['method']]}: {report['distance']:.6g}"
        yield f"{ERRORS[report['method']]}: {report['error']:.2g}"
    if "regularization" in report:
        yield f"regularization: {report['regularization']:.4g}"
    if report["coupled_distance"] is not None:
        yield f"particle by particle (at least W2): {report['coupled_distance']:.6g}"
    if "of_laws" in report:
        of_laws = report["of_laws"]
        yield (
            f"{QUANTITIES[report['method']]} of the laws, sampling floor subtracted: {of_laws['distance']:.4g}, "
            f"{of_laws['low']:.4g} to {of_laws['high']:.4g} (95%)"
        )
    if "sampling_floor" not in report:
        return
    floors = [
        f"{name.upper()} {'–' if floor is None else format(floor, '.4g')}"
        for name, floor in report["sampling_floor"].items()
    ]
    yield f"sampling floor (two halves of one cloud): {', '.join(floors)}"


def _choose(run: StoredRun, process: str | None) -> str:
    names = list(run)
    if process is not None:
        if process not in names:
            raise ValueError(
                f"{run.path}: process must be one of {', '.join(names)}, got {process}"
            )
        return process
    reference = run.reference
    default = names
    if reference is not None:
        default = [name for name in names if run[name].flow == run[reference].flow]
    if len(default) != 1:
        raise ValueError(f"{run.path}: process must be one of {', '.join(default)}, got none")
    return default[0]


def _settings(config: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The value by "section.key" of all that makes the problem, and the defaults of the same tables; none of what is no TOML."""
    try:
        tables = parse(config)
    except ValueError:
        return {}, {}
    try:
        whole = parse(load_text(config).to_toml())
    except ValueError:
        whole = {}
    return _flat(tables), _flat({section: whole.get(section, {}) for section in tables})


def _flat(tables: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{section}.{key}": value
        for section in PROBLEM
        for key, value in tables.get(section, {}).items()
        if (section, key) not in FREE
    }


def _subsamples(
    a: Cloud, b: Cloud, size: int | None, rng: np.random.Generator, paired: bool
) -> tuple[Cloud, Cloud]:
    """Random particles of both; the same indices for paired clouds, as others would be independent samples."""
    if paired and size is not None and size < len(a.position):
        chosen = np.sort(rng.choice(len(a.position), size, replace=False))
        return a.chosen(chosen), b.chosen(chosen)
    first, second = (_subsample(cloud, size, rng) for cloud in (a, b))
    return first, second


def _subsample(cloud: Cloud, size: int | None, rng: np.random.Generator) -> Cloud:
    n = len(cloud.position)
    if size is None or size >= n:
        return cloud
    return cloud.chosen(np.sort(rng.choice(n, size, replace=False)))


def _coupled(a: Cloud, b: Cloud) -> float:
    """√(Σ_i p_i |x_i − y_i|²)."""
    scale = np.sqrt(a.weight * len(a.weight))[:, None]
    return solvers.transport.coupled_distance(scale * a.position, scale * b.position)


@dataclass(frozen=True)
class _DistanceOptions:
    """A distance between clouds, and its options."""

    method: str
    seed: int
    lazy: bool
    memory_limit: int

    def between(self, a: Cloud, b: Cloud) -> TransportResult:
        """The distance by `solvers.transport.w2`; a TransportError names options of the command."""
        options: dict[str, Any] = {
            "seed": self.seed,
            "lazy": self.lazy,
            "max_bytes": self.memory_limit,
        }
        try:
            return solvers.transport.w2(
                a.position, b.position, a.weight, b.weight, self.method, **options
            )
        except TransportError as error:
            remedy = "--method sliced does without such iterations"
            if self.lazy:
                remedy = "without --lazy and with a larger --memory-limit it may be found"
            raise TransportError(error.text, remedy) from error

    def of_laws(self, a: Cloud, b: Cloud, error: str) -> dict[str, float]:
        """The distance of the laws and its interval."""
        found = solvers.transport.w2(
            solvers.Particles(a.position, a.weight),
            solvers.Particles(b.position, b.weight),
            method=self.method,
            seed=self.seed,
            error=error,
        )
        assert found.interval is not None
        low, high = found.interval
        return {"distance": found.distance, "low": low, "high": high}

    def floor(self, cloud: Cloud, rng: np.random.Generator) -> float | None:
        """The distance of two halves of a cloud; None for a single particle."""
        n = len(cloud.position)
        if n < 2:
            return None
        order = rng.permutation(n)
        halves = (cloud.chosen(np.sort(half)) for half in (order[: n // 2], order[n // 2 :]))
        return self.between(*halves).distance

    def require_memory(self, a: Cloud, b: Cloud) -> None:
        """Raise a ValueError that names the options of the command which need less memory."""
        n, m = len(a.position), len(b.position)
        cost = solvers.transport.estimate(n, m, a.position.shape[1], self.method, lazy=self.lazy)
        if cost.bytes <= self.memory_limit:
            return
        ways = "--subsample needs" if self.method != "exact" or self.lazy else LESS_THAN_EXACT
        raise ValueError(
            f"--memory-limit must be at least {cost.bytes / 1e9:.3g}GB for {self.method} transport of {n:,} to {m:,} points, "
            f"got {self.memory_limit / 1e9:.3g}GB; {ways} less"
        )
