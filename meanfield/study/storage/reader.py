"""Reading a run's file in parts, also while it is being written.

A file is identified by its descriptor: a run that ends renames its file, and a later one may reuse the name, but here it stays
the same file. Each read takes turns with the writer, which writes a whole row in one turn; HDF5's cached state of a growing file
is discarded between two reads. The writer waits for one second only, not at all when it is being stopped, and there is no
waiting where there are no locks: a read is valid only if the file is unchanged after it.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from meanfield.study.config.limits import OWN_NAMES
from meanfield.study.storage import measure_schema
from meanfield.study.storage.files.fault_tolerant import open_regular
from meanfield.study.storage.files.journal import PatchedFile, journal_path, read_changes
from meanfield.study.storage.files.lock import TICK, has_no_locks, is_locked, turn
from meanfield.study.storage.observables import EVERYWHERE, NEWER, OF_ITERATES
from meanfield.study.storage.schema import (
    COMPARISONS,
    FILE_NAME,
    PERTURBED,
    PERTURBED_OBSERVABLES,
    SCHEMA,
    SCHEMA_VERSION,
    Floats,
    ProcessRecord,
    RunFileError,
    Status,
)
from meanfield.study.storage.text import clean
from meanfield.study.storage.validation import require_plain
from solvers.measures.representations import Measure

PARTIAL = ".partial"
TRIES = 20.0  # seconds of retries until the file is unchanged during a read, or not empty
BIRTH = 2.0  # seconds for the latter if it is unknown whether there is a writer
BETWEEN_TRIES = 0.02

_T = TypeVar("_T")
StoredSnapshot = tuple[Floats, Floats, NDArray[np.float64], Measure | None]


@dataclass(frozen=True)
class ProcessHeader:
    """The progress of a process: `rows` of observables, snapshots at `snapshot_times` (s,)."""

    flow: str
    status: Status
    message: str
    rows: int
    snapshot_times: NDArray[np.float64]
    parameter_names: tuple[str, ...]


@dataclass(frozen=True)
class RunHeader:
    """The content of the file at one time; see `meanfield.study.storage.schema.RunRecord`."""

    attributes: dict[str, Any]
    config: str
    processes: dict[str, ProcessHeader]
    comparison_times: NDArray[np.float64]
    comparison: dict[str, dict[str, NDArray[np.float64]]]


class _ChangedError(Exception):
    """The file changed while it was read."""


class RunReader:
    """Reads the file of a run, finished or not.

    Parameters
    ----------
    path : path
        ``run.h5``, ``run.h5.partial``, or their folder: then the newer of the two.

    Raises
    ------
    RunFileError
        There is no such file, or it cannot be opened. Reading raises it if the file is not HDF5, is damaged, is closed, or is
        not a run of a known schema.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self._raw, self._journal = _open(Path(path))
        weakref.finalize(self, _close, self._raw, self._journal)  # if it is never closed explicitly

    def close(self) -> None:
        """Close the file."""
        _close(self._raw, self._journal)

    def header(self) -> RunHeader:
        """The current content of the file."""
        self._follow()
        return self.read(read_header)

    def observables(self, process: str, rows: int) -> dict[str, NDArray[np.float64]]:
        """The first rows of all observables: (rows,) each, ``hessian_eigs`` (rows, k)."""
        return self.read(lambda file: read_observables(file[process], rows))

    def perturbed(self) -> ProcessRecord | None:
        """The perturbed gradient descent, see `read_perturbed`."""
        return self.read(read_perturbed)

    def snapshot(self, process: str, index: int) -> StoredSnapshot:
        """Position and fluctuation of one snapshot, and the weights; the measure that it is, if it is one."""

        def read(file: h5py.File) -> StoredSnapshot:
            group = file[f"{process}/snapshots"]
            if file[process].attrs["flow"] == measure_schema.FLOW:
                measure = measure_schema.read_measure(group, index)
                points, weights = measure_schema.points_of(measure)
                return points, np.zeros_like(points), weights, measure
            return group["position"][index], group["fluctuation"][index], group["weight"][:], None

        return self.read(read)

    def has_iterates(self, process: str) -> bool:
        """Whether a process has iterates, as gradient descent, beside its center."""
        return self.read(lambda file: OF_ITERATES in file[process]["observables"])

    def read(self, read: Callable[[h5py.File], _T]) -> _T:
        """The result of `read` on the open file."""

        def with_h5py(raw: Any) -> _T:
            with h5py.File(raw, "r") as file:
                check_schema(self.path, file)
                return read(file)

        return self.read_raw(with_h5py)

    def read_raw(self, read: Callable[[Any], _T]) -> _T:
        """The same on the raw file, repeated while it changes meanwhile or cannot be read yet."""
        self._require_open()
        began = time.monotonic()
        while True:
            try:
                return self._try(read)
            except _ChangedError:
                if time.monotonic() >= began + TRIES:
                    raise RunFileError(
                        f"{self.path}: it changed during every attempt to read it for {TRIES:g} s; try again later"
                    ) from None
            except RunFileError as error:
                raise naming(self.path, error) from error
            except Exception as error:  # HDF5 and h5py raise nearly anything over a damaged file
                if time.monotonic() >= began + self._patience():
                    raise RunFileError(f"{self.path}: {self._explain()} ({error})") from error
            time.sleep(BETWEEN_TRIES)

    def _patience(self) -> float:
        """Seconds after which an unreadable file counts as damaged."""
        if self.path.suffix != PARTIAL:
            return 0.0
        return TRIES if self._journal is not None and is_locked(self._journal) else BIRTH

    def _try(self, read: Callable[[Any], _T]) -> _T:
        with turn(self._raw, exclusive=False) as held:
            if not held:
                raise TimeoutError("its writer keeps it locked")
            before = self._at_rest()
            try:
                result = read(self._committed())
            except Exception:
                if self._state() != before:
                    raise _ChangedError from None
                raise
            if self._state() != before:
                raise _ChangedError
            return result

    def _at_rest(self) -> tuple[int, int]:
        """The state of the file, long enough after its last change that another change would be visible.

        Where there are locks, a writer without its turn ensures this.
        """
        for _ in range(10):
            state = self._state()
            if not has_no_locks():
                return state
            age = time.time() - state[1] / 1e9
            if not 0 <= age < TICK:
                return state
            time.sleep(TICK - age)
        raise _ChangedError

    def _state(self) -> tuple[int, int]:
        """A value that changes with every commit, the journal included; data appended before a commit are not visible yet."""
        file = self._raw if self._journal is None else self._journal
        stat = os.fstat(file.fileno())
        return stat.st_size, stat.st_mtime_ns

    def _committed(self) -> Any:
        """The file as of the last commit, even if its writer died during one."""
        changes = None if self._journal is None else read_changes(self._journal.fileno())
        return self._raw if changes is None else PatchedFile(self._raw, changes)

    def _require_open(self) -> None:
        if self._raw.closed:
            raise RunFileError(f"{self.path}: the result is closed")

    def _explain(self) -> str:
        self._raw.seek(0)
        signature = self._raw.read(8)
        return "damaged or incomplete" if signature == b"\x89HDF\r\n\x1a\n" else "not an HDF5 file"

    def _follow(self) -> None:
        """Update the path of a file that was renamed to its final name."""
        if self.path.suffix == PARTIAL and not self._raw.closed:
            final = self.path.with_suffix("")
            if final.is_file() and os.path.samestat(final.stat(), os.fstat(self._raw.fileno())):
                self.path = final


