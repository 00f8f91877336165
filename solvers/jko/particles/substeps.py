"""A whole step of a minimising movement, divided into sub-steps where necessary."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from solvers.jko.particles.energy import ParticleEnergy
from solvers.jko.particles.minimising_step import minimising_step
from solvers.jko.particles.saddle_step import (
    Growth,
    SaddleScheme,
    largest_growth,
    saddle_step,
)
from solvers.jko.particles.step_result import Move, StepError

Float64 = NDArray[np.float64]


class SteppingScheme(SaddleScheme, Protocol):
    """The settings of `JKO` that the division into sub-steps uses."""

    @property
    def saddle(self) -> bool: ...
    @property
    def max_halvings(self) -> int: ...


@dataclass
class Walk:
    """Moves that cover a step, by recursive halving where it cannot be solved at once.

    energy, before : with the weights of the new particles and of the old ones. positions : the old ones, then the newest.
    halved : why a sub-step was first halved. stopped : why the rest is not covered. Both are empty otherwise.
    """

    scheme: SteppingScheme
    energy: ParticleEnergy
    before: ParticleEnergy
    positions: Float64
    guess: Float64 | None
    moves: list[Move] = field(default_factory=list)
    rejected: int = 0
    halved: str = ""
    stopped: str = ""
    _growth: Growth | None = None

    @property
    def covered(self) -> float:
        """Time covered so far."""
        return math.fsum(move.step_size for move in self.moves)

    @property
    def growth_unknown(self) -> bool:
        """Whether Lanczos did not converge for the sharpness that a saddle step is checked with."""
        return self._growth is not None and math.isnan(self._growth.rate)

    def cover(self) -> None:
        """Move until the step is covered, or one of its smallest sub-steps fails."""
        whole = self.scheme.step_size
        pending = [whole]
        while pending:
            size = pending.pop()
            try:
                self._advance(size)
            except (StepError, FloatingPointError) as failure:
                self.rejected += 1
                self.halved = self.halved or str(failure)
                if np.array_equal(self.energy.weights, self.before.weights):
                    self.guess = None  # the guess may be the cause of the failure; the old positions are a valid start
                if size <= whole / 2.0**self.scheme.max_halvings:
                    self.stopped = str(failure)
                    return
                pending += [0.5 * size, 0.5 * size]

    def _advance(self, size: float) -> None:
        arguments = (self.scheme, self.energy, self.before, self.positions, self.guess, size)
        if self.scheme.saddle:
            if self._growth is None:
                self._growth = largest_growth(
                    self.before,
                    self.scheme.learning_rate,
                    self.positions,
                    1.0 / self.scheme.step_size,
                )
            move, self._growth = saddle_step(*arguments, self._growth)
        else:
            move = minimising_step(*arguments)
        self.moves.append(move)
        self.positions, self.before, self.guess = move.positions, self.energy, None
