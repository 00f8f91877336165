"""The files of a width study: ``study.h5``, and intermediate results.

``study.h5`` is laid out like netCDF4, ``xarray.open_dataset("study.h5", engine="h5netcdf")`` opens it::

    /   Conventions, schema, schema_version, created, learning_rate, start, reference_width, versions_json, warnings_json, …
        pair, width, seed, time, estimate               dimension scales; estimate = slope, lower, upper
        process[pair], reference[pair]                  whose distance to which process of the reference
        METRICS[pair, width, seed, time]                distances
        floor_<metric>[pair, width, time]               the same of two independent samples of the reference
        slope_<metric>[pair, time, estimate]            d log distance / d log N with its 95% interval, or the range of few seeds
        status[width, seed]                             of the runs
        config                                          TOML of the repeated run
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from meanfield.study.storage.files.atomic import write_atomically
from meanfield.study.storage.files.fault_tolerant import open_regular
from meanfield.study.storage.reader import attributes_of
from meanfield.study.storage.schema import TIME, Floats, RunFileError
from meanfield.study.storage.study_record import (
    LEAST_FOR_INTERVAL,
    METRICS,
    STUDY_NAME,
    Pair,
    StudyRecord,
    ends_of_slopes,
)
from meanfield.study.storage.validation import require_plain_table

SCHEMA, SCHEMA_VERSION = "meanfield-width-study", 1
DIMS = ("pair", "width", "seed", "time")
FLOOR_DIMS = ("pair", "width", "time")
SLOPE_DIMS = ("pair", "time", "estimate")
ESTIMATE = ("slope", "lower", "upper")


# --- intermediate results of one run -------------------------------------------------------------


def save_arrays(path: Path, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Save arrays with the key of their sources."""
    content = io.BytesIO()
    named: dict[str, Any] = {**arrays, "key": np.array(key)}
    np.savez(content, **named)
    write_atomically(path, content.getvalue())


def load_arrays(path: Path, key: str) -> dict[str, NDArray[Any]] | None:
    """Arrays written by `save_arrays`; None if the file is missing, damaged, or has another key."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if str(archive["key"]) != key:
                return None
            return {name: archive[name] for name in archive.files if name != "key"}
    except (OSError, KeyError, ValueError, EOFError, TypeError, zipfile.BadZipFile):
        return None


class Positions:
    """Centers of the particles in the file of a run, read one snapshot at a time."""

    def __init__(self, path: Path) -> None:
        self._raw = _opened(path)
        self._file = h5py.File(self._raw, "r")
        self._rows: dict[str, dict[float, int]] = {}

    def __enter__(self) -> Positions:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        self._raw.close()

    @property
    def created(self) -> str:
        """The start time of the run."""
        return str(self._file.attrs["created"])

    def is_complete(self, process: str) -> bool:
        """Whether a process is complete."""
        return bool(self._file[process].attrs["status"] == "complete")

    def at(self, process: str, time: float) -> Floats | None:
        """Positions (N, D) of a process at a time, None if there is no snapshot."""
        group = self._file[f"{process}/snapshots"]
        if process not in self._rows:
            self._rows[process] = {float(t): i for i, t in enumerate(group["time"][:])}
        row = self._rows[process].get(float(time))
        return None if row is None else np.asarray(group["position"][row])

    def free_energy(self, process: str, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """The free energy at these times, NaN where it was not measured."""
        group = self._file[f"{process}/observables"]
        measured = dict(zip(group["time"][:], group["free_energy"][:], strict=True))
        return np.array([measured.get(time, np.nan) for time in times])


def _opened(path: Path) -> Any:
    """Open a file that does not change without HDF5's locks, which not every file system supports."""
    return open(path, "rb", buffering=0, opener=open_regular)


# --- the study -----------------------------------------------------------------------------------


def write_study(record: StudyRecord) -> None:
    """Write the record to its path atomically."""
    content = io.BytesIO()
    with h5py.File(content, "w", libver=("v110", "v110"), track_order=True) as file:
        attributes = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **record.attributes}
        attributes["slope_ends"] = record.slope_ends
        attributes["warnings_json"] = json.dumps(record.warnings, ensure_ascii=False)
        file.attrs.update({"Conventions": "CF-1.11", **attributes})
        file.create_dataset("config", data=record.config, dtype=h5py.string_dtype())
        _write_scales(file, record)
        labels = ("process of the run", "1"), ("process of the reference", "1")
        for name, about, values in zip(
            ("process", "reference"), labels, zip(*record.pairs, strict=True), strict=True
        ):
            _variable(file, name, ("pair",), about, values)
        _variable(file, "status", ("width", "seed"), ("how the run ended", "1"), record.statuses)
        for name, about in METRICS.items():
            _variable(file, name, DIMS, about, record.distances[name])
            ends = f", with the ends of its {record.slope_ends}" if record.slope_ends else ""
            slope = (f"d log {name} / d log width{ends}", "1")
            _variable(file, f"slope_{name}", SLOPE_DIMS, slope, record.slopes[name])
        for name, floor in record.floors.items():
            about = (f"{name} of two independent samples of the reference", "1")
            _variable(file, f"floor_{name}", FLOOR_DIMS, about, floor)
    write_atomically(record.path, content.getvalue())


