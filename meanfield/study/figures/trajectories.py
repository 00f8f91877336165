"""Positions of the parameters: trajectories of a single particle, clouds of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meanfield.study.figures.notation import parameter
from meanfield.study.figures.palette import GREY
from meanfield.study.figures.panels import grid, panel_titles
from meanfield.study.figures.particles import Points, chosen_particles, sane, shared_range
from meanfield.study.figures.style import dots, not_huge, plot, processes, single, tamed, title
from meanfield.study.storage.schema import Floats, ProcessRecord, RunRecord


def trajectories(run: RunRecord) -> Figure | None:
    """The trajectories of a single particle; None for several particles, and on the line."""
    return single(draw_trajectories, run, 3.6) if has_trajectories(run) else None


def has_trajectories(run: RunRecord) -> bool:
    """Whether the run has a single particle in two or more dimensions."""
    return any(_path(process) is not None for process in run.processes.values())


def draw_trajectories(ax: Axes, run: RunRecord) -> None:
    """The trajectory of a single particle's center in its first two coordinates, with a dot at its end."""
    found = {name: _path(process) for name, process in run.processes.items()}
    paths = tamed(run, {name: path for name, path in found.items() if path is not None})
    for name, process, look in processes(run):
        if name in paths:
            path = paths[name]
            plot(ax, path[:, 0], path[:, 1], **look.line, label=title(name))
            end: Any = {"color": look.colour, "markersize": 4, "zorder": look.line["zorder"]}
            ax.plot(*path[-1], "o", **end)
            x, y = map(parameter, process.parameter_names[:2])
            ax.set(xlabel=f"center {x}", ylabel=f"center {y}")
    ax.locator_params(axis="x", nbins=5)


def _path(process: ProcessRecord) -> Points | None:
    """First two coordinates (s, 2) of a single particle; None for several, and on the line."""
    path = process.trajectory
    if path is None or path.shape[1] < 2 or not len(path):
        return None
    return not_huge(path[:, :2])


def clouded(run: RunRecord) -> list[str]:
    """The processes with several particles and a last snapshot."""
    return [
        name
        for name, process in run.processes.items()
        if process.first is not None and process.last is not None and process.trajectory is None
    ]


def particle_clouds(run: RunRecord) -> Figure | None:
    """A panel per process; None for a single particle."""
    names = clouded(run)
    if not names:
        return None
    figure, axes = grid(len(names), 2.2)
    for ax, name in zip(axes, names, strict=True):
        draw_clouds(ax, run, names, shown=[name])
    x, y = axes[0].get_xlabel(), axes[0].get_ylabel()
    for ax in axes:
        ax.set(xlabel="", ylabel="")
    panel_titles(figure, axes, [title(name) for name in names], x, y)
    return figure


def draw_clouds(
    ax: Axes, run: RunRecord, names: list[str], shown: Sequence[str] | None = None
) -> None:
    """Particles at start and end, along the two directions in which the first process moved; on the line, a histogram."""
    first, last = run.processes[names[0]].first, run.processes[names[0]].last
    assert first is not None and last is not None
    if first.shape[1] == 1:
        _draw_histograms(ax, run, names, shown or names)
        return
    moved = sane(last.astype(np.float64) - first)
    moved = moved / (np.abs(moved).max(initial=0.0) or 1.0)
    directions = (
        np.linalg.svd(moved, full_matrices=False)[2][:2]
        if len(moved) > 1
        else np.eye(2, first.shape[1])
    )
    clouds = {name: _along(run.processes[name].last, directions) for name in names}
    start = _along(first, directions)
    limits = [
        shared_range(run, {k: [start[:, i], v[:, i]] for k, v in clouds.items()}, 1.0)
        for i in (0, 1)
    ]
    ax.set(xlim=limits[0], ylim=limits[1])
    dots(ax, start[:, 0], start[:, 1], GREY, "start", strong=False)
    for name, _, look in processes(run):
        if name in (shown or names):
            x, y = clouds[name].T
            dots(ax, x, y, look.colour, title(name))
    ax.set(xlabel="first direction of motion", ylabel="second direction of motion")


def _along(points: Floats | None, directions: Points) -> Points:
    assert points is not None
    return sane(points[chosen_particles(len(points))]) @ directions.T


def _draw_histograms(ax: Axes, run: RunRecord, names: Sequence[str], shown: Sequence[str]) -> None:
    ends = {
        name: [_column(run.processes[name], end) for end in ("first", "last")] for name in names
    }
    low, high = shared_range(run, ends, 1.0)
    bins: Any = np.linspace(low, high, 41)
    first, *_ = ends.values()
    ax.hist(first[0], bins, density=True, color=GREY, alpha=0.4, label="start")
    for name, _, look in processes(run):
        if name in shown and np.any((ends[name][1] >= low) & (ends[name][1] <= high)):
            style: Any = {"color": look.colour, "label": title(name), "histtype": "step"}
            ax.hist(ends[name][1], bins, density=True, **style)
    name = run.processes[shown[0]].parameter_names[0]
    ax.set(xlabel=parameter(name), ylabel="density of particles")


def _column(process: ProcessRecord, end: str) -> Points:
    points: Floats = getattr(process, end)
    return sane(points)[:, 0]
