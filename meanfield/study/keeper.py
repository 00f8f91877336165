"""Keeps track of where a run stands, and writes a checkpoint when it is time."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from meanfield.study.checkpoint import Checkpoint, Checkpoints
from meanfield.study.interrupt import Interruption
from meanfield.study.snapshots import RunWriter


@dataclass(frozen=True)
class Schedule:
    """When a checkpoint is due: after so many seconds since the last, or at every so many steps of a process."""

    seconds: float = 60.0
    steps: int | None = None

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ValueError(f"checkpoint_seconds: {self.seconds} came, more than 0 is needed")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"checkpoint_every: {self.steps} came, at least 1 is needed")


class Keeper:
    """What a run hands over between two steps: here it is stopped, and here its checkpoints are written.

    Attributes
    ----------
    now : Checkpoint
        Where the run stands; only its counts of rows are those of the last checkpoint.
    """

    def __init__(
        self,
        now: Checkpoint,
        writer: RunWriter,
        checkpoints: Checkpoints,
        schedule: Schedule,
        interruption: Interruption,
    ) -> None:
        self.now = now
        self.interruption = interruption
        self._writer, self._checkpoints, self._schedule = writer, checkpoints, schedule
        self._last = time.monotonic()

    def update(self, **changes: Any) -> None:
        """Say where the run stands."""
        self.now = replace(self.now, **changes)

    def pause(self, step: int | None = None) -> None:
        """Between two steps, after the given one of a process: a checkpoint if one is due; `Stopped` if the run is to stop."""
        self.interruption.check()
        if self._is_due(step):
            self.save()

    def save(self) -> None:
        """Write a checkpoint, once everything that it counts is in the run's file.

        Raises
        ------
        OutputError
            Something cannot be written.
        """
        with self.interruption.shielded():
            self.interruption.checkpoint_asked = False
            self.update(rows=self._writer.sync())
            self._checkpoints.save(self.now)
            self._last = time.monotonic()

    def _is_due(self, step: int | None) -> bool:
        every = self._schedule.steps
        return (
            self.interruption.checkpoint_asked
            or time.monotonic() - self._last >= self._schedule.seconds
            or (every is not None and step is not None and step > 0 and step % every == 0)
        )
