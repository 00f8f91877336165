"""The measure of the particles: marginals over time, and in the plane at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from numpy.typing import NDArray

from meanfield.study.analysis.process_views import Process
from meanfield.study.figures.notation import parameter
from meanfield.study.figures.palette import GREY
from meanfield.study.figures.panels import grid, panel_titles
from meanfield.study.figures.particles import (
    MOST_SNAPSHOTS,
    Points,
    evenly,
    sample,
    sane,
    shared_range,
    snapshots_of,
)
from meanfield.study.figures.style import LINE, STEPS, Series, new_figure, processes, title, wrapped
from meanfield.study.storage.schema import RunRecord

MOST_PROCESSES = 4  # more rows would be too small to read
CELLS = 120  # per axis
SMOOTHING = 2.0  # width in cells of the Gaussian that smooths densities


@dataclass(frozen=True)
class Marginals:
    """For each process: times (s,), values (m, k) of the k chosen parameters at each time, weights (m,)."""

    parameters: tuple[str, ...]
    times: dict[str, Series]
    values: dict[str, list[Points]]
    weights: dict[str, Series]
    ranges: list[tuple[float, float]]
    shades: dict[str, str]


def read_marginals(run: RunRecord) -> Marginals | None:
    """The marginals of the one or two parameters that moved most, for the first processes; None for a single particle."""
    with snapshots_of(run) as files:
        files = dict(list(files.items())[:MOST_PROCESSES])
        files = {name: file for name, file in files.items() if len(file.parameter_names)}
        if not files:
            return None
        first = next(iter(files.values()))
        chosen = most_moved(first)
        times, values, weights = {}, {}, {}
        for name, file in files.items():
            rows = evenly(len(file.snapshots), MOST_SNAPSHOTS)
            times[name] = file.snapshots.times[rows]
            samples = [sample(file.snapshots[row]) for row in rows]
            values[name] = [position[:, chosen] for position, _, _ in samples]
            weights[name] = samples[0][2]
        names = tuple(first.parameter_names[i] for i in chosen)
    ranges = [
        shared_range(run, {name: [v[:, i] for v in series] for name, series in values.items()})
        for i in range(len(chosen))
    ]
    shades = {name: look.shade for name, _, look in processes(run)}
    return Marginals(names, times, values, weights, ranges, shades)


def most_moved(file: Process) -> list[int]:
    """The two parameters whose marginals moved most, in Wasserstein-2 distance on the line."""
    first, last = (sane(sample(file.snapshots[row])[0]) for row in (0, -1))
    if first.shape != last.shape:  # at the end of a divergence
        return list(range(min(2, first.shape[1])))
    moved = np.mean((np.sort(first, axis=0) - np.sort(last, axis=0)) ** 2, axis=0)
    return sorted(int(i) for i in np.argsort(-moved, kind="stable")[:2])


def density(
    values: Points, weights: Series, ranges: list[tuple[float, float]]
) -> NDArray[np.float64]:
    """A smoothed density of the finite values (m, k), on a grid of `CELLS` per axis."""
    # a tenth of a second, which runs of few particles need not spend
    from scipy.ndimage import gaussian_filter

    finite = np.all(np.isfinite(values), axis=1)
    mass = np.histogramdd(values[finite], CELLS, ranges, weights=weights[finite])[0]
    cell = np.prod([(high - low) / CELLS for low, high in ranges])
    smooth = gaussian_filter(mass, SMOOTHING, mode="constant")
    return smooth / (cell * max(float(weights.sum()), 1e-300))


def measure_over_time(marginals: Marginals) -> Figure | None:
    """The density over time, a row for each process and a column for each parameter; None with a single time."""
    names = [name for name, times in marginals.times.items() if len(times) > 1]
    if not names:
        return None
    columns = len(marginals.parameters)
    titles = [wrapped(title(name)) for name in names]
    lines = sum(text.count("\n") for text in titles)
    figure = new_figure(1.6 * len(names) + 0.4 + 9 * LINE * lines)
    axes = figure.subplots(len(names), columns, sharex=True, sharey="col", squeeze=False)
    for row, name, text in zip(axes, names, titles, strict=True):
        for i, ax in enumerate(row):
            _draw_over_time(ax, marginals, name, i)
            ax.set(ylabel=parameter(marginals.parameters[i]))
        row[0].set_title(text, loc="left")
    figure.supxlabel(STEPS, fontsize="medium")
    return figure


def _draw_over_time(ax: Axes, marginals: Marginals, name: str, i: int) -> None:
    times, limits = marginals.times[name], marginals.ranges[i]
    weights = marginals.weights[name]
    columns = [density(v[:, i : i + 1], weights, [limits]) for v in marginals.values[name]]
    edges = np.concatenate([times[:1], (times[1:] + times[:-1]) / 2, times[-1:]])
    _shade(ax, edges, np.linspace(*limits, CELLS + 1), np.array(columns).T, marginals.shades[name])


def measure_in_the_plane(marginals: Marginals) -> Figure | None:
    """The joint marginal of two parameters at the start, and at the end of each process; None on the line."""
    if len(marginals.parameters) < 2:
        return None
    first = next(iter(marginals.values))
    shown = [marginals.values[first][0], *(values[-1] for values in marginals.values.values())]
    colours = [GREY, *(marginals.shades[name] for name in marginals.values)]
    weights = [marginals.weights[first], *marginals.weights.values()]
    figure, axes = grid(len(shown), 2.1)
    edges = [np.linspace(*limits, CELLS + 1) for limits in marginals.ranges]
    for ax, values, colour, weight in zip(axes, shown, colours, weights, strict=True):
        found = density(values, weight, marginals.ranges)
        _shade(ax, edges[0], edges[1], found.T, colour)
    titles = ["start", *map(title, marginals.values)]
    panel_titles(figure, axes, titles, *map(parameter, marginals.parameters))
    return figure


def _shade(ax: Axes, x: Series, y: Series, values: NDArray[np.float64], colour: str) -> None:
    """The square root of a density as the opacity of a colour, legible on light and dark pages."""
    ends = [to_rgba(colour, alpha) for alpha in (0.0, 1.0)]
    opacity = LinearSegmentedColormap.from_list(colour, ends)
    ax.pcolormesh(x, y, np.sqrt(values), cmap=opacity, rasterized=True)
    ax.grid(False)
