"""Executing a width study, from its plan to ``study.h5``; existing results are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from meanfield.study.analysis.stored_run import StoredRun
from meanfield.study.engine.build import check
from meanfield.study.engine.prepared_run import Options, file_attributes
from meanfield.study.engine.signals import Interruption, Stopped, interruptible
from meanfield.study.storage.files.atomic import write_atomically
from meanfield.study.storage.files.lock import turn
from meanfield.study.storage.schema import OutputError
from meanfield.study.storage.study_file import write_study
from meanfield.study.storage.study_record import METRICS, PLAN_NAME, STUDY_NAME, StudyRecord
from meanfield.study.width import runs
from meanfield.study.width.costs import announcement, require_room
from meanfield.study.width.distances import (
    TRANSPORTS,
    Inputs,
    Measured,
    floor_name,
    measure_floor,
    measure_reference,
    measure_run,
    times_of,
)
from meanfield.study.width.plan import Run, WidthPlan, read_plan
from meanfield.study.width.statistics import slopes
from meanfield.study.width.validity import study_warnings
from meanfield.study.width.workers import Job, Report, available_cores, do_jobs

Say = Callable[[str], None]


class Progress(NamedTuple):
    """The progress of a stage: the fraction of its work, and the number of its jobs done."""

    stage: str
    fraction: float
    done: int
    total: int


@dataclass
class Outcome:
    """The outcome of a call: `path` of ``study.h5`` if there is one, `failures` by the name of a run, `missing` runs.

    stopped : the reason if it was stopped, a key of `meanfield.study.engine.signals.EXIT_CODES`.
    """

    stopped: str | None = None
    path: Path | None = None
    failures: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Execution:
    """How a study is executed; it does not affect the numbers.

    `jobs` workers at a time, by default one per core: concurrent runs use the cores better than the threads of one run,
    as not all of a run is threaded. They have `threads` in total, by default one per core. Of `num_tasks` calls that share the
    runs, this is number `task_index`. `options` are those of every run, except the time limit, which is that of the whole call.
    """

    jobs: int | None = None
    task_index: int = 0
    num_tasks: int = 1
    collect_only: bool = False
    threads: int | None = None
    options: Options = field(default_factory=Options)

    def cores(self) -> int:
        """Total number of threads of all workers."""
        there_are = available_cores()
        if self.threads is None:
            return there_are
        if not 1 <= self.threads <= there_are:
            raise ValueError(
                f"threads must be an integer from 1 to {there_are}, got {self.threads}"
            )
        return self.threads

    def workers(self) -> int:
        """Number of concurrent workers."""
        if self.jobs is not None and self.jobs < 1:
            raise ValueError(f"jobs must be an integer of at least 1, got {self.jobs}")
        if self.jobs is not None and self.threads is not None and self.jobs > self.cores():
            raise ValueError(
                f"jobs must be at most threads = {self.threads}, got {self.jobs}; each needs one"
            )
        return self.jobs or self.cores()


def run_width_study(
    plan: WidthPlan,
    folder: str | Path,
    execution: Execution | None = None,
    progress: Callable[[Progress], None] | None = None,
    say: Say | None = None,
) -> Outcome:
    """Execute the missing runs of a study, then its distances; write ``study.h5`` if all runs exist, or this is the only task.

    When it is stopped (`engine.signals`), or dies, finished runs are kept, and unfinished ones leave checkpoints from
    which the next call continues. It starts workers: a script must call it under ``if __name__ == "__main__":``.

    Raises
    ------
    ValueError
        The folder holds another study, or something else; the settings are inconsistent; the task does not exist; a run
        needs more memory than available.
    OutputError
        The folder cannot be written, or has too little space.
    """
    folder, execution = Path(folder), execution or Execution()
    progress, say = progress or (lambda progress: None), say or (lambda text: None)
    workers, cores = execution.workers(), execution.cores()
    mine = plan.share(execution.task_index, execution.num_tasks)
    check(plan.study_of(Run(plan.width.widths[0], 0)))
    _prepare(plan, folder)
    outcome = Outcome()
    with interruptible(execution.options.max_runtime) as interruption:
        crew = _Crew(workers, cores, interruption)
        try:
            interruption.begin()
            if not execution.collect_only:
                _do_runs(plan, folder, mine, execution.options, crew, progress, say, outcome)
            present = [run for run in plan.runs if _is_there(plan, folder, run)]
            outcome.missing = [run.name for run in plan.runs if run not in present]
            whole = not outcome.missing or execution.num_tasks == 1 or execution.collect_only
            if whole and plan.reference in present:
                _measure(plan, folder, present, crew, progress, say, outcome)
        except Stopped:
            interruption.finish()
            outcome.stopped = interruption.reason
            outcome.missing = [run.name for run in plan.runs if not run.path(folder).exists()]
    return outcome


class _Crew(NamedTuple):
    """The workers of a study: their number, total threads, and interruption."""

    workers: int
    cores: int
    interruption: Interruption

    def do(self, jobs: list[Job], report: Report) -> dict[str, str]:
        """See `do_jobs`."""
        side_by_side = max(1, min(self.workers, len(jobs)))
        threads = max(1, self.cores // side_by_side)
        return do_jobs(jobs, side_by_side, threads, report, self.interruption)


def _prepare(plan: WidthPlan, folder: Path) -> None:
    """Create the folder and write the plan; raise if it belongs to another study."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} must be a folder for the study, got a file")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        strange = any(not path.name.startswith(PLAN_NAME) for path in folder.iterdir())
    except OSError as error:
        raise OutputError(f"{folder}: cannot be created: {error.strerror}") from error
    there = read_plan(
        folder
    )  # after listing the folder: another task adds files only after its plan
    if there is None:
        if strange:
            raise ValueError(
                f"{folder} must be empty or hold this study, got other files; choose another folder"
            )
    elif differences := plan.differences(there):
        raise ValueError(
            f"{folder} must be empty or hold this study, got another (there and now: {'; '.join(differences)}); "
            "choose another folder"
        )
    if there != plan:
        write_atomically(folder / PLAN_NAME, plan.to_toml().encode())


