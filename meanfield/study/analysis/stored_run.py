"""A run's file in Python, read on access."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from meanfield.study.analysis.comparison import Comparison, compare
from meanfield.study.analysis.evolution import evolution_of
from meanfield.study.analysis.process_views import EXTRA, AllObservables, Process, look_up
from meanfield.study.analysis.summary import summarize, summary_cell
from meanfield.study.analysis.words import titles_for
from meanfield.study.storage.files.lock import has_no_locks
from meanfield.study.storage.measure_schema import FLOW, PROCESS
from meanfield.study.storage.reader import RunReader
from meanfield.study.storage.schema import ProcessRecord, RunRecord, reference_in
from solvers._support.arguments import the_path
from solvers.jko.evolution import Evolution
from solvers.learning_rates import Schedule

if TYPE_CHECKING:
    import xarray

COLUMNS = {
    "process": "process",
    "flow": "flow",
    "status": "status",
    "time": "steps",
    "train_loss": "risk",
    "eta_sharpness": "η·sharpness",
    "center_distance": "center distance to GD",
}
COLUMNS_OF_MEASURE = {
    "process": "process",
    "flow": "flow",
    "status": "status",
    "time": "time",
    "energy": "energy",
    "balance": "balance",
}
NUMBERS = ("time", "train_loss", "eta_sharpness", "center_distance", "energy", "balance")


class StoredRun(Mapping[str, Process]):
    """The file of a run as a mapping from names to processes; the public class is `meanfield.study.result.Result`."""

    def __init__(self, reader: RunReader) -> None:
        self._reader = reader
        self.refresh()

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open ``run.h5``, ``run.h5.partial`` (an unfinished run), or the newer of them in a folder.

        Raises
        ------
        RunFileError
            There is no such file, it is not HDF5, it is damaged, another program wrote it, or a newer meanfield.
        """
        reader = RunReader(the_path("path", path))
        try:
            return cls(reader)
        except BaseException:
            reader.close()
            raise

    def refresh(self) -> Self:
        """Read the current progress of a run; returns itself. Processes obtained before are not updated."""
        header = self._reader.header()
        self.attributes, self.config = header.attributes, header.config
        self.comparison_times, self.comparison = header.comparison_times, header.comparison
        self._processes = {
            name: Process(self._reader, name, about) for name, about in header.processes.items()
        }
        return self

    def close(self) -> None:
        """Close the file; data already read remain available."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __getitem__(self, process: str) -> Process:
        return look_up(self._processes, process, "process")

    def __iter__(self) -> Iterator[str]:
        return iter(self._processes)

    def __len__(self) -> int:
        return len(self._processes)

    @property
    def path(self) -> Path:
        """The path of the file; that of a running run changes when it ends."""
        return self._reader.path

    @property
    def status(self) -> str:
        """Running, complete, diverged, interrupted or failed."""
        return str(self.attributes["status"])

    @property
    def message(self) -> str:
        """The reason of a failure; empty otherwise."""
        return str(self.attributes["message"])

    @property
    def reference(self) -> str | None:
        """The process that the others are compared with: gradient descent, or the configuration's `optimizer`; None without."""
        flows = {name: process.flow for name, process in self.items()}
        return reference_in(self.config, flows)

    @property
    def learning_rate(self) -> float:
        """The η of all processes; of one that changes the first, see `learning_rates`."""
        return float(self.attributes["learning_rate"])

    @property
    def learning_rates(self) -> Schedule:
        """η by step: ``learning_rates.at(times)``."""
        return self._record().learning_rates

    @property
    def observables(self) -> AllObservables:
        """``observables[process]``; ``observables.to_dataframe()`` is a table of all."""
        return AllObservables(self._processes)

    def to_xarray(self) -> xarray.DataTree:
        """The file as a tree of datasets: lazily for a finished run, as a snapshot in memory for a running one.

        Raises
        ------
        ImportError
            xarray or h5netcdf is not installed: they come with the extra `xarray`.
        """
        try:
            import h5netcdf  # noqa: F401
            import xarray
        except ImportError as error:
            raise ImportError(f"to_xarray needs the extra `xarray`: {EXTRA}") from error
        if self.status != "running":
            how: dict[str, Any] = {"driver_kwds": {"locking": False}} if has_no_locks() else {}
            return xarray.open_datatree(self.path, engine="h5netcdf", **how)

        def load(file: Any) -> xarray.DataTree:
            with xarray.open_datatree(file, engine="h5netcdf") as tree:
                return tree.load()

        return self._reader.read_raw(load)

    @property
    def evolution(self) -> Evolution:
        """A run of a measure as `solvers.evolve` returns it, with all measures in memory.

        Raises
        ------
        ValueError
            It is no run of a measure.
        """
        if PROCESS not in self or self[PROCESS].flow != FLOW:
            raise ValueError(
                f"{self.path} must be a run of a measure, got one of {', '.join(self)}"
            )
        return evolution_of(self[PROCESS], self.learning_rate)

    def compare(self) -> Comparison:
        """Compare every process with the optimizer, see `meanfield.study.analysis.comparison.compare`.

        Raises
        ------
        ValueError
            The run has no optimizer, or no other process.
        """
        return compare(replace(self._record(), perturbed=self._reader.perturbed()))

    def record(self) -> RunRecord:
        """All current observables, and the particles at start and end, as plain arrays in memory.

        Raises
        ------
        RunFileError
            The file cannot be read.
        """
        from meanfield.study.storage.writer import record_of

        return self._reader.read(lambda file: record_of(self.path, file))

    # --- display ---

    def __repr__(self) -> str:
        columns = self._columns()
        rows = [columns, *self._table()]
        widths = {key: max(len(row[key]) for row in rows) for key in columns}
        lines = [
            "  ".join(
                row[key].rjust(width) if key in NUMBERS else row[key].ljust(width)
                for key, width in widths.items()
            ).rstrip()
            for row in rows
        ]
        return "\n".join([self._title(), *lines])

    def _repr_html_(self) -> str:
        def cell(tag: str, key: str, text: str) -> str:
            side = "right" if key in NUMBERS else "left"
            return f'<{tag} style="text-align: {side}">{escape(text)}</{tag}>'

        columns = self._columns()
        head = "".join(cell("th", key, title) for key, title in columns.items())
        body = "".join(
            f"<tr>{''.join(cell('td', key, row[key]) for key in columns)}</tr>"
            for row in self._table()
        )
        caption = f'<caption style="text-align: left">{escape(self._title())}</caption>'
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _columns(self) -> dict[str, str]:
        record = self._record()
        return titles_for(record, COLUMNS_OF_MEASURE if record.is_of_measure else COLUMNS)

    def _title(self) -> str:
        about = f": {self.message}" if self.message else ""
        return f"{self.path}: {self.status}{about}, η = {self.learning_rate:g}"

    def _table(self) -> list[dict[str, str]]:
        """A row of text per process."""
        table = []
        for row in summarize(self._record()):
            process = self[row["process"]]
            cells = {key: summary_cell(key, row.get(key)) for key in self._columns()}
            started = process.message != "not started" or process._rows
            about = "" if process.status == "running" and started else process.message
            cells["status"] += f": {about}" if about else ""
            table.append(cells | {"flow": process.flow})
        return table

    def _record(self) -> RunRecord:
        """The part of the run that the summary needs."""
        processes = {
            name: ProcessRecord(
                process.flow,
                process.status,
                process.message,
                observables=dict(process.observables),
                snapshot_times=process.snapshots.times,
                first=None,
                last=None,
            )
            for name, process in self.items()
        }
        return RunRecord(
            self.path,
            self.attributes,
            self.config,
            processes,
            self.comparison_times,
            self.comparison,
        )