def _open(path: Path) -> tuple[Path, Any, Any]:
    """The file and its journal."""
    for _ in range(10):  # it may be renamed or replaced meanwhile
        chosen = _newest(path) if path.is_dir() else path
        try:
            file = _opened(chosen)
        except FileNotFoundError:
            if chosen == path:
                break
            continue
        except OSError as error:
            raise RunFileError(f"{chosen}: cannot be opened: {error.strerror}") from error
        journal = _open_journal(chosen)
        if chosen.exists() and os.path.samestat(chosen.stat(), os.fstat(file.fileno())):
            return chosen, file, journal
        _close(file, journal)
    partial = path.with_name(path.name + PARTIAL)
    hint = f"; {partial.name} is there, a run that is not finished" if partial.is_file() else ""
    raise RunFileError(f"{path}: there is no such file{hint}")


def _open_journal(path: Path) -> Any:
    try:
        return _opened(journal_path(path))
    except OSError:
        return None


def _opened(path: Path) -> Any:
    return open(path, "rb", buffering=0, opener=open_regular)


def _close(*files: Any) -> None:
    for file in files:
        if file is not None:
            file.close()


def _newest(folder: Path) -> Path:
    found = []
    for name in (FILE_NAME + PARTIAL, FILE_NAME):  # in this order a renaming cannot be missed
        try:
            found.append(((folder / name).stat().st_mtime_ns, folder / name))
        except FileNotFoundError:
            continue
    if not found:
        raise RunFileError(f"{folder} must hold {FILE_NAME} or {FILE_NAME}{PARTIAL}, got neither")
    return max(found)[1]


