"""Runs and studies from Python: what the commands do, with objects in place of files and options."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meanfield.study.config.run_config import RunConfig
from meanfield.study.engine import resume as resuming
from meanfield.study.engine import run as running
from meanfield.study.engine.given import Given
from meanfield.study.engine.prepared_run import Options
from meanfield.study.engine.progress import shown, warn
from meanfield.study.result import Result
from meanfield.study.storage.kind import folder_of, require_run
from solvers._support.arguments import flag, instance, the_path

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    import solvers

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
        What all processes start from; by default the objective's own start, of a network the draw with the run's seed.
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
    >>> config = meanfield.RunConfig(steps=100, network={"width": 50})
    >>> result = meanfield.run(config)
    >>> result.compare(), result.figures["loss"]
    """
    instance("config", config, RunConfig, "RunConfig.from_toml(path) reads a file")
    given = Given(flows or {}, objective, start).checked(config)
    force = flag("force", force)
    folder, kept = _folder(out)
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
    """Go on with a run that was stopped or that died, from its last checkpoint, as if nothing had happened.

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
    """
    where = folder_of(the_path("folder", folder))
    given = Given(flows or {}, objective, start)
    with shown(progress) as report:
        options = Options(progress=report, say=warn)
        path = resuming.resume(where, options, given=given)
    return Result.of(path, given, _temporary.get(where))


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

    Every process goes on from where it ended; one that diverged or failed stays as it is. Until all is done the finished run
    stays as it was, and what is written is beside it: of an extension that was stopped or killed, `resume` does the rest.

    Parameters
    ----------
    folder : path
        That of the run.
    steps : int
        Of gradient descent in all, more than the run has.
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
        There is no finished run in the folder, it has as many steps, its data or objects are not those that it began with, or
        version 0.1 wrote it, which did not keep where processes ended.
    OutputError
        The file cannot be written.

    Examples
    --------
    >>> result = meanfield.extend("meanfield-run", steps=800)
    """
    where = folder_of(the_path("folder", folder))
    given = Given(flows or {}, objective, start)
    with Result.of(where, given, _temporary.get(where)) as finished:
        return finished.extend(steps, progress)


def load(path: str | Path) -> Result:
    """Open a run, finished or still going on, from its file or its folder.

    Raises
    ------
    ValueError
        There is no run, or its file is damaged.
    """
    return Result.of(require_run(the_path("path", path)))


# --- folders --------------------------------------------------------------------------------------


class _TemporaryFolder:
    """A folder that is removed when nobody holds this any more."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="meanfield-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


#: those that are there, by their paths: a run in one may go on
_temporary: weakref.WeakValueDictionary[Path, _TemporaryFolder] = weakref.WeakValueDictionary()


def _folder(out: str | Path | None) -> tuple[Path, _TemporaryFolder | None]:
    """The folder for results, and what is to be held as long as they are."""
    if out is not None:
        return the_path("out", out), None
    kept = _temporary_folder()
    return kept.path, kept


def _temporary_folder() -> _TemporaryFolder:
    made = _TemporaryFolder()
    _temporary[made.path] = made
    return made
