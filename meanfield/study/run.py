"""Run a study: every process from the same start, everything measured into one file."""

from __future__ import annotations

import json
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
    Floats,
    OutputError,
    ProcessLayout,
    RunLayout,
    Status,
    require_space,
)
from meanfield.study.machine import machine
from meanfield.study.meter import Meter
from meanfield.study.problem import (
    Problem,
    build_flows,
    build_problem,
    process_layouts,
    time_stepping,
)
from meanfield.study.snapshots import RunWriter, versions_json
from meanfield.study.team import SilentWriter, Team, find_team
from solvers._threads import one_blas_thread

Progress = Callable[[str, int, int], None]  # what is going on, done, total

REFERENCE_FLOW = "gradient_descent"


def run(
    study: Study,
    out: str | Path,
    force: bool = False,
    progress: Progress | None = None,
    *,
    start: Floats | None = None,
    attributes: Mapping[str, Any] | None = None,
    team: Team | None = None,
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
    start : (N, D) array, optional
        What all processes start from, in place of the draw with the study's seed.
    attributes : mapping, optional
        More attributes of the file.
    team : Team, optional
        The operating system's processes that run the study, by default those that an MPI launcher started: each has its share
        of the particles, the first one writes. Without a launcher it is this one alone.

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
    team, folder = team or find_team(), Path(out)
    with team.together(), one_blas_thread():
        problem = build_problem(study)
        if start is not None:
            problem = problem.started_from(start)
        team.require_shares(problem)
        flows = build_flows(study, problem)
        layout = _layout(study, problem, process_layouts(study, problem, flows))
    with team.together():
        if team.is_first:
            _prepare(folder, force)
            require_space(folder, layout)
    described = file_attributes(study) | dict(attributes or {})
    with (
        team.on_error_end_all(),
        one_blas_thread(),  # see `README.md`, Determinism
        interruptible() as check_interrupt,
        _writer(team, folder, layout, study.to_toml(), described) as writer,
    ):
        recorder = _Recorder(study, problem, writer, progress, check_interrupt, team)
        statuses = []
        try:
            for name, flow in flows.items():
                statuses.append(recorder.run(name, flow))
            if team.is_first:
                recorder.compare(flows)
        except KeyboardInterrupt:
            statuses.append("interrupted")
        writer.status = _worst(statuses)
    return folder / FILE_NAME


def _writer(
    team: Team, folder: Path, layout: RunLayout, config: str, attributes: Mapping[str, Any]
) -> RunWriter:
    return RunWriter(folder, layout, config, attributes) if team.is_first else SilentWriter()


class _Recorder:
    """Streams the processes of one study into its file."""

    def __init__(
        self,
        study: Study,
        problem: Problem,
        writer: RunWriter,
        progress: Progress | None,
        check_interrupt: Callable[[], None],
        team: Team,
    ) -> None:
        self.study, self.problem, self.writer = study, problem, writer
        self.progress = progress or (lambda what, done, total: None)
        self.check_interrupt = check_interrupt
        self.team = team

    def run(self, name: str, flow: solvers.Flow) -> Status:
        """Run one process to its end; KeyboardInterrupt if it was interrupted."""
        output, steps = self.study.output, self.study.steps
        stepping = time_stepping(self.study.processes[name])
        problem = self.team.problem_for(self.problem, flow, **stepping)
        particles, meter, vectors = problem.particles, Meter(problem.objective), None

        def observe(obs: solvers.Observation) -> None:
            nonlocal vectors
            with meter.paused() as readings:
                row = readings | self._measure(obs)
                if _is_due(obs.step, output.sharpness_every, steps):
                    spectrum, vectors = self._spectrum(obs, vectors)
                    row |= spectrum | {"grad_norm_sq": obs.gradient_norm_sq} | obs.diagnostics
                row["wall_time"] = meter.wall_time
                self.writer.observe(name, obs.time, row)
                if _is_due(obs.step, output.snapshot_every, steps):
                    snapshot = particles(obs.center), particles(obs.fluctuation)
                    self.writer.snapshot(name, obs.time, *snapshot)

        def report(done: int, total: int) -> None:
            with meter.paused():
                self.progress(name, done, total)
                self.team.agree(
                    self.check_interrupt
                )  # here a step is measured in full, or not at all

        solution = solvers.solve(
            flow,
            meter,
            problem.start,
            steps=steps,
            save_every=steps,
            progress=report,
            observe=observe,
            **stepping,
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
            row["iterate_loss"] = obs.objective.value(obs.iterate)
        return row

    def _spectrum(self, obs: solvers.Observation, start: Any) -> tuple[dict[str, Any], Any]:
        """Top of the Hessian's spectrum, from the eigenvectors of the time before."""
        k = self.study.output.eigenvalues
        pairs = solvers.top_eigenpairs(obs.objective, obs.center, k=k, start=start)
        row = {
            "sharpness": pairs.values[0],
            "sharpness_residual": pairs.residuals[0],
            "hessian_eigs": pairs.values,
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


def _prepare(folder: Path, force: bool) -> None:
    """Make the folder if need be; refuse it if it holds something and `force` is not set."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: a file came, a folder is needed for the output")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}") from error
    if occupied and not force:
        raise ValueError(f"{folder}: the folder is not empty; choose another, or use --force")


def run_layout(study: Study) -> RunLayout:
    """What the file of a run is going to hold."""
    problem = build_problem(study)
    return _layout(study, problem, process_layouts(study, problem, build_flows(study, problem)))


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


def file_attributes(study: Study) -> dict[str, Any]:
    """What a file says about the study beside its settings: seed, learning rate, versions."""
    packages = ("numpy", "scipy", "numba", "pot", "h5py")
    versions = {package: version(package) for package in packages}
    versions |= {"meanfield": __version__, "python": platform.python_version()}
    return {
        "seed": study.seed,
        "learning_rate": study.learning_rate,
        "versions_json": versions_json(versions),
        "machine_json": json.dumps(machine(), sort_keys=True),
    }
