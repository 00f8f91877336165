"""Phase portraits: fluctuation over center."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meanfield.study.analysis.process_views import Process
from meanfield.study.figures.notation import parameter
from meanfield.study.figures.palette import GREY
from meanfield.study.figures.panels import grid, panel_titles
from meanfield.study.figures.particles import (
    Points,
    direction_name,
    evenly,
    leading_direction,
    leading_mode,
    sample,
    shared_range,
    snapshots_of,
    strongest,
)
from meanfield.study.figures.style import (
    Series,
    dots,
    new_figure,
    oscillates,
    plot,
    processes,
    share_legend,
    tamed,
    title,
)
from meanfield.study.storage.schema import Floats, ProcessRecord, RunRecord
from solvers.flows import flow_class

MOST_POINTS = 4000
Cloud = tuple[Series, Series]  # center and fluctuation along the direction


def phase_portrait(run: RunRecord) -> Figure | None:
    """The trajectory of a single particle, or several particles at three times; None without a fluctuation."""
    paths = {
        name: process.trajectory
        for name, process in run.processes.items()
        if process.trajectory is not None
        and process.fluctuations is not None
        and len(process.trajectory)
        and oscillates(process)
    }
    return _portrait_of_a_point(run, paths) if paths else _portrait_of_particles(run)


# --- a single particle ---


def _portrait_of_a_point(run: RunRecord, paths: dict[str, Floats]) -> Figure:
    figure = new_figure(3.6)
    draw_point_portrait(figure.subplots(), run, paths)
    share_legend(figure)
    return figure


def draw_point_portrait(ax: Axes, run: RunRecord, paths: dict[str, Floats]) -> None:
    """|⟨u, q⟩| over ⟨w, p⟩: q the leading direction of the fluctuation, p that of the motion, both of the first process."""
    first = next(iter(paths))
    names = run.processes[first].parameter_names
    p = leading_direction(paths[first] - paths[first][0])
    q = leading_direction(_single(run.processes[first]))
    centers = tamed(run, {name: path.astype(np.float64) @ p for name, path in paths.items()})
    heights = tamed(run, {name: np.abs(_single(run.processes[name]) @ q) for name in paths})
    for name, _, look in processes(run):
        if name in paths:
            kept = evenly(len(centers[name]), MOST_POINTS)
            plot(ax, centers[name][kept], heights[name][kept], **look.line, label=title(name))
            end = {"color": look.colour, "markersize": 4, "zorder": look.line["zorder"]}
            ax.plot(centers[name][-1], heights[name][-1], "o", **end)
    ax.locator_params(axis="x", nbins=5)
    along, across = direction_name(p, names), direction_name(q, names)
    ax.set_xlabel(f"center {parameter(along)}" if along else "center along its direction of motion")
    ax.set_ylabel(
        f"|fluctuation of {parameter(across)}|"
        if across
        else "|fluctuation| along its leading direction"
    )


def _single(process: ProcessRecord) -> Points:
    """Fluctuations (s, D) of a single particle, the leading one of several modes."""
    assert process.fluctuations is not None
    values = process.fluctuations.astype(np.float64)
    if values.ndim == 2:
        return values
    return np.stack([leading_mode(modes[:, None, :])[0] for modes in values])


# --- several particles ---


def _portrait_of_particles(run: RunRecord) -> Figure | None:
    with snapshots_of(run) as files:
        files = {name: file for name, file in files.items() if oscillates(run.processes[name])}
        if not files:
            return None
        first = next(iter(files))
        peak = files[first].snapshots
        reference = sample(peak[strongest(run.processes[first], peak.times)])[1]
        q = leading_direction(reference)
        clouds = {
            name: _clouds(file, run.processes[name], q, reference) for name, file in files.items()
        }
    figure, axes = grid(len(clouds), 2.2)
    x = shared_range(run, {name: [x for x, _ in c] for name, c in clouds.items()})
    y = shared_range(run, {name: [u for _, u in c] for name, c in clouds.items()})
    for ax, (name, _, look) in zip(axes, _some(run, clouds), strict=True):
        ax.set(xlim=x, ylim=y)
        _draw_clouds(ax, clouds[name], look.colour)
    name = direction_name(q, run.processes[first].parameter_names)
    about, across = (
        parameter(name) if name else "⟨θ, q⟩",
        f"fluctuation of {parameter(name)}" if name else "fluctuation ⟨u, q⟩",
    )
    panel_titles(figure, axes, [title(name) for name in clouds], f"center {about}", across)
    share_legend(figure)
    return figure


def _some(run: RunRecord, names: Any) -> list[Any]:
    return [entry for entry in processes(run) if entry[0] in names]


def _clouds(file: Process, process: ProcessRecord, q: Points, reference: Points) -> list[Cloud]:
    """The particles at the start, at the strongest oscillation, and at the end."""
    times = file.snapshots.times
    clouds = []
    for row in sorted({0, strongest(process, times), len(times) - 1}):
        position, fluctuation, _ = sample(file.snapshots[row])
        flow = flow_class(
            process.flow
        )  # one that knows uuᵀ only has a sign of no meaning; F is even in u
        if flow is not None and not flow.is_signed and np.sum(fluctuation * reference) < 0:
            fluctuation = -fluctuation
        clouds.append((position @ q, fluctuation @ q))
    return clouds


def _draw_clouds(ax: Axes, clouds: list[Cloud], colour: str) -> None:
    """Draw the start in grey, and later times in stronger colour."""
    looks = [
        ("start (grey)", GREY, False),
        ("where tr Σ is largest (pale)", colour, False),
        ("end", colour, True),
    ]
    which = {1: [2], 2: [0, 2], 3: [0, 1, 2]}[len(clouds)]
    for (x, u), i in zip(clouds, which, strict=True):
        label, own, strong = looks[i]
        dots(ax, x, u, own, label, strong)
