"""The HDF5 file of a run, with a netCDF4-style layout.

::

    /                       Conventions, schema, schema_version, status, message, created, seed,
                            learning_rate, versions_json, machine_json; dataset `config`, the resolved TOML
    /<process>              flow, status, message
    /<process>/observables  time, those of `storage.observables`, the flow's diagnostics; over [time, eig] if of each eigenvalue
    /<process>/snapshots    time, particle, parameter, position[time, particle, parameter],
                            fluctuation[time, (mode,) particle, parameter], weight[particle]; of a measure see
                            `meanfield.study.storage.measure_schema`
    /<process>/final        state at its last step, see `meanfield.study.storage.final_state`
    /<process>/perturbed    perturbed gradient descent: flow, status, message, observables
    /comparison             process, time, COMPARISONS[process, time]

``xarray.open_datatree(path, engine="h5netcdf")`` opens it: dimension scales lie inside each group,
and NaN stands for values that were not measured.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from meanfield.study.storage.checkpoint import Position
from meanfield.study.storage.datasets import (
    append,
    create,
    create_comparison,
    require_layout,
    snapshots_per_chunk,
)
from meanfield.study.storage.files.lock import WriterTurns
from meanfield.study.storage.final_state import has_final, read_final, write_final
from meanfield.study.storage.measure_schema import FLOW as FLOW_OF_MEASURE
from meanfield.study.storage.reader import (
    RunReader,
    measure_record,
    read_header,
    read_observables,
    read_perturbed,
)
from meanfield.study.storage.run_folder import RunFolder
from meanfield.study.storage.schema import (
    Floats,
    OutputError,
    ProcessRecord,
    RowCounts,
    RunFileError,
    RunLayout,
    RunRecord,
    Status,
)
from meanfield.study.storage.text import clean
from solvers.flows import REFERENCE_FLOW

ROWS_PER_WRITE, SECONDS_PER_WRITE = 256, 5.0


@dataclass
class _Rows:
    """The rows of a process waiting to be written, and the number of rows of observables in the file."""

    written: int = 0
    waiting: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    snapshots: list[tuple[float, dict[str, Floats]]] = field(default_factory=list)


class RunWriter:
    """Writes ``run.h5.partial`` in a folder and renames it to ``run.h5`` when it is closed.

    Use it as a context manager: leaving it closes the file with the status `status`, or
    ``failed`` after an exception. If something cannot be written, `OutputError` is raised, and an older
    ``run.h5`` is unchanged; the partial file is removed, or kept as of the last commit if a
    checkpoint belongs to it.

    Parameters
    ----------
    folder : Path or RunFolder
    layout : RunLayout
    config : str
        The resolved TOML.
    attributes : mapping
        Attributes of the whole file.
    rows : mapping, optional
        For a resumed run: the numbers of rows of observables and snapshots of every process in the
        file that `meanfield.study.storage.recovery` left.
    resumable : bool
        Whether there is a checkpoint.
    hurry : callable, optional
        Whether the run is being stopped: then it does not wait for readers.
    extends : bool
        Whether ``run.h5`` is a finished run that this one extends: it is replaced only when this one has ended.
    """

    def __init__(
        self,
        folder: Path | RunFolder,
        layout: RunLayout,
        config: str,
        attributes: Mapping[str, Any],
        rows: Mapping[str, RowCounts] | None = None,
        resumable: bool = False,
        hurry: Callable[[], bool] = lambda: False,
        extends: bool = False,
    ) -> None:
        self._folder = folder if isinstance(folder, RunFolder) else RunFolder(folder)
        self.path = self._folder.final
        self.status: Status = "complete"
        self.message = ""
        self._layout, self._resumable, self._turns = layout, resumable, WriterTurns(hurry)
        self._extends = extends
        self._rows = {name: _Rows() for name in layout.processes}
        self._open: dict[str, dict[str, h5py.Dataset]] = {}
        self._last_write = time.monotonic()
        partial = self._folder.partial
        try:
            self._raw = self._folder.begin() if rows is None else self._folder.go_on()
        except OSError as error:
            self._folder.close()
            raise OutputError(f"{partial}: cannot write: {error.strerror}") from error
        try:
            with self._commit():
                mode = "w" if rows is None else "r+"
                options = {"libver": ("v110", "v110"), "track_order": rows is None}
                self._file = h5py.File(self._raw, mode, **options)
                if rows is None:
                    create(self._file, layout, config, attributes)
                else:
                    require_layout(self._file, layout)
                for name, counts in (rows or {}).items():
                    self._rows[name].written = counts.observables
        except (OutputError, RunFileError):
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
        """Append a row of observables; missing ones are NaN. `hessian_eigs` and `hessian_residuals` have k values."""
        rows = self._rows[process]
        rows.waiting.append((time, dict(row)))
        if len(rows.waiting) >= ROWS_PER_WRITE or self._is_due():
            self._write_rows(process)

    def snapshot(self, process: str, time: float, position: Floats, fluctuation: Floats) -> None:
        """Append the center (N, D) and the fluctuation (N, D) or (modes, N, D)."""
        self.keep(process, time, {"position": position, "fluctuation": fluctuation})

    def keep(self, process: str, time: float, arrays: Mapping[str, Floats]) -> None:
        """Append a snapshot of these variables."""
        waiting = self._rows[process].snapshots
        waiting.append((time, {name: np.array(values) for name, values in arrays.items()}))
        if len(waiting) >= snapshots_per_chunk(self._layout) or self._is_due():
            self._write_snapshots(process)

    def finish(
        self, process: str, status: Status, message: str = "", final: Position | None = None
    ) -> None:
        """Write the remaining rows of a process, its status, and its final state if it may be extended."""
        self._write_rows(process)
        self._write_snapshots(process)
        with self._commit():
            self._file[process].attrs.update({"status": status, "message": message})
            if final is not None:
                write_final(self._file[process], final)

    def write(self) -> None:
        """Write all waiting rows."""
        for name in self._layout.processes:
            self._write_rows(name)
            self._write_snapshots(name)

    def sync(self) -> dict[str, RowCounts]:
        """Write all waiting rows and wait until they have reached the disk; the numbers of rows."""
        self.write()
        self._raw.sync()
        self._check()
        return {
            name: RowCounts(
                rows.written, 0 if about.is_perturbed else len(self._file[f"{name}/snapshots/time"])
            )
            for (name, rows), about in zip(
                self._rows.items(), self._layout.processes.values(), strict=True
            )
        }

    def snapshot_times(self, process: str) -> NDArray[np.float64]:
        """Times of the snapshots so far."""
        self._write_snapshots(process)
        return np.asarray(self._file[f"{process}/snapshots/time"][:])

    def position(self, process: str, index: int) -> Floats:
        """The center (N, D) of a snapshot of a finished process."""
        return np.asarray(self._file[f"{process}/snapshots/position"][index])

    def compare(
        self,
        reference: str,
        times: NDArray[np.float64],
        distances: Mapping[str, Mapping[str, NDArray[np.float64]]],
        attributes: Mapping[str, Any],
    ) -> None:
        """Write distances to the reference, ``distances[process][comparison]`` of shape (s,)."""
        about = {"reference": reference, **attributes}
        with self._commit():
            create_comparison(self._file, times, distances, about)

    # --- rows and the end ---

    @contextmanager
    def _commit(self) -> Iterator[None]:
        """Context whose writes become visible in one transaction, for concurrent readers and after a crash."""
        yield
        self._file.flush()
        with self._turns.take(self._raw):
            self._raw.commit()
        self._check()

    def _is_due(self) -> bool:
        return time.monotonic() - self._last_write > SECONDS_PER_WRITE

    def _write_rows(self, process: str) -> None:
        """Write the waiting rows."""
        rows = self._rows[process]
        if not rows.waiting:
            return
        group = self._datasets(f"{process}/observables")
        with self._commit():
            layout = self._layout.processes[process]
            names = (*layout.observables, *layout.spectrum)
            for name in (
                name for name in names if name in group
            ):  # files of an older version have fewer
                missing = np.full(group[name].shape[1:], np.nan)
                values = np.array([row.get(name, missing) for _, row in rows.waiting], dtype=float)
                append(group[name], rows.written, values)
            append(group["time"], rows.written, np.array([time for time, _ in rows.waiting]))
        rows.written += len(rows.waiting)
        rows.waiting.clear()
        self._last_write = time.monotonic()

    def _write_snapshots(self, process: str) -> None:
        waiting = self._rows[process].snapshots
        if not waiting:
            return
        group = self._datasets(f"{process}/snapshots")
        row = len(group["time"])
        with self._commit():
            for name in waiting[0][1]:
                append(group[name], row, np.array([arrays[name] for _, arrays in waiting]))
            append(group["time"], row, np.array([time for time, _ in waiting]))
        waiting.clear()

    def _datasets(self, group: str) -> dict[str, h5py.Dataset]:
        """The datasets of a group, opened once: to open one takes as long as to append to it."""
        if group not in self._open:
            self._open[group] = dict(self._file[group].items())
        return self._open[group]

    def _check(self) -> None:
        error = self._raw.error
        if error is None:
            return
        left = "the unfinished file was removed"
        if self._resumable:
            left = f"what was written is kept, and `meanfield resume {self._folder.path}` continues from the last checkpoint"
        raise OutputError(
            f"{self._folder.partial}: cannot write: {error.strerror}; {left}"
        ) from error

    def _close(self) -> None:
        try:
            self.write()
            for name in self._layout.processes:
                if self._file[name].attrs["status"] == "running":
                    self._file[name].attrs["status"] = self.status
            self._file.attrs.update({"status": self.status, "message": self.message})
            self._file.close()
            with self._turns.take(self._raw):
                self._raw.commit()
            if self._extends and (self.status == "interrupted" or self.message):
                self.path = self._folder.partial
                self._folder.leave(self._raw)
            else:
                self._folder.finish(self._raw)
        except OSError as error:
            self._abandon()
            self._check()
            raise OutputError(f"{self.path}: cannot write: {error.strerror or error}") from error
        except OutputError:
            self._abandon()
            raise

    def _abandon(self) -> None:
        self._file.close()
        self._raw.close()
        if self._resumable:
            self._folder.close()
        else:
            self._folder.discard()


# --- reading ---


def read_run(path: str | Path) -> RunRecord:
    """Read a run, finished or not, from its file or its folder; values missing in older files are NaN.

    Raises
    ------
    RunFileError
        There is no such file, it is not HDF5, it is damaged, or another program wrote it.
    """
    with closing(RunReader(path)) as reader:
        return reader.read(lambda file: record_of(reader.path, file))


def read_final_state(path: str | Path, process: str) -> Position:
    """Where a process of a run stood at its last step.

    Raises
    ------
    RunFileError
        The file does not say: an older version wrote it, or the process did not come that far.
    """
    with closing(RunReader(path)) as reader:
        return reader.read(lambda file: read_final(file[process]))


def extendable_processes(path: str | Path, names: Iterable[str]) -> list[str]:
    """Those of the processes that have a final state."""
    with closing(RunReader(path)) as reader:
        return reader.read(lambda file: [name for name in names if has_final(file[name])])


def record_of(path: Path, file: h5py.File) -> RunRecord:
    """The current content of an open file."""
    about = vars(read_header(file))
    processes = {name: _process_record(file[name]) for name in about["processes"]}
    return RunRecord(path, **(about | {"processes": processes}), perturbed=read_perturbed(file))


def _process_record(group: h5py.Group) -> ProcessRecord:
    if group.attrs["flow"] == FLOW_OF_MEASURE:
        return measure_record(group)
    snapshots, position = group["snapshots"], group["snapshots/position"]
    rows, is_point = len(group["observables/time"]), position.shape[1] == 1
    s = len(snapshots["time"])  # snapshots with a time are complete
    observables = read_observables(group, rows)
    if group.attrs["flow"] == REFERENCE_FLOW:
        observables.setdefault("iterate_loss", np.full(rows, np.nan))
    return ProcessRecord(
        **{key: clean(group.attrs[key]) for key in ("flow", "status", "message")},
        observables=observables,
        snapshot_times=snapshots["time"][:],
        first=position[0] if s else None,
        last=position[s - 1] if s else None,
        trajectory=position[:s, 0] if is_point else None,
        parameter_names=tuple(snapshots["parameter"].asstr()[:]),
        fluctuations=snapshots["fluctuation"][:s, ..., 0, :] if is_point else None,
    )


def versions_json(packages: Mapping[str, str]) -> str:
    """Versions of packages in the format of the attribute `versions_json`."""
    return json.dumps({**packages, "hdf5": h5py.version.hdf5_version}, sort_keys=True)
