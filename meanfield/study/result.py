"""A run in Python, with figures and report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from meanfield.study.analysis.stored_run import StoredRun
from solvers._support.arguments import refusal


class Result(StoredRun):
    """A run, finished or still running: a mapping from names to processes.

    It shows the file as of its opening; `refresh` updates it. Observables are read on first use, every
    snapshot on access. It keeps the file open but does not lock it; `close` or a ``with`` block closes it.

    Attributes
    ----------
    path : Path
        The file.
    attributes : dict
        Attributes of the file: learning_rate, seed, created, versions_json and others.
    config : str
        The resolved configuration, TOML.
    comparison_times : ndarray (s,)
    comparison : dict
        ``comparison[process][distance]`` (s,): distances to gradient descent, NaN where missing.
    figures : Figures
        ``figures["loss"]`` is a matplotlib figure, displayed in notebooks.
    """

    @cached_property
    def figures(self) -> Figures:
        """The figures that the run has data for, by name; each is drawn on first access."""
        return Figures(self)

    def report(self, path: str | Path | None = None) -> Path:
        """Write a self-contained HTML report of the run; by default ``report.html`` beside its file.

        Returns
        -------
        Path
            The HTML file.

        Raises
        ------
        ValueError
            `path` is not the name of an HTML file.
        OutputError
            The file cannot be written.
        """
        from meanfield.study.report import write_report

        return write_report(self.path, path)


class Figures(Mapping[str, Any]):
    """The figures of a run by name, drawn on first access and cached."""

    def __init__(self, run: StoredRun) -> None:
        self._run = run

    @cached_property
    def _drawn(self) -> dict[str, Any]:
        from meanfield.study.figures import all_figures

        return {drawn.name: drawn.figure for drawn in all_figures(self._run)}

    def __getitem__(self, name: str) -> Any:
        if name not in self._drawn:
            raise KeyError(str(refusal("name", f"one of {', '.join(self._drawn)}", name)))
        return self._drawn[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._drawn)

    def __len__(self) -> int:
        return len(self._drawn)

    def __repr__(self) -> str:
        return f"<figures {', '.join(self)}>"
