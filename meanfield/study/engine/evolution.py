"""A run of a measure: a Wasserstein gradient flow by minimising movements, written step by step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield._digest import digest, fingerprint
from meanfield.study.config.measure.section import MeasureSection, errors_of
from meanfield.study.config.measure.spaces import cells_in_words
from meanfield.study.config.run_config import RunConfig
from meanfield.study.engine.checkpointing import Checkpointer
from meanfield.study.engine.given import Given
from meanfield.study.engine.memory import require_bytes
from meanfield.study.engine.prepared_run import PROBLEM, Options, Progress, file_attributes
from meanfield.study.storage.checkpoint import Position
from meanfield.study.storage.measure_schema import FLOW, PROCESS, MeasureLayout
from meanfield.study.storage.schema import ProcessLayout, RunLayout, Status
from meanfield.study.storage.writer import RunWriter
from solvers.jko.evolve import failure, start_energy, ticks
from solvers.jko.march import March, Standing, Taken, array_of
from solvers.jko.movers import Mover, mover
from solvers.jko.proximal_result import JKOError
from solvers.measures.representations import Measure, Particles
from solvers.state import State

Finished = Callable[[str], Position]

_UNKNOWN_STEPS = 1000  # of a run whose steps a tolerance chooses, for the size of its file
_START_ENERGY = "start_energy"  # a number of the state in a checkpoint


@dataclass(frozen=True)
class PreparedEvolution:
    """Everything that a run of a measure needs, built from its configuration; the counterpart of `PreparedRun`."""

    config: RunConfig
    start: Measure
    mover: Mover
    layout: RunLayout
    given: Given = field(default_factory=Given)

    @classmethod
    def of(
        cls, config: RunConfig, options: Options | None = None, given: Given | None = None
    ) -> PreparedEvolution:
        """Build a run.

        Raises
        ------
        ValueError
            Start and energy do not fit together or do not fit the memory; objects are given that a measure does not take.
        """
        for name in ("flows", "objective", "start"):
            if given is not None and (thing := getattr(given, name)) is not None and thing != {}:
                raise ValueError(
                    f"{name} must be left out with a measure, got {thing!r:.60}; "
                    "solvers.evolve takes energies and measures of one's own"
                )
        section = _section(config)
        space = section.space.build()
        limit = None if options is None else options.memory_limit
        less = f"a smaller measure.space, which has {cells_in_words(space)},"
        require_bytes("measure", space.bytes(), less, limit)
        start = section.build_start(config.seed)
        with errors_of("measure: "):
            moving = mover(section.build_energy(), start, None, config.learning_rate)
            start_energy(moving.energy(start))
        return cls(config, start, moving, _layout(config, start))

    @property
    def config_text(self) -> str:
        """The configuration as the file keeps it."""
        return self.config.to_toml()

    @property
    def given_text(self) -> str:
        """Nothing is given."""
        return ""

    @property
    def attributes(self) -> dict[str, Any]:
        """Of the file, beside the configuration."""
        return file_attributes(self.config) | dict(self.given.attributes) | {PROBLEM: self.digest()}

    @property
    def precision(self) -> np.dtype[Any]:
        """Of the numbers."""
        return np.dtype(np.float64)

    @property
    def others(self) -> int:
        """The number of processes that are compared with the first: none."""
        return 0

    @property
    def perturbed(self) -> None:
        """There is no perturbed run."""

    def without_perturbed(self) -> PreparedEvolution:
        """The same."""
        return self

    def digest(self) -> str:
        """Digest of the start."""
        return digest(*self._arrays.values())

    def fingerprints(self) -> dict[str, str]:
        """Digest of the start."""
        return {name: fingerprint(array) for name, array in self._arrays.items()}

    @cached_property
    def _arrays(self) -> dict[str, NDArray[Any]]:
        found: dict[str, NDArray[Any]] = {"measure.initial": array_of(self.start)}
        if isinstance(self.start, Particles):
            found["measure.initial.weights"] = self.start.weights
        return found

    def march(self, state: State | None) -> March:
        """The steps, from the start or from where a checkpoint stood."""
        pace = _section(self.config).pace(self.config.steps)
        if state is None:
            return March(self.mover, self.start, pace)
        values, rest = (np.asarray(a, dtype=np.float64) for a in (state.values, state.history))
        packed = dict(state.scheme), values, rest
        here = Standing.unpacked(self.mover, self.start, state.step, packed)
        return March(self.mover, self.start, pace, here)

    def recorder(
        self,
        writer: RunWriter,
        checkpointer: Checkpointer,
        progress: Progress | None,
        finished: Finished | None,
    ) -> EvolutionRecorder:
        """What carries it out."""
        return EvolutionRecorder(self, writer, checkpointer, progress, finished)

    def fits(self, position: Position) -> bool:
        """Whether the run can go on from there."""
        try:
            here = self.march(position.state).here
        except (ValueError, LookupError, AssertionError, ArithmeticError):
            return False
        same = array_of(here.measure).shape == array_of(self.start).shape
        return same and bool(np.isfinite(position.state.values).all())


def _section(config: RunConfig) -> MeasureSection:
    assert config.measure is not None
    return config.measure


def _layout(config: RunConfig, start: Measure) -> RunLayout:
    measure = MeasureLayout(start)
    steps = _section(config).pace(config.steps).steps or _UNKNOWN_STEPS
    return RunLayout(
        processes={PROCESS: ProcessLayout(FLOW, measure=measure)},
        particles=array_of(start).size,
        parameter_names=("value",),
        steps=steps,
        snapshot_every=config.output.snapshot_every,
        dtype=config.output.snapshot_dtype,
        compression=config.output.compression,
    )


class EvolutionRecorder:
    """Takes the steps of a measure and writes them; the counterpart of `Recorder`.

    For the extension of a finished run, `finished` gives the position before its last step, from which it continues.
    """

    def __init__(
        self,
        prepared: PreparedEvolution,
        writer: RunWriter,
        checkpointer: Checkpointer,
        progress: Progress | None,
        finished: Finished | None = None,
    ) -> None:
        self._prepared, self._writer, self._checkpointer = prepared, writer, checkpointer
        self._progress = progress or (lambda what, done, total: None)
        self._finished = finished
        (about,) = prepared.layout.processes.values()
        assert about.measure is not None
        self._layout = about.measure
        self._every = prepared.config.output.snapshot_every

    def run_all(self) -> list[Status]:
        """Go on from the current state to the end; an evolution that has ended is not changed."""
        now = self._checkpointer.now
        if PROCESS in now.ended:
            return [now.ended[PROCESS][0]]
        self._checkpointer.objective, position = None, now.position
        if position is None and self._finished is not None:
            position = self._finished(PROCESS)
            self._checkpointer.update(process=PROCESS, position=position)
        march = self._prepared.march(None if position is None else position.state)
        self._started = time.perf_counter()
        if position is None:
            self._begin(march)
        else:
            state = position.state
            self._spent, self._energy = state.dissipated, state.scheme[_START_ENERGY]
            self._started -= position.wall_time
        status = self._follow(march)
        self._checkpointer.pause()
        return [status]

    def _begin(self, march: March) -> None:
        """The row and the snapshot of the start."""
        self._spent, self._energy = 0.0, self._prepared.mover.energy(self._prepared.start)
        row = {"energy": self._energy, "balance": 0.0, "rejected": 0.0}
        self._record(march, row | {"wall_time": self._wall_time()})

    def _follow(self, march: March) -> Status:
        """Take the steps, the last of them together with the end, so that the position before it is known there."""
        total = march.pace.steps
        self._progress(PROCESS, *ticks(march))
        try:
            for step in march.steps():
                with self._checkpointer.interruption.shielded():
                    before = self._checkpointer.now.position
                    self._take(march, step)
                    self._progress(PROCESS, *ticks(march))
                    if march.here.done == total:
                        return self._end(march, "complete", "", before)
                self._checkpointer.pause(march.here.done)
        except (JKOError, FloatingPointError, MemoryError) as error:
            return self._end(march, "failed", failure(march.here.time, error))
        return self._end(march, "complete")

    def _end(
        self, march: March, status: Status, message: str = "", final: Position | None = None
    ) -> Status:
        with self._checkpointer.interruption.shielded():
            self._finish(march, status, message, final)
            ended = {PROCESS: (status, message)}
            self._checkpointer.update(ended=ended, process="", position=None)
        return status

    def _take(self, march: March, step: Taken) -> None:
        rate = self._prepared.config.learning_rate
        self._spent += step.transport_cost / (rate * step.step_size)
        names = ("step_size", "transport_cost", "excess", "residual", "iterations", "error")
        row = {name: float(getattr(step, name)) for name in names}
        row |= {"energy": step.energy, "balance": self._energy - step.energy - self._spent}
        row |= {"rejected": float(march.here.rejected), "wall_time": self._wall_time()}
        self._record(march, row)

    def _record(self, march: March, row: Mapping[str, float]) -> None:
        """A row, a snapshot if it is due, and the position from which a resumed run goes on."""
        here = march.here
        with self._checkpointer.interruption.shielded():
            self._writer.observe(PROCESS, here.time, row)
            if here.done % self._every == 0:
                self._keep(here)
            numbers, values, rest = here.packed(self._prepared.mover)
            scheme = numbers | {_START_ENERGY: self._energy}
            state = State(here.done, values, self._spent, rest, scheme=scheme)
            position = Position(state, "", None, {}, row["wall_time"])
            self._checkpointer.update(process=PROCESS, position=position)

    def _keep(self, here: Standing) -> None:
        arrays = {self._layout.variable: self._layout.values(here.measure)}
        self._writer.keep(PROCESS, here.time, arrays)

    def stop(self) -> None:
        """Write a checkpoint; then store where the measure is as its last snapshot, for readers of the file."""
        self._checkpointer.save()
        position = self._checkpointer.now.position
        if position is not None:
            march = self._prepared.march(position.state)
            self._finish(march, "interrupted", f"interrupted at t = {march.here.time:.6g}")

    def _finish(
        self, march: March, status: Status, message: str, final: Position | None = None
    ) -> None:
        times = self._writer.snapshot_times(PROCESS)
        if len(times) and times[-1] < march.here.time:
            self._keep(march.here)
        self._writer.finish(PROCESS, status, message, final)

    def _wall_time(self) -> float:
        return time.perf_counter() - self._started
