"""Keeps track of where a run stands, and writes a checkpoint when it is time."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from meanfield.study.engine.ranks import Ranks
from meanfield.study.engine.signals import EXIT_CODES, Interruption, Stopped
from meanfield.study.storage.checkpoint import Checkpoint, Checkpoints
from meanfield.study.storage.writer import RunWriter

# what a process may want between two steps; reasons to stop follow
_GO_ON, _SAVE = 0, 1
_REASONS = tuple(EXIT_CODES)


@dataclass(frozen=True)
class Schedule:
    """When a checkpoint is due: after so many seconds since the last, or at every so many steps of a process."""

    seconds: float = 60.0
    steps: int | None = None

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ValueError(f"checkpoint_seconds must be above 0, got {self.seconds}")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"checkpoint_every must be an integer of at least 1, got {self.steps}")


class Checkpointer:
    """What a run hands over between two steps: here it is stopped, and here its checkpoints are written.

    The processes of a team call it together and decide together; the first one writes.

    Parameters
    ----------
    now : Checkpoint
        Where the run stands.
    writer : RunWriter
    checkpoints : Checkpoints
    schedule : Schedule, optional
        Without one there are no checkpoints.
    interruption : Interruption
        What this process was told.
    ranks : Ranks

    Attributes
    ----------
    now : Checkpoint
        Where the run stands, as this process sees it; only its counts of rows are those of the last checkpoint.
    objective : Any
        What the process that is under way moves on; if it is spread, positions are this process's share.
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
        self._team = ranks
        self._last = time.monotonic()

    def update(self, **changes: Any) -> None:
        """Say where the run stands."""
        self.now = replace(self.now, **changes)

    def pause(self, step: int | None = None) -> None:
        """Between two steps, after the given one of a process: a checkpoint if one is due; `Stopped` if the run is to stop."""
        wish = int(self._team.largest(self._wish(step)))
        if wish > _SAVE:
            self.interruption.reason = _REASONS[wish - _SAVE - 1]
            raise Stopped
        if wish == _SAVE:
            self.save()

    def save(self) -> None:
        """Write a checkpoint, once everything that it counts is in the run's file.

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
            if self._team.is_first:
                self._checkpoints.save(whole)
            self._last = time.monotonic()

    def _wish(self, step: int | None) -> int:
        """What this process wants; of the wishes of all the largest number comes true."""
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
            or (  # one clock counts for all
                self._team.is_first and time.monotonic() - self._last >= self._schedule.seconds
            )
            or (every is not None and step is not None and step > 0 and step % every == 0)
        )
