"""Animations of the particles of a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.animation import AbstractMovieWriter, FFMpegWriter, PillowWriter
from matplotlib.figure import Figure

from meanfield.study.analysis.process_views import Process
from meanfield.study.analysis.stored_run import StoredRun
from meanfield.study.figures.measure import CELLS, density, most_moved
from meanfield.study.figures.notation import parameter
from meanfield.study.figures.palette import looks
from meanfield.study.figures.particles import MASS, Points, evenly, range_of, sample
from meanfield.study.figures.style import Series, new_figure, styled, title, wrapped
from meanfield.study.storage.files.atomic import written_whole
from solvers.measures.representations import Particles

ANIMATIONS = ("gif", "mp4")
MOST_FRAMES = 100
DPI = 110

Progress = Callable[[str, int, int], None]  # current stage, done, total


class Scene(NamedTuple):
    """The data of an animation: values (m, k) of k parameters at each time (s,), weights (m,)."""

    parameters: tuple[str, ...]
    times: Series
    values: list[Points]
    weights: Series
    ranges: list[tuple[float, float]]


def save_animation(
    path: str | Path,
    out: str | Path,
    process: str,
    fps: float = 10.0,
    progress: Progress | None = None,
) -> Path:
    """Animate the particles of a process: in the plane of the two parameters that move most, or, on the line, as a density.

    Parameters
    ----------
    path : path
        The run's file, or its folder.
    out : path
        The animation, ``.gif`` or ``.mp4``.
    process : str
        Its name.
    fps : float
        Frames per second; a frame is a snapshot, with at most `MOST_FRAMES` evenly chosen ones.
    progress : callable, optional
        Called as ``progress(what, done, total)`` after every frame.

    Returns
    -------
    Path
        The animation.

    Raises
    ------
    ValueError
        There is no such process or it has no snapshots, or the format is unknown or needs ffmpeg, which is not installed.
    OutputError
        The file cannot be written.

    Examples
    --------
    >>> from meanfield.study import figures
    >>> figures.save_animation("meanfield-run", "particles.gif", "gradient_descent").name
    'particles.gif'
    """
    out = Path(out)
    writer = _writer(out.suffix.removeprefix("."), fps)
    with StoredRun.open(path) as result:
        if process not in result:
            raise ValueError(f"process must be one of {', '.join(result)}, got {process!r}")
        if not len(result[process].snapshots):
            raise ValueError(f"{path}: {process} must have snapshots to animate, got none")
        if not isinstance(result[process].snapshots[0].measure, Particles | None):
            raise ValueError(
                f"process must be one of particles to animate, got {process!r}, of a density; `meanfield plot` draws it"
            )
        scene = _scene(result[process])
        colour = looks(result)[process].colour
    with styled(), written_whole(out, out.suffix) as partial:
        figure = new_figure(3.6)
        frames = _frames(figure, scene, process, colour)
        with writer.saving(figure, str(partial), DPI):
            for done, _ in enumerate(frames, 1):
                writer.grab_frame()
                figure.set_layout_engine("none")  # the axes must not move between frames
                if progress is not None:
                    progress("animation", done, len(scene.times))
    return out


def _writer(suffix: str, fps: float) -> AbstractMovieWriter:
    if suffix not in ANIMATIONS:
        raise ValueError(
            f"the format of an animation must be one of {', '.join(ANIMATIONS)}, got {suffix!r}"
        )
    if not 0 < fps <= 100:
        raise ValueError(f"fps must be a number above 0 and at most 100, got {fps}")
    if suffix == "gif":
        return PillowWriter(fps=fps)  # type: ignore[arg-type]
    if not FFMpegWriter.isAvailable():
        raise ValueError(
            "the format of an animation must be gif where ffmpeg is not installed, got 'mp4'"
        )
    return FFMpegWriter(fps=fps)  # type: ignore[arg-type]


def _scene(process: Process) -> Scene:
    chosen = most_moved(process)
    rows = evenly(len(process.snapshots), MOST_FRAMES)
    samples = [sample(process.snapshots[row]) for row in rows]
    values = [position[:, chosen] for position, _, _ in samples]
    names = [parameter(process.parameter_names[i]) for i in chosen]
    single = len(samples[0][2]) == 1
    if single and len(names) == 1:  # a single particle is shown in phase space
        values = [np.hstack([position, fluctuation]) for position, fluctuation, _ in samples]
        names = [*names, f"fluctuation of {names[0]}"]
    kept = values[:-1] if process.status == "diverged" and len(values) > 1 else values
    ranges = [range_of([v[:, i] for v in kept], 1.0 if single else MASS) for i in range(len(names))]
    return Scene(tuple(names), process.snapshots.times[rows], values, samples[0][2], ranges)


def _frames(figure: Figure, scene: Scene, process: str, colour: str) -> Iterator[None]:
    """Yields whenever the figure shows the next time."""
    ax = figure.subplots()
    ax.set(xlim=scene.ranges[0], xlabel=scene.parameters[0])
    plane = len(scene.parameters) > 1
    if plane:
        ax.set(ylim=scene.ranges[1], ylabel=scene.parameters[1])
        points = {"linestyle": "", "marker": "o", "markersize": 3.5, "markeredgewidth": 0}
        single = len(scene.weights) == 1
        (trail,) = ax.plot([], [], color=colour, linewidth=0.8, alpha=0.5)
        (dots,) = ax.plot([], [], color=colour, alpha=1.0 if single else 0.6, **points)  # type: ignore[arg-type]
    else:
        curves = [density(values, scene.weights, scene.ranges) for values in scene.values]
        ax.set(ylim=(0, 1.05 * max(curve.max() for curve in curves) or 1), ylabel="density")
        middles = np.linspace(*scene.ranges[0], 2 * CELLS + 1)[1::2]
        (dots,) = ax.plot([], [], color=colour)
    for i, time in enumerate(scene.times):
        if plane:
            dots.set_data(*scene.values[i].T)
            if single:
                trail.set_data(*np.concatenate(scene.values[: i + 1]).T)
        else:
            dots.set_data(middles, curves[i])
        ax.set_title(wrapped(f"{title(process)}, t = {time:g}"))
        yield
