"""Views of one process of a run: observables read at once, snapshots one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from meanfield.study.storage.reader import ProcessHeader, RunReader
from meanfield.study.storage.schema import Floats
from solvers.measures.representations import Measure

if TYPE_CHECKING:
    import pandas

EXTRA = 'pip install "meanfield-eos[xarray]"'

_T = TypeVar("_T")


class Observables(Mapping[str, NDArray[np.float64]]):
    """The observables of one process: (t,) arrays by name, ``hessian_eigs`` (t, k); NaN where not measured."""

    def __init__(self, values: Mapping[str, NDArray[np.float64]]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return look_up(self._values, name, "observable")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<{len(self['time'])} rows of {', '.join(self)}>"

    def to_dataframe(self) -> pandas.DataFrame:
        """A column per observable (``hessian_eigs_1`` is the largest), over the index `time`.

        Raises
        ------
        ImportError
            pandas is not installed: it comes with the extra `xarray`.
        """
        columns = _columns(self)
        return _import_pandas().DataFrame(columns).set_index("time")


class AllObservables(Mapping[str, Observables]):
    """The observables of every process."""

    def __init__(self, processes: Mapping[str, Process]) -> None:
        self._processes = processes

    def __getitem__(self, process: str) -> Observables:
        return look_up(self._processes, process, "process").observables

    def __iter__(self) -> Iterator[str]:
        return iter(self._processes)

    def __len__(self) -> int:
        return len(self._processes)

    def __repr__(self) -> str:
        return f"<observables of {', '.join(self)}>"

    def to_dataframe(self) -> pandas.DataFrame:
        """All processes in one table with the index (`process`, `time`); NaN in columns that a process lacks.

        Raises
        ------
        ImportError
            pandas is not installed: it comes with the extra `xarray`.
        """
        pd = _import_pandas()
        tables = [_columns(observables) for observables in self.values()]
        rows = [len(table["time"]) for table in tables]
        columns = {
            name: np.concatenate(
                [table.get(name, np.full(n, np.nan)) for table, n in zip(tables, rows, strict=True)]
            )
            for name in dict.fromkeys(name for table in tables for name in table)
        }
        index = [np.repeat(np.array(list(self)), rows), columns.pop("time")]
        return pd.DataFrame(
            columns, index=pd.MultiIndex.from_arrays(index, names=["process", "time"])
        )


@dataclass(frozen=True, eq=False, repr=False)
class Snapshot:
    """The particles at one time.

    `position` (N, D) is the center, `fluctuation` (N, D) or (modes, N, D), `weight` (N,) the particles' masses. Of a run of a
    measure, `measure` is the `solvers.Grid`, `solvers.Quantiles` or `solvers.Particles`, and position and weight are those of
    its cells.
    """

    time: float
    position: Floats
    fluctuation: Floats
    weight: NDArray[np.float64]
    measure: Measure | None = None

    def __repr__(self) -> str:
        if self.measure is not None:
            return f"<snapshot at {self.time:g}: {self.measure!r}>"
        shape = " × ".join(map(str, self.fluctuation.shape))
        return f"<snapshot at {self.time:g}: fluctuation {shape}>"


class Snapshots(Sequence[Snapshot]):
    """The snapshots of a process; ``[i]`` reads one of them from the file, a slice reads none yet."""

    def __init__(
        self, reader: RunReader, process: str, times: NDArray[np.float64], rows: range
    ) -> None:
        self._reader, self._process, self._times, self._rows = reader, process, times, rows

    @property
    def times(self) -> NDArray[np.float64]:
        """When they were taken (s,), in iterations of gradient descent, or in the time of a measure's flow."""
        return self._times[list(self._rows)]

    def at(self, time: float) -> Snapshot:
        """The snapshot at a time.

        Raises
        ------
        ValueError
            There is no snapshot at this time.
        """
        times = self.times
        found = np.flatnonzero(times == time)
        if not len(found):
            raise ValueError(f"time must be one of {_listed(times)}, got {time:g}")
        return self[int(found[0])]

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Snapshot: ...
    @overload
    def __getitem__(self, index: slice) -> Snapshots: ...
    def __getitem__(self, index: int | slice) -> Snapshot | Snapshots:
        if isinstance(index, slice):
            return Snapshots(self._reader, self._process, self._times, self._rows[index])
        try:
            row = self._rows[index]
        except IndexError:
            raise IndexError(f"index must be within {len(self)} snapshots, got {index}") from None
        return Snapshot(float(self._times[row]), *self._reader.snapshot(self._process, row))

    def __repr__(self) -> str:
        return f"<{len(self)} snapshots at {_listed(self.times)}>"


class Process:
    """One process of a run, as of the opening or last refresh of the result.

    It has `name`, `flow`, `status`, `message`, `parameter_names`, `observables` and `snapshots`.
    """

    def __init__(self, reader: RunReader, name: str, header: ProcessHeader) -> None:
        self._reader, self._rows, self.name = reader, header.rows, name
        self.flow, self.status, self.message = header.flow, header.status, header.message
        self.parameter_names = header.parameter_names
        times = header.snapshot_times
        self.snapshots = Snapshots(reader, name, times, range(len(times)))

    @cached_property
    def observables(self) -> Observables:
        """The observables, read on first use."""
        return Observables(self._reader.observables(self.name, self._rows))

    def __repr__(self) -> str:
        return f"<process {self.name}: {self.status}, {self._rows} rows, {len(self.snapshots)} snapshots>"


def look_up(values: Mapping[str, _T], name: str, kind: str) -> _T:
    """A value by name; the KeyError lists the names."""
    if name not in values:
        raise KeyError(f"{kind} must be one of {', '.join(values)}, got {name}")
    return values[name]


def _columns(observables: Observables) -> dict[str, NDArray[np.float64]]:
    """All observables (t,), with one column for every eigenvalue."""
    columns: dict[str, NDArray[np.float64]] = {}
    for name, values in observables.items():
        if values.ndim == 1:
            columns[name] = values
        else:
            columns |= {f"{name}_{i + 1}": column for i, column in enumerate(values.T)}
    return columns


def _listed(times: NDArray[np.float64]) -> str:
    """0, 10, …, 400."""
    names = [f"{time:g}" for time in times]
    return ", ".join(names if len(names) <= 6 else [*names[:2], "…", names[-1]]) or "none"


def _import_pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError(f"to_dataframe needs pandas, of the extra `xarray`: {EXTRA}") from error
    return pandas
