"""Validation of an open HDF5 file as that of a run, before anything else is read.

HDF5 follows links into other files, takes data from any file by name, and invents data that were never written. A run's file has
none of this: its groups contain datasets and no links, and all declared data are in the file itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from meanfield.study.config.limits import LONGEST_NAME, MAX_CONFIG, OWN_NAMES
from meanfield.study.config.toml import parse
from meanfield.study.storage import measure_schema
from meanfield.study.storage.observables import EVERYWHERE, NEWER
from meanfield.study.storage.schema import (
    COMPARISONS,
    PERTURBED,
    PERTURBED_OBSERVABLES,
    STATUSES,
    RunFileError,
)
from meanfield.study.storage.text import clean

MAX_NAMES = 10_000  # objects in a group
MAX_INFLATION = 1032  # the largest compression ratio of deflate

# Nothing that could be a path, markup, mathematics or a terminal's control sequence.
_LETTER = r"[^\x00-\x1f\x7f-\x9f\[\]$\\/]"
_NAME = re.compile(rf"(?!\.){_LETTER}{{1,{LONGEST_NAME}}}")
_PARAMETER = re.compile(
    _NAME.pattern + r"(?:\[\d{1,9}(?:,\d{1,9}){0,9}\])?"
)  # W[1,2] is an entry of W
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE}
_TABLES = ("task", "network", "risk", "landscape", "measure", "output", "processes")


def require_plain(file: h5py.File) -> None:
    """Raise `RunFileError`, without the file's name, unless everything that a reader uses is as a run writes it.

    Checked are the links of groups, the storage, type and shape of datasets, and the attributes of the run.
    """
    names = _members(file, "the file")
    _require_attributes(file, {"status": _is_status, "message": _is_text, "created": _is_text_or_missing,
                               "seed": _is_seed, "learning_rate": _is_positive})  # fmt: skip
    _require_config(file)
    shapes = {_require_process(file, n) for n in names if n not in OWN_NAMES}
    if len(shapes) != 1:
        raise RunFileError(
            "the processes must be one or more with equally many particles, got others"
        )
    if "comparison" in names:
        group = _group(file, "comparison")
        _members(group, "comparison")
        strings, times = _strings(group, "process"), _numbers(group, "time", 1)
        for name in COMPARISONS:
            _require(_numbers(group, name, 2) == (*strings, *times), f"comparison/{name}: shape")


def require_plain_table(file: h5py.File) -> None:
    """Raise `RunFileError` unless the file has only datasets stored in it."""
    for name in _members(file, "the file"):
        _dataset(file, name)


def require_plain_numbers(group: h5py.Group, name: str) -> None:
    """Raise `RunFileError` unless a member of a group is a list of floating-point numbers that are in the file."""
    _numbers(group, name, 1)


# --- groups --------------------------------------------------------------------------------------


def _members(group: h5py.Group, where: str) -> list[str]:
    """The names in a group, after checking that none is a link."""
    _require(len(group) <= MAX_NAMES, f"{where} has {len(group)} members")
    links = group.id.links
    names = []
    for name in group.id:
        kind = links.get_info(name).type
        _require(
            kind == h5py.h5l.TYPE_HARD, f"{where} has a link in it, {clean(_decode(name)):.100}"
        )
        names.append(_decode(name))
    return names


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _group(parent: h5py.Group, name: str) -> h5py.Group:
    group = parent.get(name)
    if not isinstance(group, h5py.Group):
        raise RunFileError(f"{name} is not a group")
    return group


def _require_process(file: h5py.File, name: str) -> tuple[int, ...]:
    """The shape (N, D) of a process's particles."""
    _require(_NAME.fullmatch(name) is not None, f"{clean(name)!a:.50} is no name of a process")
    group = _group(file, name)
    members = _members(group, name)
    _require_attributes(group, dict.fromkeys(("flow", "status", "message"), _is_text))
    if group.attrs["flow"] == measure_schema.FLOW:
        return _require_measure(group, name)
    _require_observables(_group(group, "observables"), name)
    if PERTURBED in members:
        _require_perturbed(_group(group, PERTURBED), f"{name}/{PERTURBED}")
    return _require_snapshots(_group(group, "snapshots"), name)


def _require_observables(group: h5py.Group, process: str) -> None:
    names = set(_members(group, f"{process}/observables"))
    missing = {"time", "hessian_eigs", *EVERYWHERE} - NEWER - names
    _require(not missing, f"{process}/observables has no {', '.join(sorted(missing))}")
    (rows,) = _numbers(group, "time", 1)
    for name in names - {"time", "eig"}:
        _require(clean(name) == name, f"{process}/observables has a member with a strange name")
        shape = _numbers(group, name, 2 if name.startswith("hessian_") else 1)
        _require(shape[0] >= rows, f"{process}/observables/{name} is too short")


def _require_measure(group: h5py.Group, process: str) -> tuple[int, ...]:
    """That of a measure, of the shape of its snapshots."""
    observables, snapshots = (_group(group, name) for name in ("observables", "snapshots"))
    _members(observables, f"{process}/observables")
    (rows,) = _numbers(observables, "time", 1)
    for name in measure_schema.OBSERVABLES:
        (length,) = _numbers(observables, name, 1)
        _require(length >= rows, f"{process}/observables/{name} is too short")
    _members(snapshots, f"{process}/snapshots")
    (count,) = _numbers(snapshots, "time", 1)
    _strings(snapshots, "parameter", _PARAMETER)
    growing, constant = measure_schema.names_of_snapshots(snapshots)
    ((name, dimensions),) = growing.items()
    shape = _numbers(snapshots, name, dimensions)
    _require(shape[0] >= count and min(shape[1:]) > 0, f"{process}/snapshots: shape")
    sizes = [_numbers(snapshots, one, number) for one, number in constant.items()]
    lengths = [size[0] for size in sizes if len(size) == 1 or size[1] == 2]
    fits = len(lengths) == len(sizes) and {*lengths} <= {*shape[1:]}
    _require(fits, f"{process}/snapshots: shape")
    return shape[1:]


