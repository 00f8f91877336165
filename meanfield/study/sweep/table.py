"""What came of a sweep: its runs, and a table of their numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meanfield.study.analysis.comparison import METRICS, compare, spread_row
from meanfield.study.analysis.process_views import EXTRA, look_up
from meanfield.study.analysis.stored_run import StoredRun
from meanfield.study.analysis.summary import QUANTITIES, summarize
from meanfield.study.config.run_config import RunConfig
from meanfield.study.storage.schema import FILE_NAME, RunFileError, RunRecord
from meanfield.study.storage.writer import read_run
from meanfield.study.sweep.plan import SweepPlan

if TYPE_CHECKING:
    import pandas

MISSING = "missing"  # the status of a run that there is no file of


class SweepResult(Mapping[str, StoredRun]):
    """The result of a sweep: a mapping from the names of its runs, ``learning_rate=0.5,seed=1``, to the runs.

    Attributes
    ----------
    path : Path
        The folder, with a folder for each run.
    config : RunConfig
        What all runs share.
    over : dict
        The values that are combined, by key.
    rows : list of dict
        The table: a row for each process of each run with the values of the run, status and message, and the numbers of
        ``meanfield info`` and ``meanfield compare``; a run that failed or is missing has one row.
    failures : dict
        What went wrong, by the name of the run.
    stopped : str or None
        By what the sweep was stopped; calling it again goes on.

    Examples
    --------
    >>> config = meanfield.RunConfig(steps=5, task={"name": "digits", "n": 20}, network={"width": 5})
    >>> runs = meanfield.sweep(config, {"learning_rate": [0.5, 1.0]})
    >>> runs["learning_rate=0.5"].status, len(runs.rows)
    ('complete', 6)
    """

    def __init__(
        self,
        plan: SweepPlan,
        path: Path,
        failures: Mapping[str, str],
        open_run: Callable[[str | Path], StoredRun],
        stopped: str | None = None,
    ) -> None:
        self._plan, self._open = plan, open_run
        self.path, self.failures, self.stopped = path, dict(failures), stopped
        self.rows = [row for name in plan.configs for row in _rows(plan, path, name, failures)]

    @property
    def config(self) -> RunConfig:
        """What all runs share."""
        return self._plan.config

    @property
    def over(self) -> dict[str, tuple[Any, ...]]:
        """The values that are combined, by key."""
        return dict(self._plan.over)

    def __getitem__(self, name: str) -> StoredRun:
        look_up(self._plan.configs, name, "run")
        return self._open(self.path / name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._plan.configs)

    def __len__(self) -> int:
        return len(self._plan.configs)

    def to_dataframe(self) -> pandas.DataFrame:
        """The table, in which what was not measured is NaN.

        Raises
        ------
        ImportError
            pandas is not installed: it comes with the extra `xarray`.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                f"to_dataframe needs pandas, of the extra `xarray`: {EXTRA}"
            ) from error
        return pd.DataFrame(self.rows, columns=self.columns)

    @property
    def columns(self) -> list[str]:
        """Of the table."""
        return list(dict.fromkeys(key for row in self.rows for key in row))

    def to_csv(self) -> str:
        """The table as text with commas; what was not measured is empty."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()

    def __repr__(self) -> str:
        counts: dict[str, int] = {}
        for name in self:
            status = self.statuses[name]
            counts[status] = counts.get(status, 0) + 1
        about = ", ".join(f"{count} {status}" for status, count in counts.items())
        return f"<sweep of {len(self)} runs over {', '.join(self.over)}: {about}>"

    @property
    def statuses(self) -> dict[str, str]:
        """How each run ended; "failed" or "missing" where there is no file of it."""
        return {row["run"]: row["run_status"] for row in self.rows}


def _rows(
    plan: SweepPlan, folder: Path, name: str, failures: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    about: dict[str, Any] = {"run": name, **plan.values[name]}
    record = None if name in failures else _record(folder / name)
    if record is None:
        status = "failed" if name in failures else MISSING
        yield about | {"run_status": status, "message": failures.get(name, "")}
        return
    about["run_status"] = str(record.attributes["status"])
    compared = _compared(record)
    for row in summarize(record):
        process = row["process"]
        flow = {"process": process, "flow": record.processes[process].flow}
        numbers = dict.fromkeys((*QUANTITIES, *METRICS)) | compared.get(process, {}) | row
        yield about | flow | numbers


def _record(folder: Path) -> RunRecord | None:
    try:
        return read_run(folder / FILE_NAME)
    except RunFileError:
        return None


def _compared(record: RunRecord) -> dict[str, dict[str, Any]]:
    """The rows of the comparison by process; none where there is nothing to compare."""
    try:
        rows = compare(record)
    except ValueError:
        return {}
    spread = spread_row(rows)
    return {row["process"]: row for row in rows if row is not spread}
