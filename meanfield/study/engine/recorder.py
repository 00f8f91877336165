"""Runs the processes of a run one after another and writes them to its file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

import solvers
from meanfield.study.engine.build import begin, reference_name, time_stepping, warm_up
from meanfield.study.engine.center_distances import Distances
from meanfield.study.engine.checkpointing import Checkpointer
from meanfield.study.engine.counting import CountingObjective
from meanfield.study.engine.moment import Moment
from meanfield.study.engine.perturbed import one_rounding_away
from meanfield.study.engine.prepared_run import PreparedRun, Progress
from meanfield.study.engine.ranks import Ranks
from meanfield.study.storage.checkpoint import CheckpointError, Position
from meanfield.study.storage.schema import COMPARISONS, Floats, Status
from meanfield.study.storage.writer import RunWriter
from solvers.objective import is_spread
from solvers.state import start as start_flow


class Recorder:
    """Runs and measures the flows of a run; collective over the ranks, step by step.

    For the extension of a finished run, `finished` gives the final positions of its processes, from which they continue.
    """

    def __init__(
        self,
        prepared: PreparedRun,
        writer: RunWriter,
        checkpointer: Checkpointer,
        progress: Progress | None,
        ranks: Ranks,
        finished: Callable[[str], Position] | None = None,
    ) -> None:
        self.config, self.flows = prepared.config, prepared.flows
        self.layout, self.perturbed = prepared.layout, prepared.perturbed
        self.whole = self.problem = prepared.problem  # the latter in the form of the current flow
        self.writer, self.checkpointer, self.ranks = writer, checkpointer, ranks
        self.progress = progress or (lambda what, done, total: None)
        self.finished = finished

    def run_all(self) -> list[Status]:
        """Run all processes, the perturbed one too, and compare them; how each ended."""
        statuses = [self.run(name, flow) for name, flow in self.flows.items()]
        if (perturbed := self.perturbed) is not None:
            self.run_perturbed(perturbed)
        self.compare()
        return statuses

    def run(self, name: str, flow: solvers.Flow) -> Status:
        """Run one process to its end, from its current state; a process that has ended is not changed."""
        if name in self.checkpointer.now.ended:
            return self.checkpointer.now.ended[name][0]
        steps, stepping = self.config.steps, time_stepping(self.config, name)
        self.problem = self.ranks.problem_for(self.whole, flow, **stepping)
        self.checkpointer.objective = objective = self.problem.objective
        position, known = self._own_position(name)
        if position is None:
            counting = CountingObjective(objective)
            with np.errstate(over="ignore", invalid="ignore"):
                state, message = begin(self.config, self.flows, flow, self.problem, counting)
        else:
            counting = CountingObjective(objective, position.readings, position.wall_time)
            state, message = position.state, position.message
        vectors = None if position is None else position.vectors
        first, observe = state.step, self._observer(name, counting, message, vectors, known)

        def report(done: int, total: int) -> None:
            with counting.paused():
                self._report(name, first + done)

        solution = solvers.solve(
            flow,
            counting,
            state,
            steps=steps - first,
            save_every=max(1, steps),
            progress=report,
            observe=observe,
            **stepping,
        )
        status, final = cast(Status, solution.status), self._final()
        with self.checkpointer.interruption.shielded():
            last = solution.centers[-1], solution.fluctuations[-1]
            about = solution.message or message
            self._finish(name, status, about, solution.times[-1], last, final)
            ended = {**self.checkpointer.now.ended, name: (status, about)}
            self.checkpointer.update(ended=ended, process="", position=None)
        self.checkpointer.pause()
        return status

    def run_perturbed(self, name: str) -> None:
        """Run the reference again from the perturbed start, measuring mainly its distance to the first run."""
        if name in self.checkpointer.now.ended:
            return
        reference, flow = next(iter(self.flows.items()))
        start = one_rounding_away(self.whole.start, self.config.seed)
        self.problem = self.ranks.problem_for(self.whole.started_from(start), flow)
        self.checkpointer.objective = objective = self.problem.objective
        position, known = self._own_position(name)
        if position is None:
            with np.errstate(over="ignore", invalid="ignore"):
                state, message = start_flow(flow, objective, self.problem.start)
            position = Position(state, message, None, {}, 0.0)
        first = position.state.step
        solution = solvers.solve(
            flow,
            objective,
            position.state,
            steps=self.config.steps - first,
            save_every=max(1, self.config.steps),
            progress=lambda done, total: self._report(name, first + done),
            observe=self._perturbed_observer(name, reference, position, known),
        )
        final = self._final()
        with self.checkpointer.interruption.shielded():
            status = cast(Status, solution.status), solution.message or position.message
            self.writer.finish(name, *status, final)
            ended = {**self.checkpointer.now.ended, name: status}
            self.checkpointer.update(ended=ended, process="", position=None)
        self.checkpointer.pause()

    def _perturbed_observer(
        self, name: str, reference: str, position: Position, known: int
    ) -> Callable[[solvers.Observation], None]:
        """A callback that measures and writes a row at every step after the known one."""
        output, steps, particles = self.config.output, self.config.steps, self.problem.particles
        with self.checkpointer.interruption.shielded():
            times = self.writer.snapshot_times(reference)

        def observe(obs: solvers.Observation) -> None:
            if obs.step == known:
                return
            row: dict[str, float] = {}
            if _is_due(obs.step, output.snapshot_every, steps):
                center = particles(obs.center)  # of all ranks: collective
                row = self._distance_to(reference, times, obs.time, center)
            if row or _is_due(obs.step, output.observe_every, steps):
                row["sigma_trace"] = obs.fluctuation_trace
                row["predicted_loss"] = obs.predicted_loss
            with self.checkpointer.interruption.shielded():
                if row:
                    self.writer.observe(name, obs.time, row)
                here = replace(position, state=obs.state)
                self.checkpointer.update(process=name, position=here)

        return observe

    def _distance_to(
        self, reference: str, times: NDArray[np.float64], time: float, center: Any
    ) -> dict[str, float]:
        """Distance of a center to the reference's, in the precision in which the latter is stored; none without it."""
        found = np.flatnonzero(times == time)
        if not (self.ranks.is_first and len(found)):
            return {}
        with self.checkpointer.interruption.shielded():
            x = self.writer.position(reference, int(found[0]))
        with np.errstate(over="ignore", invalid="ignore"):
            distance = solvers.transport.coupled_distance(x, center.astype(x.dtype))
        return {"center_distance": distance}

    def _report(self, name: str, done: int) -> None:
        """Report progress between two steps of a process."""
        with self.checkpointer.interruption.shielded():
            self.progress(name, done, self.config.steps)
        self.checkpointer.pause(done)

    def _own_position(self, name: str) -> tuple[Position | None, int]:
        """The share of this rank in the position to continue from, and the last step whose row is in the file.

        The latter is -1 if a row is to be written at once. The checkpoint and the finished run have all particles.
        """
        position, objective = self.checkpointer.now.position, self.problem.objective
        known = -1 if position is None else position.state.step
        if position is None and self.finished is not None:
            position = self.finished(name)
        if position is not None and is_spread(objective):
            position = position.mapped(objective.own)
        if position is not None and known >= 0:
            self.checkpointer.update(position=position)
        return position, known

    def _final(self) -> Position | None:
        """Of all particles where the process under way stands, if that is its last step; collective."""
        position = self.checkpointer.now.position
        if position is None or position.state.step != self.config.steps:
            return None
        return self.checkpointer.now.of_all(self.checkpointer.objective).position

    def _observer(
        self,
        name: str,
        counting: CountingObjective,
        message: str,
        vectors: Floats | None,
        known: int,
    ) -> Callable[[solvers.Observation], None]:
        """A callback that measures and writes a row at every step after `known`, the spectrum first from `vectors`."""
        output, steps, particles = self.config.output, self.config.steps, self.problem.particles
        measured = self.layout.processes[name].measured
        first = warm_up(self.config, self.flows[name])

        def is_due(step: int, every: int) -> bool:
            return step == first or _is_due(step, every, steps)

        def observe(obs: solvers.Observation) -> None:
            nonlocal vectors
            with counting.paused() as readings:
                at = Moment(obs, readings, counting, output.eigenvalues, vectors)
                if obs.step == known:
                    at.row(measured, "step")  # which `solve` records, outside the pause
                    return
                row, before = dict[str, Any](), vectors
                if is_due(obs.step, output.sharpness_every):
                    row = at.row(measured, "spectrum") | obs.diagnostics
                    vectors = at.vectors
                if row or is_due(obs.step, output.observe_every):
                    row |= at.row(measured, "step") | at.row(measured, "end")
                with self.checkpointer.interruption.shielded():
                    if row:
                        self.writer.observe(name, obs.time, row)
                    if is_due(obs.step, output.snapshot_every):
                        snapshot = particles(obs.center), particles(obs.fluctuation)
                        self.writer.snapshot(name, obs.time, *snapshot)
                    # a run that is extended measures its last step once more
                    kept = before if obs.step == steps else vectors
                    wall_time = row.get("wall_time", counting.wall_time)
                    here = Position(obs.state, message, kept, readings, wall_time)
                    self.checkpointer.update(process=name, position=here)

        return observe

    def stop(self) -> None:
        """Write a checkpoint; then store the current state of the process as its last snapshot, for readers of the file."""
        self.checkpointer.save()
        name, position = self.checkpointer.now.process, self.checkpointer.now.position
        if position is None:
            return
        message = f"interrupted after step {position.state.step}"
        if name not in self.flows:  # the perturbed run has no snapshots
            self.writer.finish(name, "interrupted", message)
        else:
            flow, state = self.flows[name], position.state
            last = flow.center(state.step, state.values), flow.fluctuation(state.step, state.values)
            self._finish(name, "interrupted", message, state.step, last)

    def _finish(
        self,
        name: str,
        status: Status,
        message: str,
        time: float,
        last: tuple[Any, Any],
        final: Position | None = None,
    ) -> None:
        """Record the end of a process, even between two snapshots."""
        times = self.writer.snapshot_times(name)
        if len(times) and times[-1] < time:
            self.writer.snapshot(name, time, *map(self.problem.particles, last))
        self.writer.finish(name, status, message, final)

    def compare(self) -> None:
        """Compute the distances of the other processes to the optimizer, if there is one; on the first rank."""
        reference, *others = self.flows
        if reference != reference_name(self.config, self.flows) or not others:
            return
        with self.checkpointer.interruption.shielded():
            all_times = {name: self.writer.snapshot_times(name) for name in self.flows}
        times = all_times[reference]
        between = Distances(self.whole, self.config.seed)
        done, values = self.checkpointer.now.compared, self.checkpointer.now.distances
        if values is None:
            values = np.full((len(others), len(COMPARISONS), len(times)), np.nan)
        elif values.shape[2] != len(times):
            raise CheckpointError(
                f"the checkpoint compares {values.shape[2]} snapshots, there are {len(times)}"
            )
        for index in range(done, len(others) * len(times)):
            i, row = divmod(index, len(times))
            if self.ranks.is_first:
                found = self._compare(between, (reference, others[i]), all_times, row)
                values[i, :, row] = [found.get(key, np.nan) for key in COMPARISONS]
            self.checkpointer.update(compared=index + 1, distances=values)
            with self.checkpointer.interruption.shielded():
                self.progress("comparison", index + 1, len(others) * len(times))
            self.checkpointer.pause()
        named = [dict(zip(COMPARISONS, each, strict=True)) for each in values]
        about = {"w2_note": between.w2_note}
        with self.checkpointer.interruption.shielded():
            self.writer.compare(reference, times, dict(zip(others, named, strict=True)), about)

    def _compare(
        self,
        between: Distances,
        names: tuple[str, str],
        all_times: Mapping[str, NDArray[np.float64]],
        row: int,
    ) -> dict[str, float]:
        """Distances at one of the reference's snapshots; NaN if the other process has none."""
        times, own_times = (all_times[name] for name in names)
        own_row = int(np.searchsorted(own_times, times[row]))
        if own_row == len(own_times) or own_times[own_row] != times[row]:
            return {}
        last = not np.isin(times[row + 1 :], own_times).any()
        with self.checkpointer.interruption.shielded():
            x, y = self.writer.position(names[0], row), self.writer.position(names[1], own_row)
        return between.between(x, y, self.flows[names[1]].labelled, with_w2=last)


def _is_due(step: int, every: int, last: int) -> bool:
    return step % every == 0 or step == last
