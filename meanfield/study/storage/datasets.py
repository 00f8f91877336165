"""The groups and variables of a run's file: creation, growth, truncation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from meanfield.study.storage.measure_schema import TIME as TIME_OF_MEASURE
from meanfield.study.storage.measure_schema import MeasureLayout
from meanfield.study.storage.observables import NEWER
from meanfield.study.storage.schema import (
    COMPARISONS,
    SCHEMA,
    SCHEMA_VERSION,
    TIME,
    Floats,
    ProcessLayout,
    RunFileError,
    RunLayout,
)

CHUNK_BYTES = 2**20
SMALL_CHUNK_BYTES = 2**14  # snapshots smaller than this share a chunk
NOT_STARTED = {"status": "running", "message": "not started"}


def create(file: h5py.File, layout: RunLayout, config: str, attributes: Mapping[str, Any]) -> None:
    """Create everything except the comparison, without rows."""
    file.attrs.update(
        {
            "Conventions": "CF-1.11",
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "status": "running",
            "message": "",
            "created": now(),
            **attributes,
        }
    )
    file.create_dataset("config", data=config, dtype=h5py.string_dtype())
    for name, process in layout.processes.items():
        group = file.create_group(name)
        group.attrs.update({"flow": process.flow, **NOT_STARTED})
        _create_observables(group.create_group("observables"), layout, process)
        if process.measure is not None:
            _create_measures(group.create_group("snapshots"), layout, process.measure)
        elif not process.is_perturbed:
            _create_snapshots(group.create_group("snapshots"), layout, process)


def create_comparison(
    file: h5py.File,
    times: NDArray[np.float64],
    distances: Mapping[str, Mapping[str, NDArray[np.float64]]],
    attributes: Mapping[str, Any],
) -> None:
    """Create the distances to the reference, ``distances[process][comparison]`` of shape (s,)."""
    group = file.create_group("comparison")
    group.attrs.update(attributes)
    _scale(group, "process", np.array(list(distances), dtype=object), ("process", "1"))
    _scale(group, "time", times, TIME)
    for name, about in COMPARISONS.items():
        values = np.array([d[name] for d in distances.values()]).reshape(-1, len(times))
        _variable(group, name, ("process", "time"), about, data=values)


def now() -> str:
    """The current time in the format of the attribute `created`."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _create_observables(group: h5py.Group, layout: RunLayout, process: ProcessLayout) -> None:
    _scale(group, "time", None, TIME if process.measure is None else TIME_OF_MEASURE)
    for name, about in process.observables.items():
        _variable(group, name, ("time",), about, chunks=(1024,))
    if process.spectrum:
        _scale(group, "eig", np.arange(1, layout.eigenvalues + 1), ("rank of eigenvalue", "1"))
    chunks = (1024, layout.eigenvalues)
    for name, about in process.spectrum.items():
        _variable(group, name, ("time", "eig"), about, chunks=chunks)


