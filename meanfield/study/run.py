"""Run a study: every process from the same start, everything measured into one file."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np

import solvers
from meanfield import __version__
from meanfield.study.config import Study
from meanfield.study.distances import Distances
from meanfield.study.interrupt import interruptible
from meanfield.study.layout import (
    COMPARISONS,
    FILE_NAME,
    OutputError,
    ProcessLayout,
    RunLayout,
    Status,
    require_space,
)
from meanfield.study.meter import Meter
from meanfield.study.problem import (
    Problem,
    build_flows,
    build_problem,
    process_layouts,
    time_stepping,
)
from meanfield.study.snapshots import RunWriter, versions_json

Progress = Callable[[str, int, int], None]  # what is going on, done, total

REFERENCE_FLOW = "gradient_descent"


def run(
    study: Study, out: str | Path, force: bool = False, progress: Progress | None = None
) -> Path:
    """Run the processes of a study and write ``run.h5`` in a folder.

    All start from the same particles, gradient descent first; afterwards the others are compared
    with it. A process that diverges or fails ends there and the others go on. Ctrl-C ends the run after the
    current step. The file holds how it ended, and everything up to then.

    Parameters
    ----------
    study : Study
    out : path
        A folder; it is made if it does not exist.
    force : bool
        Whether the folder may hold something; an older ``run.h5`` is replaced at the end.
    progress : callable, optional
        Called as ``progress(what, done, total)``.

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
    problem = build_problem(study)
    flows = build_flows(study, problem)
    layout = _layout(study, problem, process_layouts(study, problem, flows))
    folder = _prepare(Path(out), force)
    require_space(folder, layout)
    with (
        interruptible() as check_interrupt,
        RunWriter(folder, layout, study.to_toml(), _attributes(study)) as writer,
    ):
        recorder = _Recorder(study, problem, writer, progress, check_interrupt)
        statuses = []
        try:
            for name, flow in flows.items():
                statuses.append(recorder.run(name, flow))
            recorder.compare(flows)
        except KeyboardInterrupt:
            statuses.append("interrupted")
        writer.status = _worst(statuses)
    return folder / FILE_NAME


class _Recorder:
    """Streams the processes of one study into its file."""

    def __init__(
        self,
        study: Study,
        problem: Problem,
        writer: RunWriter,
        progress: Progress | None,
        check_interrupt: Callable[[], None],
    ) -> None:
        self.study, self.problem, self.writer = study, problem, writer
        self.progress = progress or (lambda what, done, total: None)
        self.check_interrupt = check_interrupt

    def run(self, name: str, flow: solvers.Flow) -> Status:
        """Run one process to its end; KeyboardInterrupt if it was interrupted."""
        output, steps, particles = self.study.output, self.study.steps, self.problem.particles
        meter, vectors = Meter(self.problem.objective), None

        def observe(obs: solvers.Observation) -> None:
            nonlocal vectors
            with meter.paused() as readings:
                row = readings | self._measure(obs)
                if _is_due(obs.step, output.sharpness_every, steps):
                    spectrum, vectors = self._spectrum(obs.center, vectors)
                    row |= spectrum | {"grad_norm_sq": obs.gradient_norm_sq} | obs.diagnostics
                row["wall_time"] = meter.wall_time
                self.writer.observe(name, obs.time, row)
                if _is_due(obs.step, output.snapshot_every, steps):
                    snapshot = particles(obs.center), particles(obs.fluctuation)
                    self.writer.snapshot(name, obs.time, *snapshot)

        def report(done: int, total: int) -> None:
            with meter.paused():
                self.progress(name, done, total)
                self.check_interrupt()  # here a step is measured in full, or not at all

        solution = solvers.solve(
            flow,
            meter,
            self.problem.start,
            steps=steps,
            save_every=steps,
            progress=report,
            observe=observe,
            **time_stepping(self.study.processes[name]),
        )
        times = self.writer.snapshot_times(name)
        if len(times) and times[-1] < solution.times[-1]:  # it ended between two snapshots
            last = particles(solution.centers[-1]), particles(solution.fluctuations[-1])
            self.writer.snapshot(name, solution.times[-1], *last)
        status = cast(Status, solution.status)
        self.writer.finish(name, status, solution.message)
        if status == "interrupted":
            raise KeyboardInterrupt
        return status

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
            "hessian_residuals": pairs.residuals,
        }
        return row, pairs.vectors if pairs.converged else None

    def compare(self, flows: Mapping[str, solvers.Flow]) -> None:
        """Distances of the other processes to gradient descent, if it is one of them."""
        reference, *others = flows
        if self.study.processes[reference].flow != REFERENCE_FLOW or not others:
            return
        times = self.writer.snapshot_times(reference)
        between = Distances(self.problem, self.study.seed)
        distances = {}
        for i, name in enumerate(others):
            values = {key: np.full(len(times), np.nan) for key in COMPARISONS}
            own_times = self.writer.snapshot_times(name)
            common = np.flatnonzero(np.isin(times, own_times))
            for row in map(int, common):
                self.check_interrupt()
                x = self.writer.position(reference, row)
                y = self.writer.position(name, int(np.searchsorted(own_times, times[row])))
                found = between.between(x, y, flows[name].labelled, with_w2=row == common[-1])
                for key, value in found.items():
                    values[key][row] = value
                self.progress("comparison", i * len(times) + row + 1, len(others) * len(times))
            distances[name] = values
        self.writer.compare(reference, times, distances, {"w2_note": between.w2_note})


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
        occupied = any(folder.iterdir())
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}") from error
    if occupied and not force:
        raise ValueError(f"{folder}: the folder is not empty; choose another, or use --force")
    return folder


def _layout(study: Study, problem: Problem, processes: Mapping[str, ProcessLayout]) -> RunLayout:
    output = study.output
    return RunLayout(
        processes=processes,
        particles=len(problem.particles(problem.start)),
        parameter_names=problem.parameter_names,
        steps=study.steps,
        snapshot_every=output.snapshot_every,
        eigenvalues=output.eigenvalues,
        dtype=output.snapshot_dtype,
        compression=output.compression,
    )


def _attributes(study: Study) -> dict[str, Any]:
    packages = ("numpy", "scipy", "numba", "pot", "h5py")
    versions = {package: version(package) for package in packages}
    versions |= {"meanfield": __version__, "python": platform.python_version()}
    return {
        "seed": study.seed,
        "learning_rate": study.learning_rate,
        "versions_json": versions_json(versions),
    }