def naming(path: Path, error: RunFileError) -> RunFileError:
    """The error with the file's name prepended, if it is missing."""
    text = str(error)
    return (
        error if text.startswith(str(path)) else RunFileError(f"{path}: not a run's file: {text}")
    )


def check_schema(path: Path, file: h5py.File) -> None:
    """Raise `RunFileError` if it is not the file of a run, or is of another version."""
    schema, version = file.attrs.get("schema"), file.attrs.get("schema_version")
    if not isinstance(schema, str) or schema != SCHEMA:
        raise RunFileError(f"{path} must be the file of a run, of schema {SCHEMA}, got {schema}")
    if version != SCHEMA_VERSION:
        is_newer = isinstance(version, int | np.integer) and version > SCHEMA_VERSION
        newer = "; a newer meanfield wrote it" if is_newer else ""
        raise RunFileError(f"{path}: schema version must be {SCHEMA_VERSION}, got {version}{newer}")


def read_header(file: h5py.File) -> RunHeader:
    """Everything except the observables and the particles."""
    require_plain(file)
    times, comparison = np.empty(0), {}
    if "comparison" in file:
        group = file["comparison"]
        times = group["time"][:]
        for i, process in enumerate(group["process"].asstr()):
            comparison[process] = {name: group[name][i] for name in COMPARISONS}
    names = [name for name in file if name not in OWN_NAMES]
    processes = {name: _process_header(file[name]) for name in names}
    config = clean(file["config"].asstr()[()])
    return RunHeader(attributes_of(file), config, processes, times, comparison)


def attributes_of(file: h5py.File) -> dict[str, Any]:
    """The attributes of the file, with Python's own number types."""
    return {
        key: clean(value.item() if isinstance(value, np.generic) else value)
        for key, value in file.attrs.items()
    }


def read_observables(process: h5py.Group, rows: int) -> dict[str, NDArray[np.float64]]:
    """The first rows; NaN for observables that an older version did not write."""
    group = process["observables"]
    if process.attrs["flow"] == measure_schema.FLOW:
        return {name: group[name][:rows] for name in ("time", *measure_schema.OBSERVABLES)}
    names = [name for name in ("time", *EVERYWHERE) if name in group or name in NEWER]
    names += [name for name in group if name not in (*names, "eig")]
    values = {name: group[name][:rows] for name in names if name in group}
    empty = dict.fromkeys(names, np.full(rows, np.nan))
    empty["hessian_residuals"] = np.full_like(values["hessian_eigs"], np.nan)
    return empty | values


def read_perturbed(file: h5py.File) -> ProcessRecord | None:
    """The perturbed gradient descent; None where it was not run, as in files of older versions."""
    owners = (file[name] for name in file if name not in OWN_NAMES)
    group = next((owner[PERTURBED] for owner in owners if PERTURBED in owner), None)
    if group is None:
        return None
    measured = group["observables"]
    rows = len(measured["time"])
    observables = dict.fromkeys(EVERYWHERE, np.full(rows, np.nan))
    observables |= {name: measured[name][:rows] for name in ("time", *PERTURBED_OBSERVABLES)}
    about = {key: clean(group.attrs[key]) for key in ("flow", "status", "message")}
    return ProcessRecord(
        **about, observables=observables, snapshot_times=np.empty(0), first=None, last=None
    )


def measure_record(group: h5py.Group) -> ProcessRecord:
    """The process of a measure; its snapshots are read one by one."""
    header = _process_header(group)
    about: dict[str, Any] = {key: getattr(header, key) for key in ("flow", "status", "message")}
    return ProcessRecord(
        **about,
        observables=read_observables(group, header.rows),
        snapshot_times=header.snapshot_times,
        first=None,
        last=None,
        parameter_names=header.parameter_names,
    )


def _process_header(group: h5py.Group) -> ProcessHeader:
    snapshots = group["snapshots"]
    return ProcessHeader(
        **{key: clean(group.attrs[key]) for key in ("flow", "status", "message")},
        rows=len(group["observables/time"]),
        snapshot_times=snapshots["time"][:],
        parameter_names=tuple(snapshots["parameter"].asstr()[:]),
    )