def _create_snapshots(group: h5py.Group, layout: RunLayout, process: ProcessLayout) -> None:
    modes = process.modes
    n, names = layout.particles, layout.parameter_names
    _scale(group, "time", None, TIME)
    _scale(group, "particle", np.arange(n), ("index of particle", "1"))
    _scale(group, "parameter", np.array(names, dtype=object), ("coordinate of particle", "1"))
    row_bytes = len(names) * np.dtype(layout.dtype).itemsize
    rows = int(np.clip(CHUNK_BYTES // row_bytes, 1, n))
    chunk: tuple[int, ...] = (snapshots_per_chunk(layout), rows, len(names))
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


def _create_measures(group: h5py.Group, layout: RunLayout, measure: MeasureLayout) -> None:
    _scale(group, "time", None, TIME_OF_MEASURE)
    for name, (values, about) in measure.scales().items():
        _scale(group, name, values, about)
    if "parameter" not in group:
        names = np.array(measure.parameter_names, dtype=object)
        _scale(group, "parameter", names, ("coordinate", "1"))
    constants = measure.constants()
    if any("bound" in dims for _, dims, _ in constants.values()):
        _scale(group, "bound", np.arange(2), ("lower or upper edge", "1"))
    for name, (values, dims, about) in constants.items():
        _variable(group, name, dims, about, data=values)
        if name.endswith("_bounds"):
            group[name.removesuffix("_bounds")].attrs["bounds"] = name
    shape = measure.shape
    row_bytes = math.prod(shape[1:]) * np.dtype(layout.dtype).itemsize
    rows = int(np.clip(CHUNK_BYTES // row_bytes, 1, shape[0]))
    options: dict[str, Any] = {"dtype": layout.dtype}
    options["chunks"] = (snapshots_per_chunk(layout), rows, *shape[1:])
    if layout.compression == "gzip":
        options |= {"compression": "gzip", "shuffle": True}
    _variable(group, measure.variable, ("time", *measure.scales()), measure.about, **options)


def snapshots_per_chunk(layout: RunLayout) -> int:
    """Number of snapshots per chunk."""
    values = layout.particles * len(layout.parameter_names)
    one = values * np.dtype(layout.dtype).itemsize
    return int(np.clip(SMALL_CHUNK_BYTES // one, 1, layout.snapshots))


def require_layout(file: h5py.File, layout: RunLayout) -> None:
    """Raise `RunFileError` unless a run of this layout can continue in the file; newer observables may be missing."""
    shape = layout.particles, len(layout.parameter_names)
    for name, process in layout.processes.items():
        modes = () if process.modes is None else (process.modes,)
        expected: dict[str, tuple[int, ...]] = dict.fromkeys(("time", *process.observables), ())
        expected |= dict.fromkeys(process.spectrum, (layout.eigenvalues,))
        expected = {f"observables/{key}": value for key, value in expected.items()}
        snapshots = {"time": (), "position": shape, "fluctuation": (*modes, *shape)}
        if process.measure is not None:
            snapshots = {"time": (), process.measure.variable: process.measure.shape}
        if not process.is_perturbed:
            expected |= {f"snapshots/{key}": value for key, value in snapshots.items()}
        for key, rest in expected.items():
            dataset = file[name].get(key)
            leaf = key.rpartition("/")[2]
            if dataset is None and leaf in NEWER:
                continue
            if dataset is None or dataset.shape[1:] != rest or dataset.maxshape[:1] != (None,):
                raise RunFileError(
                    f"{file.filename}: {name}/{key} must be as its run writes it, got another shape"
                )


def append(dataset: h5py.Dataset, row: int, values: NDArray[Any]) -> None:
    """Append rows, of its shape, after the first `row` ones; h5py's low-level API takes a quarter of the time of its slices."""
    rows = (len(values), *dataset.id.shape[1:])
    dataset.id.set_extent((row + len(values), *rows[1:]))
    there = dataset.id.get_space()
    there.select_hyperslab((row, *(0 for _ in rows[1:])), rows)
    dataset.id.write(h5py.h5s.create_simple(values.shape), there, np.ascontiguousarray(values))


def _describe(dataset: h5py.Dataset, about: tuple[str, str]) -> None:
    dataset.attrs.update({"long_name": about[0], "units": about[1]})
    if dataset.dtype.kind == "f":
        dataset.attrs["_FillValue"] = dataset.dtype.type(np.nan)


def _scale(
    group: h5py.Group, name: str, values: NDArray[Any] | None, about: tuple[str, str]
) -> None:
    """A dimension scale: with its values, or extensible without."""
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
    """A variable over scales of its group; without data it is extensible along the first."""
    if data is None:
        shape = tuple(len(group[dim]) for dim in dims)
        options |= {"shape": shape, "maxshape": (None, *shape[1:])}
    dataset = group.create_dataset(name, data=data, dtype=dtype, fillvalue=np.nan, **options)
    _describe(dataset, about)
    for axis, dim in enumerate(dims):
        dataset.dims[axis].attach_scale(group[dim])


def shorten(group: h5py.Group, rows: int) -> None:
    """Keep the first rows of observables or snapshots.

    Raises
    ------
    ValueError
        There are fewer.
    """
    for dataset in group.values():
        if dataset.maxshape[:1] != (None,):
            continue
        if len(dataset) < rows:
            raise ValueError(f"{dataset.name} must have at least {rows} rows, got {len(dataset)}")
        dataset.resize(rows, axis=0)
