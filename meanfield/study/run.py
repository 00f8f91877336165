"""Run a study: every process from the same start, everything measured into one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

import solvers
from meanfield.study.checkpoint import NAMES as CHECKPOINT_NAMES
from meanfield.study.checkpoint import Checkpoint, Checkpoints, Position
from meanfield.study.config import Study
from meanfield.study.distances import Distances
from meanfield.study.interrupt import Stopped, interruptible
from meanfield.study.keeper import Keeper
from meanfield.study.layout import (
    COMPARISONS,
    OutputError,
    Status,
    require_space,
)
from meanfield.study.meter import Meter
from meanfield.study.problem import (
    time_stepping,
)
from meanfield.study.run_folder import RunFolder
from meanfield.study.schema import now
from meanfield.study.snapshots import RunWriter
from meanfield.study.work import Options, Progress, Work, current_versions
from solvers.stepping import start as start_flow

REFERENCE_FLOW = "gradient_descent"
# of a process that died before it had begun
LEFT_OVER = (".partial.journal", ".new")


def run(
    study: Study,
    out: str | Path,
    force: bool = False,
    progress: Progress | None = None,
    *,
    options: Options | None = None,
) -> Path:
    """Run the processes of a study and write ``run.h5`` in a folder.

    All start from the same particles, gradient descent first; afterwards the others are compared
    with it. A process that diverges or fails ends there and the others go on. The file holds how it
    ended, and everything up to then. A run that is stopped (`meanfield.study.interrupt`) or that dies
    leaves a checkpoint, from which `meanfield.study.resume.resume` goes on.

    Parameters
    ----------
    study : Study
    out : path
        A folder; it is made if it does not exist.
    force : bool
        Whether the folder may hold something; an older ``run.h5`` is replaced at the end.
    progress : callable, optional
        Called as ``progress(what, done, total)``.
    options : Options, optional
        When checkpoints are written and so on.

    Returns
    -------
    Path
        The file, which `meanfield.study.snapshots.read_run` reads.

    Raises
    ------
    ValueError
        The folder is not empty, or the study's data or options do not fit together.
    OutputError
        The file cannot be written.
    """
    options = options or Options()
    if progress is not None:
        options = replace(options, progress=progress)
    work = Work.of(study, options)
    folder = _prepare(Path(out), force)
    require_space(folder, work.layout)
    with RunFolder(folder) as held:
        attributes = _attributes(study)
        about = {key: attributes[key] for key in ("created", "versions_json")}
        start = Checkpoint(study.to_toml(), work.digest(), *about.values())
        checkpoints = Checkpoints(folder)
        checkpoints.remove()
        checkpoints.save(start)
        return carry_out(work, held, start, checkpoints, options)


def carry_out(
    work: Work, folder: RunFolder, start: Checkpoint, checkpoints: Checkpoints, options: Options
) -> Path:
    """Go on from a checkpoint to the end; of one with rows, `folder` holds the file that has just these rows."""
    study = work.study
    attributes = _attributes(study) | {"created": start.created, "versions_json": start.versions}
    with interruptible(options.max_runtime) as interruption:
        rows = start.rows or None
        writer = RunWriter(folder, work.layout, start.config, attributes, rows, resumable=True)
        with writer:
            keeper = Keeper(start, writer, checkpoints, options.schedule, interruption)
            recorder = _Recorder(work, writer, keeper, options.progress)
            try:
                interruption.begin()
                statuses = [recorder.run(name, flow) for name, flow in work.flows.items()]
                recorder.compare()
                writer.status = _worst(statuses)
            except Stopped:
                interruption.finish()
                recorder.stop()
                writer.status, writer.message = "interrupted", f"stopped by {interruption.reason}"
            finally:
                interruption.finish()  # the file is closed in peace
    if writer.status != "interrupted":
        checkpoints.remove()
    return writer.path


class _Recorder:
    """Streams the processes of one study into its file."""

    def __init__(
        self, work: Work, writer: RunWriter, keeper: Keeper, progress: Progress | None
    ) -> None:
        self.study, self.problem, self.flows = work.study, work.problem, work.flows
        self.writer, self.keeper = writer, keeper
        self.progress = progress or (lambda what, done, total: None)

    def run(self, name: str, flow: solvers.Flow) -> Status:
        """Run one process to its end, from where it stands; a process that has ended is left as it is."""
        if name in self.keeper.now.ended:
            return self.keeper.now.ended[name][0]
        steps, objective = self.study.steps, self.problem.objective
        position = self.keeper.now.position
        if position is None:
            meter = Meter(objective)
            with np.errstate(over="ignore", invalid="ignore"):
                state, message = start_flow(flow, meter, self.problem.start)
        else:
            meter = Meter(objective, position.readings, position.wall_time)
            state, message = position.state, position.message
        first, observe = state.step, self._observer(name, meter, message, position)

        def report(done: int, total: int) -> None:
            with meter.paused():
                with self.keeper.interruption.shielded():
                    self.progress(name, first + done, steps)
                self.keeper.pause(first + done)

        solution = solvers.solve(
            flow,
            meter,
            state,
            steps=steps - first,
            save_every=steps,
            progress=report,
            observe=observe,
            **time_stepping(self.study.processes[name]),
        )
        status = cast(Status, solution.status)
        with self.keeper.interruption.shielded():
            last = solution.centers[-1], solution.fluctuations[-1]
            self._finish(name, status, solution.message or message, solution.times[-1], last)
            ended = {**self.keeper.now.ended, name: (status, solution.message or message)}
            self.keeper.update(ended=ended, process="", position=None)
        self.keeper.pause()
        return status

    def _observer(
        self, name: str, meter: Meter, message: str, position: Position | None
    ) -> Callable[[solvers.Observation], None]:
        """Measures and writes a row at every step after `position`."""
        output, steps, particles = self.study.output, self.study.steps, self.problem.particles
        vectors = None if position is None else position.vectors
        known = -1 if position is None else position.state.step

        def observe(obs: solvers.Observation) -> None:
            nonlocal vectors
            with meter.paused() as readings:
                row = readings | self._measure(obs)
                if obs.step == known:
                    return
                if _is_due(obs.step, output.sharpness_every, steps):
                    spectrum, vectors = self._spectrum(obs.center, vectors)
                    row |= spectrum | {"grad_norm_sq": obs.gradient_norm_sq} | obs.diagnostics
                row["wall_time"] = meter.wall_time
                with self.keeper.interruption.shielded():
                    self.writer.observe(name, obs.time, row)
                    if _is_due(obs.step, output.snapshot_every, steps):
                        snapshot = particles(obs.center), particles(obs.fluctuation)
                        self.writer.snapshot(name, obs.time, *snapshot)
                    here = Position(obs.state, message, vectors, readings, row["wall_time"])
                    self.keeper.update(process=name, position=here)

        return observe

    def stop(self) -> None:
        """Write a checkpoint; then keep where the process stands as its last snapshot, for those who read the file."""
        self.keeper.save()
        name, position = self.keeper.now.process, self.keeper.now.position
        if position is not None:
            flow, state = self.flows[name], position.state
            last = flow.center(state.step, state.values), flow.fluctuation(state.step, state.values)
            message = f"interrupted after step {state.step}"
            self._finish(name, "interrupted", message, state.step, last)

    def _finish(
        self, name: str, status: Status, message: str, time: float, last: tuple[Any, Any]
    ) -> None:
        """The end of a process, also if it came between two snapshots."""
        times = self.writer.snapshot_times(name)
        if len(times) and times[-1] < time:
            self.writer.snapshot(name, time, *map(self.problem.particles, last))
        self.writer.finish(name, status, message)

    def _measure(self, obs: solvers.Observation) -> dict[str, Any]:
        row: dict[str, Any] = {
            "train_loss": obs.loss,
            "predicted_loss": obs.predicted_loss,
            "free_energy": obs.free_energy,
            "dissipated": obs.dissipated,
            "sigma_trace": obs.fluctuation_trace,
        }
        if obs.iterate is not None:
            row["iterate_loss"] = self.problem.objective.value(obs.iterate)
        return row

    def _spectrum(self, center: Any, start: Any) -> tuple[dict[str, Any], Any]:
        """Top of the Hessian's spectrum, from the eigenvectors of the time before."""
        k = self.study.output.eigenvalues
        pairs = solvers.top_eigenpairs(self.problem.objective, center, k=k, start=start)
        row = {
            "sharpness": pairs.values[0],
            "sharpness_residual": pairs.residuals[0],
            "hessian_eigs": pairs.values,
        }
        # the order of its sums, too, is to be the same in a run that goes on from a checkpoint
        return row, np.ascontiguousarray(pairs.vectors) if pairs.converged else None

    def compare(self) -> None:
        """Distances of the other processes to gradient descent, if it is one of them."""
        reference, *others = self.flows
        if self.study.processes[reference].flow != REFERENCE_FLOW or not others:
            return
        with self.keeper.interruption.shielded():
            all_times = {name: self.writer.snapshot_times(name) for name in self.flows}
        times = all_times[reference]
        between = Distances(self.problem, self.study.seed)
        done, values = self.keeper.now.compared, self.keeper.now.distances
        if values is None:
            values = np.full((len(others), len(COMPARISONS), len(times)), np.nan)
        for index in range(done, len(others) * len(times)):
            i, row = divmod(index, len(times))
            found = self._compare(between, (reference, others[i]), all_times, row)
            values[i, :, row] = [found.get(key, np.nan) for key in COMPARISONS]
            self.keeper.update(compared=index + 1, distances=values)
            with self.keeper.interruption.shielded():
                self.progress("comparison", index + 1, len(others) * len(times))
            self.keeper.pause()
        named = [dict(zip(COMPARISONS, each, strict=True)) for each in values]
        about = {"w2_note": between.w2_note}
        with self.keeper.interruption.shielded():
            self.writer.compare(reference, times, dict(zip(others, named, strict=True)), about)

    def _compare(
        self,
        between: Distances,
        names: tuple[str, str],
        all_times: Mapping[str, NDArray[np.float64]],
        row: int,
    ) -> dict[str, float]:
        """Distances at one of the reference's snapshots; none where the other process has none."""
        times, own_times = (all_times[name] for name in names)
        own_row = int(np.searchsorted(own_times, times[row]))
        if own_row == len(own_times) or own_times[own_row] != times[row]:
            return {}
        last = not np.isin(times[row + 1 :], own_times).any()
        with self.keeper.interruption.shielded():
            x, y = self.writer.position(names[0], row), self.writer.position(names[1], own_row)
        return between.between(x, y, self.flows[names[1]].labelled, with_w2=last)


def _is_due(step: int, every: int, last: int) -> bool:
    return step % every == 0 or step == last


def _worst(statuses: list[Status]) -> Status:
    order: list[Status] = ["interrupted", "diverged", "failed", "complete"]
    return next(status for status in order if status in statuses)


def _prepare(folder: Path, force: bool) -> Path:
    """The folder, made if need be; refused if it holds something and `force` is not set."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: a file came, a folder is needed for the output")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}") from error
    if found & set(CHECKPOINT_NAMES) and not force:
        raise ValueError(
            f"{folder}: there is a run in it that has not ended; `meanfield resume {folder}` goes on with it, --force begins anew"
        )
    if any(not name.endswith(LEFT_OVER) for name in found) and not force:
        raise ValueError(f"{folder}: the folder is not empty; choose another, or use --force")
    return folder


def _attributes(study: Study) -> dict[str, Any]:
    return {
        "created": now(),
        "seed": study.seed,
        "learning_rate": study.learning_rate,
        "versions_json": current_versions(),
    }