def _is_there(plan: WidthPlan, folder: Path, run: Run, say: Say | None = None) -> bool:
    """Whether a run is complete. With `say`, an unusable file is reported and removed."""
    try:
        fault = runs.fault(plan, folder, run)
    except FileNotFoundError:
        return False
    if fault is not None and say is not None:
        say(f"{run.path(folder)}: damaged, it is run again: {fault}")
        run.path(folder).unlink()
    return fault is None


# --- the runs ------------------------------------------------------------------------------------


def _do_runs(
    plan: WidthPlan,
    folder: Path,
    mine: list[Run],
    options: Options,
    crew: _Crew,
    progress: Callable[[Progress], None],
    say: Say,
    outcome: Outcome,
) -> None:
    """Execute the missing runs."""
    missing = [run for run in mine if not _is_there(plan, folder, run, say)]
    require_room(plan, folder, missing, options.memory_limit)
    for run in mine:
        if run not in missing:
            runs.clear(folder, run)
    options = replace(
        options, max_runtime=None, progress=None, say=None
    )  # handled for all runs together
    jobs = {run: Job(run.name, runs.execute, (plan, folder, run, options)) for run in missing}
    bar = _Bar("runs", {run.name: run.width for run in missing}, progress)
    for group in _groups(missing, crew.workers):
        outcome.failures |= crew.do([jobs[run] for run in group], bar.report)


def _groups(missing: list[Run], workers: int) -> Iterable[list[Run]]:
    """One group of all runs, unless the reference costs more than its share: then it is first, with all cores."""
    total = sum(run.width for run in missing)
    if len(missing) > 1 and missing[0].seed is None and missing[0].width * workers > total:
        return [missing[:1], missing[1:]]
    return [missing] if missing else []


class _Bar:
    """The progress of a stage, weighted by the costs of its jobs."""

    def __init__(
        self, stage: str, costs: dict[str, float], progress: Callable[[Progress], None]
    ) -> None:
        self._stage, self._costs, self._progress = stage, costs, progress
        self._done = dict.fromkeys(costs, 0.0)

    def report(self, name: str, fraction: float) -> None:
        self._done[name] = fraction
        prepared = sum(self._costs[name] * done for name, done in self._done.items())
        finished = sum(done == 1.0 for done in self._done.values())
        share = prepared / sum(self._costs.values())
        self._progress(Progress(self._stage, share, finished, len(self._costs)))


# --- the distances -------------------------------------------------------------------------------


