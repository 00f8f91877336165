"""A progress bar for long runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

Progress = Callable[[int, int], None]

#: Ticks of a bar for work whose number of steps is not known.
TICKS = 1000


@contextmanager
def progress_bar(progress: bool | Progress, steps: int) -> Iterator[Progress]:
    """A callable for (iterations done, total): one that does nothing, a bar on stderr, or the caller's own."""
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda done, total: None
    else:
        from rich import progress as rich_progress

        from solvers._support.bars import Bars

        columns = (
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TaskProgressColumn(show_speed=True),
            rich_progress.TimeRemainingColumn(),
        )
        with Bars(*columns) as bar:
            task = bar.add_task("", total=steps)
            yield lambda done, total: bar.update(task, completed=done)


@dataclass(frozen=True)
class Portion:
    """A part of some work, from `start` to `stop` of it.

    Called with the share of the part that is done, it reports that of the whole.
    """

    report: Callable[[float], None]
    start: float = 0.0
    stop: float = 1.0

    def __call__(self, share: float) -> None:
        self.report(self.start + share * (self.stop - self.start))

    def split(self, at: float) -> tuple[Portion, Portion]:
        """The first share of it, and the rest."""
        middle = self.start + at * (self.stop - self.start)
        return Portion(self.report, self.start, middle), Portion(self.report, middle, self.stop)


#: A portion that is not reported.
UNREPORTED = Portion(lambda share: None)


class Ticks:
    """Work whose number of steps is not known, reported in `TICKS`; what is done does not decrease."""

    def __init__(self, report: Progress) -> None:
        self._report, self._done = report, 0.0
        self.reach(0.0)

    def reach(self, share: float) -> None:
        """Report that this share of the work is done."""
        self._done = max(self._done, share)
        self._report(round(TICKS * self._done), TICKS)

    @property
    def rest(self) -> Portion:
        """What is not done yet."""
        return Portion(self.reach, self._done)
