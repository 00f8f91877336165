"""A run in Python, with figures and report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from meanfield.study.analysis.stored_run import StoredRun
from solvers._support.arguments import refusal

if TYPE_CHECKING:
    from meanfield.study.engine.given import Given
    from meanfield.study.figures import Drawn
    from meanfield.study.storage.schema import RunRecord


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

    Examples
    --------
    >>> with meanfield.Result.open("meanfield-run") as result:
    ...     print(list(result), result["gradient_flow"].snapshots[-1].position.shape)
    ['gradient_descent', 'gradient_flow', 'free_energy_flow'] (10, 66)
    """

    _given: Given | None = None  # the objects that the run was made with
    _folder: object = None  # a temporary folder, which is there as long as somebody holds this

    @classmethod
    def of(cls, path: str | Path, given: Given | None = None, folder: object = None) -> Self:
        """As `open`, of a run made with objects of one's own, in a folder that is to be kept as long as the result."""
        result = cls.open(path)
        result._given, result._folder = given, folder
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, in another process too, opens the file anew."""
        return type(self).of, (self.path.resolve(), self._given, self._folder)

    @cached_property
    def figures(self) -> Figures:
        """The figures that the run has data for, by name; they are drawn on first access."""
        return Figures(self.record(), self._folder)

    def draw(
        self,
        only: str | Iterable[str] | None = None,
        processes: str | Iterable[str] | None = None,
        width: str | float | None = None,
    ) -> Figures:
        """Draw some figures, of some processes, for the column of a paper; as ``meanfield plot``.

        Parameters
        ----------
        only : names, optional
            The figures; by default all the run has data for.
        processes : names, optional
            The processes drawn, in the colors that they have among all; by default all.
        width : str or float, optional
            Of every figure as printed, e.g. ``"3.4in"``, ``"8.6cm"``, ``"86mm"``, or a number of inches; letters are then 8
            points, from 5 inches on 9.

        Returns
        -------
        Figures
            By name; `Figures.save` writes them.

        Raises
        ------
        ValueError
            For an unknown name, a figure that the run has no data for, or a width that is none.

        Examples
        --------
        >>> with meanfield.Result.open("meanfield-run") as result:
        ...     drawn = result.draw("loss", ["gradient_descent"], width="8.6cm")
        >>> round(drawn["loss"].get_figwidth(), 2)
        3.39
        """
        from meanfield.study.figures import chosen_figures

        record = self.record()
        drawn = chosen_figures(record, only, processes, width)
        made = Figures(record, self._folder, width)
        made.__dict__["_drawn"] = {one.name: one for one in drawn}
        return made

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

    def extend(self, steps: int, progress: bool | Callable[[str, int, int], None] = False) -> Self:
        """Let the run, which has ended, go on to more steps; its file is then that of a run of so many, bit for bit.

        See `meanfield.extend`. This result stays what it was.
        """
        from meanfield.study.engine.extend import extend
        from meanfield.study.engine.prepared_run import Options
        from meanfield.study.engine.progress import shown, warn

        with shown(progress) as report:
            options = Options(progress=report, say=warn)
            path = extend(self.path.parent, steps, options, given=self._given)
        return type(self).of(path, self._given, self._folder)


class Figures(Mapping[str, Any]):
    """The figures of a run by name, drawn on first access and cached."""

    def __init__(self, run: RunRecord, folder: object, width: str | float | None = None) -> None:
        self._run, self._folder = run, folder  # particles are read from the file
        self._width = width

    @cached_property
    def _drawn(self) -> dict[str, Drawn]:
        from meanfield.study.figures import all_figures

        return {drawn.name: drawn for drawn in all_figures(self._run)}

    def __getitem__(self, name: str) -> Any:
        if name not in self._drawn:
            raise KeyError(str(refusal("name", f"one of {', '.join(self._drawn)}", name)))
        return self._drawn[name].figure

    def save(self, folder: str | Path, formats: Sequence[str] = ("png",)) -> list[Path]:
        """Write all of them as ``<folder>/<name>.<format>``.

        Parameters
        ----------
        folder : path
            It is made where it is missing.
        formats : sequence of str
            Of png, svg and pdf.

        Returns
        -------
        list of Path
            The files.

        Raises
        ------
        ValueError
            For another format.
        OutputError
            A file cannot be written.

        Examples
        --------
        >>> with meanfield.Result.open("meanfield-run") as result:
        ...     [path.name for path in result.draw("loss").save("paper", ["svg", "pdf"])]
        ['loss.svg', 'loss.pdf']
        """
        from meanfield.study.figures import save_drawn

        return save_drawn(self._drawn.values(), Path(folder), formats, self._width)

    def __iter__(self) -> Iterator[str]:
        return iter(self._drawn)

    def __len__(self) -> int:
        return len(self._drawn)

    def __repr__(self) -> str:
        return f"<figures {', '.join(self)}>"