def _write_scales(file: h5py.File, record: StudyRecord) -> None:
    pairs = [f"{pair.process} to {pair.reference}" for pair in record.pairs]
    scales = {
        "pair": (pairs, ("pair of processes", "1")),
        "width": (record.widths, ("number of particles", "1")),
        "seed": (record.seeds, ("seed of the study", "1")),
        "time": (record.times, TIME),
        "estimate": (ESTIMATE, (f"slope, and the ends of its {record.slope_ends}", "1")),
    }
    for name, (values, about) in scales.items():
        _variable(file, name, (), about, values)
        file[name].make_scale(name)


def _variable(
    file: h5py.File, name: str, dims: tuple[str, ...], about: tuple[str, str], values: Any
) -> None:
    values = np.asarray(values)
    if values.dtype.kind in "UO":
        dataset = file.create_dataset(name, data=values.astype(object), dtype=h5py.string_dtype())
    else:
        fill = np.nan if values.dtype.kind == "f" else None
        dataset = file.create_dataset(name, data=values, fillvalue=fill)
    dataset.attrs.update({"long_name": about[0], "units": about[1]})
    if dataset.dtype.kind == "f":
        dataset.attrs["_FillValue"] = np.nan
    for axis, dim in enumerate(dims):
        dataset.dims[axis].attach_scale(file[dim])


def is_study(path: str | Path) -> bool:
    """Whether it is the folder of a width study, or its ``study.h5``."""
    path = Path(path)
    if path.is_dir():
        return (path / STUDY_NAME).is_file()
    if not path.is_file():
        return False
    try:
        with _opened(path) as raw, h5py.File(raw, "r") as file:
            schema = file.attrs.get("schema")
            return isinstance(schema, str) and schema == SCHEMA
    except Exception:  # HDF5 and h5py raise nearly anything over a damaged file
        return False


def read_study(path: str | Path) -> StudyRecord:
    """Read a width study.

    Parameters
    ----------
    path : path
        Its folder, or its ``study.h5``.

    Raises
    ------
    RunFileError
        There is no such file, it is not HDF5, or it is not a width study of this schema.
    """
    path = Path(path)
    path = path / STUDY_NAME if path.is_dir() else path
    if not path.is_file():
        raise RunFileError(f"{path}: there is no such file")
    try:
        with _opened(path) as raw, h5py.File(raw, "r") as file:
            schema = file.attrs.get("schema"), file.attrs.get("schema_version")
            if schema != (SCHEMA, SCHEMA_VERSION):
                found, needed = f"{schema[0]} {schema[1]}", f"{SCHEMA} {SCHEMA_VERSION}"
                raise RunFileError(f"{path}: the schema must be {needed}, got {found}")
            require_plain_table(file)
            return _record(path, file)
    except Exception as error:  # HDF5 and h5py raise nearly anything over a damaged file
        if isinstance(error, RunFileError) and str(error).startswith(str(path)):
            raise
        raise RunFileError(
            f"{path} must be a width study, got a file that cannot be read ({error})"
        ) from error


def _record(path: Path, file: h5py.File) -> StudyRecord:
    attributes = attributes_of(file)
    pairs = zip(file["process"].asstr()[:], file["reference"].asstr()[:], strict=True)
    floors = [name.removeprefix("floor_") for name in file if name.startswith("floor_")]
    slopes = {name: file[f"slope_{name}"][:] for name in METRICS}
    if attributes.get("slope_ends") != ends_of_slopes(len(file["seed"])) and (
        len(file["seed"]) < LEAST_FOR_INTERVAL
    ):
        for each in slopes.values():  # version 0.1 wrote bootstrap intervals for few seeds too
            each[..., 1:] = np.nan
    return StudyRecord(
        path=path,
        config=file["config"].asstr()[()],
        widths=file["width"][:],
        seeds=file["seed"][:],
        times=file["time"][:],
        pairs=tuple(Pair(*pair) for pair in pairs),
        distances={name: file[name][:] for name in METRICS},
        floors={name: file[f"floor_{name}"][:] for name in floors},
        slopes=slopes,
        statuses=file["status"].asstr()[:],
        warnings=tuple(json.loads(attributes.pop("warnings_json"))),
        attributes=attributes,
    )
