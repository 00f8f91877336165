"""Runs and studies from Python: what the commands do, with objects in place of files and options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meanfield.study.config.run_config import RunConfig
from meanfield.study.engine import resume as resuming
from meanfield.study.engine import run as running
from meanfield.study.engine.given import Given
from meanfield.study.engine.prepared_run import Options
from meanfield.study.engine.progress import shown, warn
from meanfield.study.result import Result
from meanfield.study.storage.kind import folder_of, kind_of
from meanfield.study.storage.study_record import StudyRecord
from meanfield.study.storage.temporary_folder import TemporaryFolder, held, holding, output_folder
from solvers._support.arguments import count, flag, instance, refusal, the_path

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    import solvers
    from meanfield.study.sweep.objects import SweepObjects
    from meanfield.study.sweep.plan import SweepPlan
    from meanfield.study.sweep.table import SweepResult

Progress = bool | Callable[[str, int, int], None]


def run(
    config: RunConfig,
    out: str | Path | None = None,
    progress: Progress = False,
    *,
    flows: Mapping[str, solvers.Flow] | None = None,
    objective: Any = None,
    start: ArrayLike | None = None,
    force: bool = False,
) -> Result:
    """Run what ``meanfield run`` runs: several flows on one problem from one start, into one file, the same bits.

    Gradient descent runs first; afterwards the others are compared with it, and it with itself from one rounding away. A
    process that diverges or fails ends there and the others go on. Ctrl-C stops the run with the status "interrupted" and a
    checkpoint, from which `resume` goes on.

    Parameters
    ----------
    config : RunConfig
        ``RunConfig(steps=400, network={"width": 400}, …)`` or ``RunConfig.from_toml(path)``.
    out : path, optional
        The folder for ``run.h5``; it is made if it does not exist. None: a temporary folder, removed once no `Result` of the
        run is left.
    progress : bool or callable
        True: a bar for each process on stderr where that is a terminal, or in a notebook. A callable gets ``(what, done,
        total)``.
    flows : mapping of str to Flow, optional
        Flows of one's own by name, beside the processes of the configuration: ``{"mine": MyFlow(0.8)}``.
    objective : Objective, optional
        What is minimised in place of the configuration's task or landscape: a `Risk`, a `TorchObjective`, a landscape, or any
        object with ``value(x)``, ``gradient(x)`` and ``hvp(x, v)``. Arrays x of shape (N, D) are N particles, those of any
        other shape one.
    start : array, optional
        What all processes start from; by default the configuration's `start`, else the objective's own, of a network the draw
        with the run's seed.
    force : bool
        Whether the folder may hold something; an older run there is replaced at the end.

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        The folder is not empty, an argument is none of these, or settings, data and objects do not fit together.
    OutputError
        The file cannot be written.

    Notes
    -----
    What a configuration cannot say, `flows`, `objective` and `start`, is described in the file's attribute `given_json`;
    `resume` and `extend` need the same objects again.

    Examples
    --------
    >>> config = meanfield.RunConfig(steps=20, task={"name": "digits", "n": 20}, network={"width": 10})
    >>> result = meanfield.run(config)
    >>> result.status, list(result)
    ('complete', ['gradient_descent', 'gradient_flow', 'free_energy_flow'])
    >>> result["gradient_descent"].observables["sharpness"].shape
    (21,)
    """
    instance("config", config, RunConfig, "RunConfig.from_toml(path) reads a file")
    given = Given(flows or {}, objective, start).checked(config)
    force = flag("force", force)
    folder, kept = output_folder(out)
    with shown(progress) as report:
        options = Options(progress=report, say=warn)
        path = running.run(config, folder, force, given=given, options=options)
    return Result.of(path, given, kept)


def resume(
    folder: str | Path,
    progress: Progress = False,
    *,
    flows: Mapping[str, solvers.Flow] | None = None,
    objective: Any = None,
    start: ArrayLike | None = None,
) -> Result:
    """Continue a run that was stopped or killed from its last checkpoint; the result is that of an uninterrupted run.

    Parameters
    ----------
    folder : path
        That of the run.
    progress : bool or callable
        As of `run`.
    flows, objective, start
        The objects that the run was given.

    Returns
    -------
    Result
        Of a run that had ended, as it was.

    Raises
    ------
    ValueError
        There is no run in the folder, another process is running there, or its data or objects are not those that it began
        with.
    OutputError
        The file cannot be written.

    Examples
    --------
    Of a run that had ended, as here, it is the result as it was.

    >>> result = meanfield.resume("meanfield-run")
    >>> result.status
    'complete'
    """
    where = folder_of(the_path("folder", folder))
    given = Given(flows or {}, objective, start)
    with shown(progress) as report:
        options = Options(progress=report, say=warn)
        path = resuming.resume(where, options, given=given)
    return Result.of(path, given, held(where))


def extend(
    folder: str | Path,
    steps: int,
    progress: Progress = False,
    *,
    flows: Mapping[str, solvers.Flow] | None = None,
    objective: Any = None,
    start: ArrayLike | None = None,
) -> Result:
    """Let a finished run go on to more steps: its file is then that of a run of so many, bit for bit.

    Every process goes on from where it ended, a measure from before its last step; one that diverged or failed stays as it is.
    Until all is done the finished run stays as it was, and what is written is beside it: of an extension that was stopped or
    killed, `resume` does the rest.

    Parameters
    ----------
    folder : path
        That of the run.
    steps : int
        Of gradient descent or of a measure in all, more than the run has.
    progress : bool or callable
        As of `run`.
    flows, objective, start
        The objects that the run was given.

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        There is no finished run in the folder, it has as many steps or by a tolerance, its data or objects are not those
        that it began with, or version 0.1 wrote it, which did not keep where processes ended.
    OutputError
        The file cannot be written.

    Examples
    --------
    >>> result = meanfield.extend("meanfield-run", steps=30)
    >>> result["gradient_descent"].observables["time"][-1]
    np.float64(30.0)
    """
    where = folder_of(the_path("folder", folder))
    given = Given(flows or {}, objective, start)
    with Result.of(where, given, held(where)) as finished:
        return finished.extend(steps, progress)


def width_study(
    config: RunConfig,
    widths: Iterable[int],
    seeds: int = 8,
    out: str | Path | None = None,
    progress: bool = False,
    *,
    reference_width: int | None = None,
    start: str = "nested",
    jobs: int | None = None,
    threads: int | None = None,
) -> StudyRecord:
    """Compare runs of several widths and seeds with one much wider, as ``meanfield width`` does.

    It starts worker processes: a script must call it under ``if __name__ == "__main__":``. Called again with the same folder it
    goes on with what is missing; more widths and seeds may be asked for.

    Parameters
    ----------
    config : RunConfig
        Of a network on a task.
    widths : sequence of int
        Numbers of particles, in increasing order.
    seeds : int
        Runs at each width.
    out : path, optional
        The folder; None: a temporary one, removed once the record is not held any more.
    progress : bool
        Whether bars are shown on stderr, where that is a terminal.
    reference_width : int, optional
        By default 16 times the widest.
    start : {"nested", "independent"}
        Whether the runs start from particles of the reference.
    jobs, threads : int, optional
        Worker processes at a time, and threads of all of them together; by default one of each for every core.

    Returns
    -------
    StudyRecord
        Distances of every run to the reference, their medians' slopes, warnings; ``.path`` is ``study.h5``.

    Raises
    ------
    ValueError
        Widths out of order, a landscape, a folder with something else in it, settings that do not fit together.
    OutputError
        The folder cannot be written.
    RuntimeError
        The reference or all runs failed; the message says why.
    KeyboardInterrupt
        It was stopped; finished runs are kept.

    Examples
    --------
    >>> config = meanfield.RunConfig(steps=5, task={"name": "digits", "n": 20}, network={"width": 5})
    >>> study = meanfield.width_study(config, widths=[4, 8], seeds=2, reference_width=32)
    >>> study.path.name
    'study.h5'
    """
    from meanfield.study.storage.study_file import read_study
    from meanfield.study.width.plan import make_plan
    from meanfield.study.width.progress import StudyBars
    from meanfield.study.width.study import Execution, run_width_study

    instance("config", config, RunConfig, "RunConfig.from_toml(path) reads a file")
    if isinstance(widths, str | bytes) or not isinstance(widths, Iterable):
        raise refusal("widths", "a list of integers", widths)
    several = tuple(count("widths", width) for width in widths)
    plan = make_plan(config, several, count("seeds", seeds), reference_width, start)
    folder, kept = output_folder(out)
    with StudyBars(quiet=not flag("progress", progress)) as bars:
        outcome = run_width_study(plan, folder, Execution(jobs, threads=threads), bars, warn)
    if outcome.stopped:
        raise KeyboardInterrupt(f"stopped by {outcome.stopped}; the same call goes on")
    if outcome.path is None:
        raise RuntimeError("; ".join(f"{name}: {why}" for name, why in outcome.failures.items()))
    for name, why in outcome.failures.items():
        warn(f"{name}: {why}")
    record = read_study(outcome.path)
    return holding(record, kept)


def sweep(
    config: RunConfig,
    over: Mapping[str, Iterable[Any]],
    out: str | Path | None = None,
    progress: Progress = False,
    *,
    flows: Mapping[str, solvers.Flow | Callable[[RunConfig], solvers.Flow]] | None = None,
    objective: Any = None,
    start: ArrayLike | Callable[[RunConfig], ArrayLike] | None = None,
) -> SweepResult:
    """Run a configuration with every combination of some values, one after the other in this process.

    Each run has a folder of its own, ``<out>/learning_rate=0.5,seed=1/``, and ``sweep.csv`` is the table of all. A run that
    diverges or fails is recorded, and the others go on. Called again with the same folder it goes on with what is missing, also
    with more values.

    Parameters
    ----------
    config : RunConfig
    over : mapping
        Lists of values by key: ``{"learning_rate": [0.5, 1.0], "network.width": [64, 256], "seed": range(4)}``.
    out : path, optional
        The folder; None: a temporary one, removed once neither the sweep nor a run of it is held any more.
    progress : bool or callable
        As of `run`: ``("sweep", steps done, steps in all)``.
    flows, objective, start
        As of `run`, or functions of a run's configuration: ``{"mine": lambda config: MyFlow(config.learning_rate)}``. The same
        call needs the same objects again.

    Returns
    -------
    SweepResult
        A mapping from the names of the runs to their results; ``.rows`` and ``.to_dataframe()`` are the table.

    Raises
    ------
    ValueError
        A key or value that a configuration may not have, no such objects, or a folder with something else or with runs of
        other objects in it.
    OutputError
        The folder cannot be written.

    Examples
    --------
    >>> config = meanfield.RunConfig(steps=5, task={"name": "digits", "n": 20}, network={"width": 5})
    >>> sweep = meanfield.sweep(config, {"learning_rate": [0.5, 1.0]})
    >>> list(sweep)
    ['learning_rate=0.5', 'learning_rate=1.0']
    """
    from meanfield.study.sweep.objects import SweepObjects
    from meanfield.study.sweep.plan import make_plan
    from meanfield.study.sweep.sweep import run_sweep

    plan = make_plan(config, over)
    folder, kept = output_folder(out)
    objects = SweepObjects(flows or {}, objective, start)
    opened = partial(_run_of_sweep, plan, objects, kept)
    with shown(progress) as report:
        options = Options(progress=report, say=warn)
        made = run_sweep(plan, folder, options, opened, objects)
    return holding(made, kept)


def _run_of_sweep(
    plan: SweepPlan, objects: SweepObjects, folder: TemporaryFolder | None, path: str | Path
) -> Result:
    return Result.of(path, objects.of(plan.configs[Path(path).name]), folder)


def load(path: str | Path) -> Result | StudyRecord | SweepResult:
    """Open a run, finished or still going on, a width study or a sweep, from its file or its folder.

    Raises
    ------
    ValueError
        There is none of these, or its file is damaged.

    Examples
    --------
    >>> meanfield.load("meanfield-run").status
    'complete'
    """
    where = the_path("path", path)
    kind = kind_of(where)
    if kind == "sweep":
        from meanfield.study.sweep.sweep import read_sweep

        return read_sweep(folder_of(where), Result.of)
    if kind == "run":
        return Result.of(where)
    from meanfield.study.report.source import read_source

    record = read_source(where)
    assert isinstance(record, StudyRecord)
    return record
