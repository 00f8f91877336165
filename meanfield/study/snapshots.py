"""The one HDF5 file of a run, laid out like netCDF4: the only place that knows HDF5.

::

    /                       Conventions, schema, schema_version, status, message, created, seed,
                            learning_rate, versions_json; dataset `config`, the resolved TOML
    /<process>              flow, status, message
    /<process>/observables  time, OBSERVABLES, the flow's diagnostics, hessian_eigs[time, eig], hessian_residuals[time, eig]
    /<process>/snapshots    time, particle, parameter, position[time, particle, parameter],
                            fluctuation[time, (mode,) particle, parameter], weight[particle]
    /comparison             process, time, COMPARISONS[process, time]

``xarray.open_datatree(path, engine="h5netcdf")`` opens it: dimension scales lie inside each group,
and what was not measured is NaN.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from meanfield.study.file_lock import turn
from meanfield.study.guarded_file import GuardedFile
from meanfield.study.layout import (
    COMPARISONS,
    FILE_NAME,
    SCHEMA,
    SCHEMA_VERSION,
    SPECTRUM,
    TIME,
    Floats,
    OutputError,
    ProcessLayout,
    ProcessRecord,
    RunFileError,
    RunLayout,
    RunRecord,
    Status,
)
from meanfield.study.plain_file import clean
from meanfield.study.reader import check_schema, naming, read_header

CHUNK_BYTES = 2**20
SMALL_CHUNK_BYTES = 2**14  # snapshots smaller than this share a chunk
ROWS_PER_WRITE, SECONDS_PER_WRITE = 256, 5.0


@dataclass
class _Rows:
    """What of a process waits to be written, and how many rows of observables are in the file."""

    written: int = 0
    waiting: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    snapshots: list[tuple[float, Floats, Floats]] = field(default_factory=list)


class RunWriter:
    """Writes ``run.h5.partial`` in a folder and renames it to ``run.h5`` when it is closed.

    Use it as a context manager: leaving it closes the file with the status that `status` holds, or
    ``failed`` after an exception. If anything cannot be written, the partial file is removed and
    `OutputError` is raised; an older ``run.h5`` then stays as it was.
    """

    def __init__(
        self, folder: Path, layout: RunLayout, config: str, attributes: Mapping[str, Any]
    ) -> None:
        self.path = folder / FILE_NAME
        self.status: Status = "complete"
        self.message = ""
        self._partial = folder / f"{FILE_NAME}.partial"
        self._layout = layout
        self._rows = {name: _Rows() for name in layout.processes}
        self._last_write = time.monotonic()
        try:
            self._partial.unlink(
                missing_ok=True
            )  # whoever reads what a crash left goes on reading it
            self._raw = GuardedFile(self._partial, "w+b")
        except OSError as error:
            raise OutputError(f"{self._partial}: cannot write: {error.strerror}") from error
        try:
            with self._commit():
                self._file = h5py.File(self._raw, "w", libver=("v110", "v110"), track_order=True)
                self._create(config, attributes)
        except OutputError:
            self._abandon()
            raise

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, OutputError):
            self._abandon()
            return
        if isinstance(error, KeyboardInterrupt):
            self.status = "interrupted"
        elif error is not None:
            self.status, self.message = "failed", f"{type(error).__name__}: {error}"
        self._close()

    def observe(self, process: str, time: float, row: Mapping[str, Any]) -> None:
        """Append a row of observables; those left out are NaN. `hessian_eigs` holds k values."""
        rows = self._rows[process]
        rows.waiting.append((time, dict(row)))
        if len(rows.waiting) >= ROWS_PER_WRITE or self._is_due():
            self._write_rows(process)

    def snapshot(self, process: str, time: float, position: Floats, fluctuation: Floats) -> None:
        """Append the center (N, D) and the fluctuation (N, D) or (modes, N, D)."""
        waiting = self._rows[process].snapshots
        waiting.append((time, np.array(position), np.array(fluctuation)))
        if len(waiting) >= self._snapshots_per_chunk or self._is_due():
            self._write_snapshots(process)

    def finish(self, process: str, status: Status, message: str = "") -> None:
        """Write what is left of a process and how it ended."""
        self._write_rows(process)
        self._write_snapshots(process)
        with self._commit():
            self._file[process].attrs.update({"status": status, "message": message})

    def snapshot_times(self, process: str) -> NDArray[np.float64]:
        """Times of the snapshots so far."""
        self._write_snapshots(process)
        return np.asarray(self._file[f"{process}/snapshots/time"][:])

    def position(self, process: str, index: int) -> Floats:
        """The center (N, D) of a snapshot of a process that is finished."""
        return np.asarray(self._file[f"{process}/snapshots/position"][index])

    def compare(
        self,
        reference: str,
        times: NDArray[np.float64],
        distances: Mapping[str, Mapping[str, NDArray[np.float64]]],
        attributes: Mapping[str, Any],
    ) -> None:
        """Write distances to the reference, ``distances[process][comparison]`` of shape (s,)."""
        with self._commit():
            group = self._file.create_group("comparison")
            group.attrs.update({"reference": reference, **attributes})
            _scale(group, "process", np.array(list(distances), dtype=object), ("process", "1"))
            _scale(group, "time", times, TIME)
            for name, about in COMPARISONS.items():
                values = np.array([d[name] for d in distances.values()]).reshape(-1, len(times))
                _variable(group, name, ("process", "time"), about, data=values)

    # --- creation ---

    def _create(self, config: str, attributes: Mapping[str, Any]) -> None:
        self._file.attrs.update(
            {
                "Conventions": "CF-1.11",
                "schema": SCHEMA,
                "schema_version": SCHEMA_VERSION,
                "status": "running",
                "message": "",
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                **attributes,
            }
        )
        self._file.create_dataset("config", data=config, dtype=h5py.string_dtype())
        for name, process in self._layout.processes.items():
            group = self._file.create_group(name)
            group.attrs.update(
                {"flow": process.flow, "status": "running", "message": "not started"}
            )
            self._create_observables(group.create_group("observables"), process)
            self._create_snapshots(group.create_group("snapshots"), process)

    def _create_observables(self, group: h5py.Group, process: ProcessLayout) -> None:
        _scale(group, "time", None, TIME)
        _scale(
            group, "eig", np.arange(1, self._layout.eigenvalues + 1), ("rank of eigenvalue", "1")
        )
        for name, about in process.observables.items():
            _variable(group, name, ("time",), about, chunks=(1024,))
        chunks = (1024, self._layout.eigenvalues)
        for name, about in SPECTRUM.items():
            _variable(group, name, ("time", "eig"), about, chunks=chunks)

    def _create_snapshots(self, group: h5py.Group, process: ProcessLayout) -> None:
        layout, modes = self._layout, process.modes
        n, names = layout.particles, layout.parameter_names
        _scale(group, "time", None, TIME)
        _scale(group, "particle", np.arange(n), ("index of particle", "1"))
        _scale(group, "parameter", np.array(names, dtype=object), ("coordinate of particle", "1"))
        row_bytes = len(names) * np.dtype(layout.dtype).itemsize
        rows = int(np.clip(CHUNK_BYTES // row_bytes, 1, n))
        chunk: tuple[int, ...] = (self._snapshots_per_chunk, rows, len(names))
        options: dict[str, Any] = {"dtype": layout.dtype, "chunks": chunk}
        if layout.compression == "gzip":
            options |= {"compression": "gzip", "shuffle": True}
        dims: tuple[str, ...] = ("time", "particle", "parameter")
        _variable(group, "position", dims, ("center of the particles", "1"), **options)
        if modes is not None:
            _scale(group, "mode", np.arange(1, modes + 1), ("index of fluctuation", "1"))
            dims, options["chunks"] = ("time", "mode", *dims[1:]), (chunk[0], 1, *chunk[1:])
        _variable(group, "fluctuation", dims, ("fluctuation of the particles", "1"), **options)
        about = ("mass of particle", "1")
        _variable(group, "weight", ("particle",), about, data=np.full(n, 1 / n))

    @property
    def _snapshots_per_chunk(self) -> int:
        layout = self._layout
        values = layout.particles * len(layout.parameter_names)
        one = values * np.dtype(layout.dtype).itemsize
        return int(np.clip(SMALL_CHUNK_BYTES // one, 1, layout.snapshots))

    # --- rows and the end ---

    @contextmanager
    def _commit(self) -> Iterator[None]:
        """What is written within comes into the file at once, for those who read it meanwhile."""
        with turn(self._raw, exclusive=True):
            yield
            self._file.flush()
        self._check()

    def _is_due(self) -> bool:
        return time.monotonic() - self._last_write > SECONDS_PER_WRITE

    def _write_rows(self, process: str) -> None:
        """Write the waiting rows, `time` last: a row counts once its time is there."""
        rows, group = self._rows[process], self._file[f"{process}/observables"]
        if not rows.waiting:
            return
        with self._commit():
            for name in (*self._layout.processes[process].observables, *SPECTRUM):
                missing = np.full(group[name].shape[1:], np.nan)
                values = np.array([row.get(name, missing) for _, row in rows.waiting], dtype=float)
                _append(group[name], rows.written, values)
            self._file.flush()  # a crash leaves no row with a time but without the rest
            _append(group["time"], rows.written, np.array([time for time, _ in rows.waiting]))
        rows.written += len(rows.waiting)
        rows.waiting.clear()
        self._last_write = time.monotonic()

    def _write_snapshots(self, process: str) -> None:
        waiting, group = self._rows[process].snapshots, self._file[f"{process}/snapshots"]
        if not waiting:
            return
        row = len(group["time"])
        times, positions, fluctuations = map(np.array, zip(*waiting, strict=True))
        with self._commit():
            _append(group["position"], row, positions)
            _append(group["fluctuation"], row, fluctuations)
            self._file.flush()
            _append(group["time"], row, times)
        waiting.clear()

    def _check(self) -> None:
        error = self._raw.error
        if error is not None:
            raise OutputError(
                f"{self._partial}: cannot write: {error.strerror}; the unfinished file was removed"
            ) from error

    def _close(self) -> None:
        try:
            for name in self._layout.processes:
                self._write_rows(name)
                self._write_snapshots(name)
            with turn(self._raw, exclusive=True):
                for name in self._layout.processes:
                    if self._file[name].attrs["status"] == "running":
                        self._file[name].attrs["status"] = self.status
                self._file.attrs.update({"status": self.status, "message": self.message})
                self._file.close()
            self._check()
            os.fsync(self._raw.fileno())
            self._raw.close()
            os.replace(self._partial, self.path)
        except OSError as error:
            self._raw.error = self._raw.error or error
            self._abandon()
            self._check()
        except OutputError:
            self._abandon()
            raise

    def _abandon(self) -> None:
        self._file.close()
        self._raw.close()
        self._partial.unlink(missing_ok=True)


def _append(dataset: h5py.Dataset, row: int, values: NDArray[Any]) -> None:
    dataset.resize(row + len(values), axis=0)
    dataset[row:] = values


def _describe(dataset: h5py.Dataset, about: tuple[str, str]) -> None:
    dataset.attrs.update({"long_name": about[0], "units": about[1]})
    if dataset.dtype.kind == "f":
        dataset.attrs["_FillValue"] = dataset.dtype.type(np.nan)


def _scale(
    group: h5py.Group, name: str, values: NDArray[Any] | None, about: tuple[str, str]
) -> None:
    """A dimension scale: with its values, or growing where there are none yet."""
    if values is None:
        options: dict[str, Any] = {"shape": (0,), "maxshape": (None,), "chunks": (1024,)}
        dataset = group.create_dataset(name, dtype="float64", fillvalue=np.nan, **options)
    elif values.dtype == object:
        dataset = group.create_dataset(name, data=values, dtype=h5py.string_dtype())
    else:
        fill = np.nan if values.dtype.kind == "f" else None
        dataset = group.create_dataset(name, data=values, fillvalue=fill)
    _describe(dataset, about)
    dataset.make_scale(name)


def _variable(
    group: h5py.Group,
    name: str,
    dims: tuple[str, ...],
    about: tuple[str, str],
    dtype: str = "float64",
    data: Floats | None = None,
    **options: Any,
) -> None:
    """A variable over scales of its own group; without data it grows along the first of them."""
    if data is None:
        shape = tuple(len(group[dim]) for dim in dims)
        options |= {"shape": shape, "maxshape": (None, *shape[1:])}
    dataset = group.create_dataset(name, data=data, dtype=dtype, fillvalue=np.nan, **options)
    _describe(dataset, about)
    for axis, dim in enumerate(dims):
        dataset.dims[axis].attach_scale(group[dim])


# --- reading ---


def read_run(path: str | Path) -> RunRecord:
    """Read a run's file.

    Raises
    ------
    RunFileError
        There is no such file, it is not HDF5, another program wrote it, or it was never closed.
    """
    path = Path(path)
    if not path.is_file():
        raise RunFileError(f"{path}: there is no such file")
    try:
        with h5py.File(path, "r") as file:
            check_schema(path, file)
            return _record(path, file)
    except RunFileError as error:
        raise naming(path, error) from error
    except Exception as error:  # HDF5 and h5py raise nearly anything over a damaged file
        raise RunFileError(f"{path}: not the file of a finished run ({error})") from error


def _record(path: Path, file: h5py.File) -> RunRecord:
    about = read_header(file)
    processes = {name: _process_record(file[name]) for name in about.processes}
    distances = about.comparison_times, about.comparison
    return RunRecord(path, about.attributes, about.config, processes, *distances)


def _process_record(group: h5py.Group) -> ProcessRecord:
    snapshots, position = group["snapshots"], group["snapshots/position"]
    rows, count = len(group["observables/time"]), len(snapshots["time"])
    observables = {k: v[:rows] for k, v in group["observables"].items() if k != "eig"}
    if group.attrs["flow"] == "gradient_descent":
        observables.setdefault("iterate_loss", np.full(rows, np.nan))
    return ProcessRecord(
        **{key: clean(group.attrs[key]) for key in ("flow", "status", "message")},
        observables=observables,
        snapshot_times=snapshots["time"][:],
        first=position[0] if count else None,
        last=position[count - 1] if count else None,
        trajectory=position[:count, 0] if position.shape[1] == 1 else None,
        parameter_names=tuple(snapshots["parameter"].asstr()[:]),
    )


def versions_json(packages: Mapping[str, str]) -> str:
    """Versions of packages as the attribute `versions_json` has them."""
    return json.dumps({**packages, "hdf5": h5py.version.hdf5_version}, sort_keys=True)
