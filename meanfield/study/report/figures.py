"""Numbered figures of a page with their captions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count

from meanfield.study.figures import Drawn, run_figures, study_figures, svg
from meanfield.study.report.markup import Html, box, element
from meanfield.study.report.page import Section
from meanfield.study.storage.schema import RunRecord
from meanfield.study.storage.study_record import StudyRecord


class Illustrations:
    """The figures of a run or a study; each is shown once."""

    def __init__(self, drawings: Iterable[Drawn]) -> None:
        self._left = list(drawings)
        self._numbers = count(1)
        self.names = tuple(drawn.name for drawn in self._left)

    @classmethod
    def of_run(cls, run: RunRecord) -> Illustrations:
        """The figures of a run."""
        return cls(run_figures(run))

    @classmethod
    def of_study(cls, study: StudyRecord) -> Illustrations:
        """The figures of a width study."""
        return cls(study_figures(study))

    def take(self, name: str) -> Iterator[Html]:
        """The figure of this name, if there is one."""
        for drawn in [drawn for drawn in self._left if drawn.name == name]:
            self._left.remove(drawn)
            yield self._figure(drawn)

    def sections(self) -> Iterator[Section]:
        """A section of all remaining figures, if any."""
        if self._left:
            parts = [(f"figure-{drawn.name}", drawn.title) for drawn in self._left]
            yield Section("Figures", list(map(self._figure, self._left)), parts)

    def _figure(self, drawn: Drawn) -> Html:
        title = f"title-{drawn.name}"
        words = element("strong", f"Figure {next(self._numbers)}. {drawn.title}.", id=title)
        width = f"--natural: {96 * drawn.figure.get_figwidth():.0f}px"
        return element(
            "figure",
            box(Html(svg(drawn)), title, width),
            element("figcaption", words, " ", drawn.caption),
            id=f"figure-{drawn.name}",
        )