def _require_perturbed(group: h5py.Group, process: str) -> None:
    _members(group, process)
    _require_attributes(group, dict.fromkeys(("flow", "status", "message"), _is_text))
    observables = _group(group, "observables")
    _members(observables, f"{process}/observables")
    (rows,) = _numbers(observables, "time", 1)
    for name in PERTURBED_OBSERVABLES:
        (length,) = _numbers(observables, name, 1)
        _require(length >= rows, f"{process}/observables/{name} is too short")


def _require_snapshots(group: h5py.Group, process: str) -> tuple[int, ...]:
    _members(group, f"{process}/snapshots")
    (count,), (n,) = _numbers(group, "time", 1), _numbers(group, "weight", 1)
    shape = (n, *_strings(group, "parameter", _PARAMETER))
    position, fluctuation = _numbers(group, "position", 3), _numbers(group, "fluctuation", 3, 4)
    for found in (position, fluctuation):
        fits = found[0] >= count and found[-2:] == shape and min(shape) > 0
        _require(fits, f"{process}/snapshots: shape")
    return shape


# --- datasets ------------------------------------------------------------------------------------


def _dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    dataset = group.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise RunFileError(f"{name} is not a dataset")
    settings = dataset.id.get_create_plist()
    _require(settings.get_layout() != h5py.h5d.VIRTUAL, f"{name} is put together from other files")
    _require(settings.get_external_count() == 0, f"{name} is stored in another file")
    filters = {settings.get_filter(i)[0] for i in range(settings.get_nfilters())}
    _require(filters <= _FILTERS, f"{name} is compressed by a filter that runs do not use")
    _require(dataset.shape is not None, f"{name} has no shape")
    stored = _stored_bytes(dataset)
    most = stored * (MAX_INFLATION if h5py.h5z.FILTER_DEFLATE in filters else 1)
    declared = math.prod(dataset.shape) * dataset.id.get_type().get_size()
    _require(declared <= most, f"{name} declares {declared} bytes, of which {stored} are there")
    if settings.get_layout() == h5py.h5d.CHUNKED and stored:
        chunk = math.prod(dataset.chunks) * dataset.dtype.itemsize
        _require(chunk <= most, f"{name} has chunks of {chunk} bytes, it has {stored}")
    return dataset


def _stored_bytes(dataset: h5py.Dataset) -> int:
    """The number of its bytes in the file; that of the whole file if the writer died before it was recorded."""
    available: int = dataset.file.id.get_filesize()
    try:
        stored: int = dataset.id.get_storage_size()
    except RuntimeError:
        return available
    _require(stored <= available, f"{dataset.name} is larger than its file")
    return stored


def _numbers(group: h5py.Group, name: str, *dimensions: int) -> tuple[int, ...]:
    """The shape of a dataset of floating-point numbers."""
    dataset = _dataset(group, name)
    dtype = dataset.dtype
    _require(dtype.kind == "f" and dtype.shape == (), f"{name} is of type {dtype!s:.50}")
    _require(dataset.ndim in dimensions, f"{name} has {dataset.ndim} dimensions")
    shape: tuple[int, ...] = dataset.shape
    return shape


def _strings(group: h5py.Group, name: str, allowed: re.Pattern[str] = _NAME) -> tuple[int]:
    """The length of a list of short names."""
    dataset = _dataset(group, name)
    _require(
        h5py.check_string_dtype(dataset.dtype) is not None and dataset.ndim == 1,
        f"{name} are not strings",
    )
    for text in dataset.asstr()[:]:
        is_name = allowed.fullmatch(text) is not None
        _require(is_name, f"{name}: {text!a:.50} is not a name")
    return (len(dataset),)


def _require_config(file: h5py.File) -> None:
    dataset = _dataset(file, "config")
    is_text = h5py.check_string_dtype(dataset.dtype) is not None and dataset.shape == ()
    text = dataset.asstr()[()] if is_text else None
    if text is None or len(text) > MAX_CONFIG:
        raise RunFileError("config is not a text")
    try:
        tables = parse(text)
    except ValueError:  # it is only displayed
        return
    strange = [name for name in _TABLES if not isinstance(tables.get(name, {}), dict)]
    _require(not strange, f"config: {', '.join(strange)} is not a table")


# --- attributes ----------------------------------------------------------------------------------


def _require_attributes(owner: h5py.Group, allowed: Mapping[str, Any]) -> None:
    for name, is_good in allowed.items():
        value = owner.attrs.get(name)
        where = f"{owner.name}: " if owner.name != "/" else ""
        _require(is_good(value), f"{where}the attribute {name} is missing or strange")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_CONFIG


def _is_status(value: object) -> bool:
    return isinstance(value, str) and value in STATUSES


def _is_text_or_missing(value: object) -> bool:
    return value is None or _is_text(value)


def _is_seed(value: object) -> bool:
    return _is_text_or_missing(value) or isinstance(value, np.integer)


def _is_positive(value: object) -> bool:
    return isinstance(value, float | np.floating) and bool(np.isfinite(value) and value > 0)


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise RunFileError(otherwise)