def _measure(
    plan: WidthPlan,
    folder: Path,
    present: list[Run],
    crew: _Crew,
    progress: Callable[[Progress], None],
    say: Say,
    outcome: Outcome,
) -> None:
    """Compute the missing distances, and ``study.h5``."""
    kept = Measured(plan, folder)
    kept.home.mkdir(exist_ok=True)
    with (kept.home / "lock").open("wb") as lock, turn(lock, exclusive=True) as mine:
        if not mine:
            say("another worker computes the distances")
            return
        compared = [run for run in present if run.seed is not None]
        first, jobs = _distance_jobs(kept, compared)
        if jobs and (about := announcement(plan, crew.workers)):
            say(about)
        bar = _Bar("distances", {job.name: 1.0 for job in [*first, *jobs]}, progress)
        for group in (first, jobs):
            outcome.failures |= crew.do(group, bar.report)
        record = _collect(kept, compared)
        write_study(record)
        outcome.path = record.path


def _distance_jobs(kept: Measured, compared: list[Run]) -> tuple[list[Job], list[Job]]:
    """The missing jobs: of the reference, and of everything else, the widest first."""
    plan, folder = kept.plan, kept.folder
    first = []
    if kept.load("reference", plan.reference) is None:
        first = [Job("distances of reference", measure_reference, (plan, folder))]
    jobs = [
        (width, Job(f"floors of width {width}", measure_floor, (plan, folder, width)))
        for width in plan.width.widths
        if kept.load(floor_name(width), plan.reference) is None
    ]
    jobs += [
        (run.width, Job(f"distances of {run.name}", measure_run, (plan, folder, run)))
        for run in compared
        if kept.load(run.name, run, plan.reference) is None
    ]
    return first, [job for _, job in sorted(jobs, key=lambda job: -job[0])]


def _collect(kept: Measured, compared: list[Run]) -> StudyRecord:
    """The record of the existing results."""
    plan, folder = kept.plan, kept.folder
    widths, times, p = np.array(plan.width.widths), times_of(plan), len(plan.pairs)
    shape = p, len(widths), plan.width.seeds, len(times)
    distances = {name: np.full(shape, np.nan) for name in METRICS}
    statuses = np.full(shape[1:3], "missing", dtype=object)
    created = []
    for run in compared:
        place = int(np.searchsorted(widths, run.width)), run.seed
        with StoredRun.open(run.path(folder)) as result:
            statuses[place] = result.status
            created.append(str(result.attributes["created"]))
        for name, values in (kept.load(run.name, run, plan.reference) or {}).items():
            distances[name][:, *place, :] = values
    floors = {name: np.full((p, len(widths), len(times)), np.nan) for name in TRANSPORTS}
    for i, width in enumerate(plan.width.widths):
        for name, values in (kept.load(floor_name(width), plan.reference) or {}).items():
            floors[name][:, i] = values
    inputs = Inputs(plan).held_out
    with StoredRun.open(plan.reference.path(folder)) as reference:
        about = {"held_out": inputs.note, "reference_status": reference.status}
        created.append(str(reference.attributes["created"]))
    about["created"] = min(created, key=datetime.fromisoformat)  # start of the first run
    record = StudyRecord(
        path=folder / STUDY_NAME,
        attributes=_attributes(plan) | about,
        config=plan.config.to_toml(),
        widths=widths,
        seeds=np.arange(plan.width.seeds),
        times=times,
        pairs=tuple(plan.pairs),
        distances=distances,
        floors=floors,
        slopes=_slopes(plan, distances),
        statuses=statuses,
        warnings=(),
    )
    return replace(record, warnings=tuple(study_warnings(plan, record, inputs)))


def _slopes(plan: WidthPlan, distances: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Slopes without the width of the reference: started from its particles, its distance is rounding error."""
    widths = np.array(plan.width.widths)
    fitted = (widths < plan.width.reference_width) | (not plan.is_nested)
    return {
        name: np.stack([slopes(widths[fitted], values[fitted]) for values in of_pairs])
        for name, of_pairs in distances.items()
    }


def _attributes(plan: WidthPlan) -> dict[str, str | int | float]:
    about = {"start": plan.width.start, "reference_width": plan.width.reference_width}
    return {**about, **file_attributes(plan.config)}
