"""The group ``final`` of a process: where it stood at its last step, from which a run that had ended can be extended.

Its numbers come before those measured at that step, so that the step is measured once more, as one among others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from meanfield.study.storage.checkpoint import Position
from meanfield.study.storage.schema import Floats, RunFileError
from meanfield.study.storage.validation import require_plain_numbers
from solvers.state import State

FINAL = "final"
ARRAYS = ("values", "history", "vectors")
# of netCDF, for a dimension that has a length and no coordinates
_NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable.{:10}"


def write_final(process: h5py.Group, position: Position) -> None:
    """Keep where a process stands; arrays flat, so that netCDF's readers see one dimension for each."""
    state = position.state
    named = {"values": state.values, "history": state.history, "vectors": position.vectors}
    arrays = {name: np.asarray(array) for name, array in named.items() if array is not None}
    clocks = ("solver_time",)
    readings = {key: value for key, value in position.readings.items() if key not in clocks}
    about = {
        "step": state.step,
        "dissipated": float(state.dissipated),
        "report": {name: float(value) for name, value in state.report.items()},
        "message": position.message,
        "readings": readings,
        "shapes": {name: array.shape for name, array in arrays.items()},
    }
    if state.scheme:
        about["scheme"] = dict(state.scheme)
    group = process.create_group(FINAL)
    group.attrs["state_json"] = json.dumps(about)
    group.attrs["wall_time"] = position.wall_time
    group.attrs.update({key: position.readings[key] for key in clocks if key in position.readings})
    for name, array in arrays.items():
        dimension = group.create_dataset(f"{name}_entry", shape=(array.size,), dtype=">f4")
        dimension.make_scale(_NO_VARIABLE.format(array.size))
        dataset = group.create_dataset(name, data=array.reshape(-1))
        dataset.dims[0].attach_scale(dimension)


def has_final(process: h5py.Group) -> bool:
    """Whether a process can be extended."""
    return FINAL in process


def read_final(process: h5py.Group) -> Position:
    """Where a process stood.

    Raises
    ------
    RunFileError
        It does not say, or not as a run writes it.
    """
    if not has_final(process):
        raise RunFileError(f"{process.name} must have a final state, got none")
    group = process[FINAL]
    try:
        about = json.loads(group.attrs["state_json"])
        arrays = {name: _array(group, name, shape) for name, shape in about["shapes"].items()}
        clocks = {key: float(group.attrs[key]) for key in ("solver_time",) if key in group.attrs}
        return _position(about, arrays, clocks, float(group.attrs["wall_time"]))
    except RunFileError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise RunFileError(
            f"{process.name}: its final state is not what a run writes ({error!r})"
        ) from error


def _position(
    about: dict[str, Any], arrays: Mapping[str, Floats], clocks: dict[str, float], wall_time: float
) -> Position:
    state = State(
        int(about["step"]),
        arrays["values"],
        float(about["dissipated"]),
        arrays.get("history"),
        {str(name): float(value) for name, value in about["report"].items()},
        scheme={str(k): float(v) for k, v in about.get("scheme", {}).items()},
    )
    readings = {str(name): value for name, value in about["readings"].items()} | clocks
    if not all(isinstance(value, int | float) for value in readings.values()):
        raise ValueError("readings must be numbers")
    return Position(state, str(about["message"]), arrays.get("vectors"), readings, wall_time)


def _array(group: h5py.Group, name: str, shape: list[int]) -> Floats:
    if name not in ARRAYS:
        raise ValueError(f"arrays must be {', '.join(ARRAYS)}, got {name}")
    require_plain_numbers(group, name)
    return np.ascontiguousarray(group[name][:].reshape(shape))
