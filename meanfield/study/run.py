"""Run a study: every process from the same start, everything measured into one file."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

import solvers
from meanfield import __version__
from meanfield.study.config import Process, Study
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
from meanfield.study.problem import Problem, build_flow, build_problem, time_stepping
from meanfield.study.snapshots import RunWriter, versions_json

Progress = Callable[[str, int, int], None]  # what is going on, done, total

REFERENCE_FLOW = "gradient_descent"
EXACT_W2_PARTICLES = 2000  # exact transport takes seconds beyond, and quadratic memory


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
    folder = _prepare(Path(out), force)
    processes = sorted(study.processes.items(), key=lambda item: item[1].flow != REFERENCE_FLOW)
    flows = {name: build_flow(process, study.learning_rate) for name, process in processes}
    layout = _layout(study, problem, dict(processes))
    require_space(folder, layout)
    with (
        interruptible() as check_interrupt,
        RunWriter(folder, layout, study.to_toml(), _attributes(study)) as writer,
    ):
        recorder = _Recorder(study, problem, writer, progress, check_interrupt)
        statuses = []
        try:
            for name, process in processes:
                statuses.append(recorder.run(name, process, flows[name]))
            recorder.compare([name for name, _ in processes])
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

    def run(self, name: str, process: Process, flow: Any) -> Status:
        """Run one process to its end; KeyboardInterrupt if it was interrupted."""
        output, steps = self.study.output, self.study.steps
        started, vectors = time.perf_counter(), None

        def observe(obs: Any) -> None:
            nonlocal vectors
            row = self._measure(obs)
            if _is_due(obs.step, output.sharpness_every, steps):
                spectrum, vectors = self._spectrum(obs.center, vectors)
                row |= spectrum | {"grad_norm_sq": obs.gradient_norm_sq}
            row["wall_time"] = time.perf_counter() - started
            self.writer.observe(name, obs.time, row)
            if _is_due(obs.step, output.snapshot_every, steps):
                self.writer.snapshot(name, obs.time, obs.center, obs.fluctuation)

        def report(done: int, total: int) -> None:
            self.progress(name, done, total)
            self.check_interrupt()  # here a step is measured in full, or not at all

        solution = solvers.solve(
            flow,
            self.problem.risk,
            self.problem.start,
            steps=steps,
            save_every=steps,
            progress=report,
            observe=observe,
            **time_stepping(process),
        )
        times = self.writer.snapshot_times(name)
        if len(times) and times[-1] < solution.times[-1]:  # it ended between two snapshots
            last = solution.centers[-1], solution.fluctuations[-1]
            self.writer.snapshot(name, solution.times[-1], *last)
        status = cast(Status, solution.status)
        self.writer.finish(name, status, solution.message)
        if status == "interrupted":
            raise KeyboardInterrupt
        return status

    def _measure(self, obs: Any) -> dict[str, float]:
        row = {
            "train_loss": obs.loss,
            "predicted_loss": obs.predicted_loss,
            "free_energy": obs.free_energy,
            "dissipated": obs.dissipated,
            "sigma_trace": obs.fluctuation_trace,
        }
        if obs.iterate is not None:
            row["iterate_loss"] = self.problem.risk.value(obs.iterate)
        return row

    def _spectrum(self, center: Any, start: Any) -> tuple[dict[str, Any], Any]:
        """Top of the Hessian's spectrum, from the eigenvectors of the time before."""
        k = self.study.output.eigenvalues
        pairs = solvers.top_eigenpairs(self.problem.risk, center, k=k, start=start)
        row = {
            "sharpness": pairs.values[0],
            "sharpness_residual": pairs.residuals[0],
            "hessian_eigs": pairs.values,
        }
        return row, pairs.vectors if pairs.converged else None

    def compare(self, names: list[str]) -> None:
        """Distances of the other processes to gradient descent, if it is one of them."""
        reference, *others = names
        if self.study.processes[reference].flow != REFERENCE_FLOW or not others:
            return
        times = self.writer.snapshot_times(reference)
        distances = {}
        for i, name in enumerate(others):
            values = {key: np.full(len(times), np.nan) for key in COMPARISONS}
            common = np.flatnonzero(np.isin(times, self.writer.snapshot_times(name)))
            for row in map(int, common):
                self.check_interrupt()
                last = row == common[-1]
                for key, value in self._distances(reference, name, row, last).items():
                    values[key][row] = value
                self.progress("comparison", i * len(times) + row + 1, len(others) * len(times))
            distances[name] = values
        self.writer.compare(reference, times, distances, {"w2_note": self._w2_note()})

    def _distances(self, reference: str, name: str, row: int, last: bool) -> dict[str, float]:
        x, y = self.writer.position(reference, row), self.writer.position(name, row)
        network, inputs = self.problem.network, self.problem.risk.task.inputs
        difference = network.forward(x, inputs) - network.forward(y, inputs)
        distances = {
            "center_distance": solvers.transport.coupled_distance(x, y),
            "function_distance": float(np.sqrt(np.mean(np.sum(difference**2, axis=1)))),
        }
        chosen = self._w2_particles()
        if last or len(chosen) == len(x):
            distances["w2"] = solvers.transport.w2(x[chosen], y[chosen]).distance
        return distances

    def _w2_particles(self) -> NDArray[np.integer[Any]]:
        """All particles, or the same random `EXACT_W2_PARTICLES` of them in every process."""
        n = len(self.problem.start)
        if n <= EXACT_W2_PARTICLES:
            return np.arange(n)
        rng = np.random.default_rng(self.study.seed)
        return np.sort(rng.choice(n, EXACT_W2_PARTICLES, replace=False))

    def _w2_note(self) -> str:
        if len(self.problem.start) <= EXACT_W2_PARTICLES:
            return "exact, all particles"
        return f"exact, {EXACT_W2_PARTICLES} random particles, last common time only"


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


def _layout(study: Study, problem: Problem, processes: Mapping[str, Process]) -> RunLayout:
    output = study.output

    def of(process: Process) -> ProcessLayout:
        rank = getattr(process, "rank", 1)
        modes = rank if rank > 1 else None
        return ProcessLayout(process.flow, modes, has_iterates=process.flow == REFERENCE_FLOW)

    return RunLayout(
        processes={name: of(process) for name, process in processes.items()},
        particles=len(problem.start),
        parameter_names=problem.network.parameter_names,
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
