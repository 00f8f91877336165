"""Keeps the current state of a run, and writes checkpoints when they are due."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from meanfield.study.engine.ranks import Ranks
from meanfield.study.engine.signals import EXIT_CODES, Interruption, Stopped
from meanfield.study.storage.checkpoint import Checkpoint, Checkpoints
from meanfield.study.storage.writer import RunWriter

# requests of a rank between two steps; reasons to stop follow
_GO_ON, _SAVE = 0, 1
_REASONS = tuple(EXIT_CODES)


@dataclass(frozen=True)
class Schedule:
    """When a checkpoint is due: a number of seconds after the last, or every `steps` steps of a process."""

    seconds: float = 60.0
    steps: int | None = None

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ValueError(f"checkpoint_seconds must be above 0, got {self.seconds}")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"checkpoint_every must be an integer of at least 1, got {self.steps}")


class Checkpointer:
    """Called between two steps of a run: stops the run and writes its checkpoints.

    Collective over the ranks of a job, which decide together; the first one writes.

    Parameters
    ----------
    now : Checkpoint
        The current state of the run.
    writer : RunWriter
    checkpoints : Checkpoints
    schedule : Schedule, optional
        Without a schedule there are no checkpoints.
    interruption : Interruption
        The signals received by this rank.
    ranks : Ranks

    Attributes
    ----------
    now : Checkpoint
        The current state of the run on this rank; only its counts of rows are those of the last checkpoint.
    objective : Any
        The objective of the current process; if it is distributed, positions are this rank's share.
    """

    def __init__(
        self,
        now: Checkpoint,
        writer: RunWriter,
        checkpoints: Checkpoints,
        schedule: Schedule | None,
        interruption: Interruption,
        ranks: Ranks,
    ) -> None:
        self.now = now
        self.objective: Any = None
        self.interruption = interruption
        self._writer, self._checkpoints, self._schedule = writer, checkpoints, schedule
        self._ranks = ranks
        self._last = time.monotonic()

    def update(self, **changes: Any) -> None:
        """Update the state of the run."""
        self.now = replace(self.now, **changes)

    def pause(self, step: int | None = None) -> None:
        """After a step of a process: write a checkpoint if one is due; raise `Stopped` if the run must stop."""
        wish = int(self._ranks.largest(self._wish(step)))
        if wish > _SAVE:
            self.interruption.reason = _REASONS[wish - _SAVE - 1]
            raise Stopped
        if wish == _SAVE:
            self.save()

    def save(self) -> None:
        """Write a checkpoint, after everything that it counts is in the run's file.

        Raises
        ------
        OutputError
            Something cannot be written.
        """
        if self._schedule is None:
            return
        with self.interruption.shielded():
            self.interruption.checkpoint_asked = False
            self.update(rows=self._writer.sync())
            whole = self.now.of_all(self.objective)
            if self._ranks.is_first:
                self._checkpoints.save(whole)
            self._last = time.monotonic()

    def _wish(self, step: int | None) -> int:
        """The request of this rank; the maximum over the ranks is carried out."""
        reason = self.interruption.noticed()
        if reason is not None:
            return _SAVE + 1 + _REASONS.index(reason)
        return _SAVE if self._is_due(step) else _GO_ON

    def _is_due(self, step: int | None) -> bool:
        if self._schedule is None:
            return False
        every = self._schedule.steps
        return (
            self.interruption.checkpoint_asked
            or (  # the clock of the first rank counts for all
                self._ranks.is_first and time.monotonic() - self._last >= self._schedule.seconds
            )
            or (every is not None and step is not None and step > 0 and step % every == 0)
        )
