"""A Wasserstein gradient flow by minimising movements: its density over time, its energy with the certificate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

import solvers
from meanfield.study.analysis.evolution import evolution_of
from meanfield.study.analysis.stored_run import StoredRun
from meanfield.study.figures.palette import COLOURS
from meanfield.study.figures.panels import grid, panel_titles
from meanfield.study.figures.particles import chosen_particles
from meanfield.study.figures.style import (
    Drawn,
    dots,
    new_figure,
    on_log,
    plot,
    share_legend,
    styled,
)
from meanfield.study.figures.ticks import log_y
from meanfield.study.storage.measure_schema import PROCESS
from meanfield.study.storage.schema import RunRecord
from solvers._support.arguments import instance

LINES, PANELS = 6, 4  # times that are shown, as lines or as panels
MOST_MEASURES = 60  # that are read from a file
CELLS = 60  # of the histogram of particles on the line
TIME = "time t"
_SHADES = colormaps["viridis"]

Floats = NDArray[np.float64]


def density_over_time(evolution: solvers.Evolution) -> Drawn:
    """Draw the density at a few times: lines on the line, panels in the plane; in space the marginal of the first two axes.

    Parameters
    ----------
    evolution : Evolution
        The result of `solvers.evolve`, or `Result.evolution` of a run of a measure.

    Examples
    --------
    >>> from meanfield.study import figures
    >>> start = solvers.Quantiles(np.linspace(-1, 1, 21))
    >>> result = solvers.evolve(solvers.energies.Entropy(), start, 0.5, step_size=0.05)
    >>> drawn = figures.density_over_time(result)
    >>> drawn.name, len(drawn.figure.axes[0].lines)
    ('density', 6)
    """
    instance("evolution", evolution, solvers.Evolution, "solvers.evolve returns one")
    measures = evolution.measures
    in_plane = measures[0].dimension > 1
    shown = _times(evolution, PANELS if in_plane else LINES)
    with styled():
        figure = _panels(evolution, shown) if in_plane else _lines(evolution, shown)
    what = "The density ρ"
    if isinstance(measures[0], solvers.Particles):
        what = "The particles" if in_plane else "Histograms of the particles"
        if in_plane and measures[0].dimension > 2:
            what += ", their first two coordinates,"
    elif measures[0].dimension == 3:
        what = "The density's integral along the third axis"
    caption = f"{what} of the Wasserstein gradient flow ∂_t μ = η ∇·(μ ∇E′[μ]) at a few times."
    return Drawn("density", "Density over time", caption, figure)


def energy_over_time(evolution: solvers.Evolution) -> Drawn:
    """Draw the energy beside what the transport has dissipated, and the certificate of every step.

    Parameters
    ----------
    evolution : Evolution
        The result of `solvers.evolve`, or `Result.evolution` of a run of a measure.

    Examples
    --------
    >>> from meanfield.study import figures
    >>> start = solvers.Quantiles(np.linspace(-1, 1, 21))
    >>> result = solvers.evolve(solvers.energies.Entropy(), start, 0.5, step_size=0.05)
    >>> drawn = figures.energy_over_time(result)
    >>> drawn.name, len(drawn.figure.axes)
    ('energy', 2)
    """
    instance("evolution", evolution, solvers.Evolution, "solvers.evolve returns one")
    times, start = evolution.times, evolution.energies[0]
    with styled():
        figure = new_figure(4.2)
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        plot(top, times, evolution.energies, color=COLOURS[0], label="energy E(t)")
        spent: Any = {"color": COLOURS[1], "linestyle": "--"}
        plot(top, times, start - evolution.dissipated, **spent, label="E(0) − Σ W2²/ητ")
        top.set(ylabel="energy")
        slack = on_log(-evolution.excesses)
        plot(bottom, times[1:], slack, color=COLOURS[2], label="slack of the energy inequality")
        beyond = evolution.excesses > 0
        if beyond.any():
            crosses: Any = {"linestyle": "", "marker": "x", "color": COLOURS[3], "markersize": 4}
            exceeded = on_log(evolution.excesses)[beyond]
            bottom.plot(times[1:][beyond], exceeded, **crosses, label="excess, by rounding")
        gap: Any = {"color": COLOURS[4], "linestyle": "-."}
        plot(bottom, times[1:], on_log(np.abs(evolution.balance[1:])), **gap, label="|balance|")
        bottom.set(xlabel=TIME, ylabel="certificate")
        log_y(bottom)
        share_legend(figure)
    caption = (
        "The energy E, and E(0) less what the transport has dissipated, Σ W2²/ητ, which differ by the balance, of the order of "
        "the scheme in τ. Below: by how much each step satisfies its energy inequality, E after + W2²/2ητ ≤ E before (of "
        "order 2 that of the two-step formula), and the balance."
    )
    return Drawn("energy", "Energy and its certificate", caption, figure)


SHOWS = {
    "density": "of a run of a measure: the density at a few times",
    "energy": "of a run of a measure: energy, dissipation, and the certificate of every step",
}


def evolution_figures(run: RunRecord) -> Iterator[Drawn]:
    """The figures of a run of a measure; none of another run, or of one that is not in a file."""
    if not run.is_of_measure or not run.path.is_file():
        return
    with StoredRun.open(run.path) as stored:
        process = stored[PROCESS]
        if not len(process.snapshots) or not len(process.observables["time"]):
            return
        evolution = evolution_of(process, stored.learning_rate, MOST_MEASURES)
    yield density_over_time(evolution)
    yield energy_over_time(evolution)


def _times(evolution: solvers.Evolution, most: int) -> list[int]:
    """Indices of measures at about equal fractions of what the transport has covered."""
    measures, saved = evolution.measures, evolution.saved
    if len(measures) <= most:
        return list(range(len(measures)))
    way = np.concatenate([[0.0], np.cumsum(np.sqrt(evolution.transport_costs))])[saved]
    wanted = np.linspace(way[0], way[-1], most)
    nearest = {int(np.argmin(np.abs(way - place))) for place in wanted}
    nearest |= {0, len(measures) - 1}
    return sorted(nearest)


def _label(evolution: solvers.Evolution, k: int) -> str:
    return f"t = {evolution.times[evolution.saved[k]]:.3g}"


def _lines(evolution: solvers.Evolution, shown: list[int]) -> Figure:
    figure = new_figure()
    ax = figure.subplots()
    for place, k in enumerate(shown):
        shade = _SHADES(0.85 * place / max(len(shown) - 1, 1))
        _draw_line(ax, evolution.measures[k], color=shade, label=_label(evolution, k))
    ax.set(xlabel="x", ylabel="density ρ")
    ax.set_ylim(bottom=0)
    share_legend(figure)
    return figure


def _draw_line(ax: Axes, measure: Any, **look: Any) -> None:
    if isinstance(measure, solvers.Grid):
        ax.plot(measure.centers[0], measure.density, **look)
        return
    if isinstance(measure, solvers.Particles):
        x = measure.positions[:, 0]
        cells = min(CELLS, max(5, round(2 * len(x) ** (1 / 3))))
        heights, edges = np.histogram(x, cells, weights=measure.weights, density=True)
    else:
        there = np.diff(measure.values) > 0
        edges = np.append(measure.values[:-1][there], measure.values[-1])
        heights = measure.density[there]
    ax.plot(np.repeat(edges, 2)[1:-1], np.repeat(heights, 2), **look)


def _panels(evolution: solvers.Evolution, shown: list[int]) -> Figure:
    measures = [evolution.measures[k] for k in shown]
    figure, axes = grid(len(shown), _height(measures[0]))
    if isinstance(measures[0], solvers.Particles):
        clouds = [_first_two(measure) for measure in measures]
        everything = np.concatenate(clouds)
        low, high = everything.min(axis=0), everything.max(axis=0)
        margin = 0.05 * np.maximum(high - low, 1e-12)
        low, high = low - margin, high + margin
        for ax, cloud in zip(axes, clouds, strict=True):
            ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
            dots(ax, cloud[:, 0], cloud[:, 1], COLOURS[0])
    else:
        _images(figure, axes, measures)
    titles = [_label(evolution, k) for k in shown]
    panel_titles(figure, axes, titles, "x₁", "x₂")
    return figure


def _height(measure: Any) -> float:
    """Of a panel, in inches: that of an image as wide as there is place for."""
    if isinstance(measure, solvers.Particles):
        return 2.3
    x, y = measure.edges[:2]
    ratio = float((y[-1] - y[0]) / (x[-1] - x[0]))
    return min(max(1.5 * ratio, 0.5), 4.0) + 0.35


def _first_two(measure: Any) -> Floats:
    """The first two coordinates of particles, of those that are shown where there are many."""
    positions: Floats = measure.positions
    return positions[chosen_particles(len(positions))][:, :2]


def _images(figure: Figure, axes: list[Axes], measures: list[Any]) -> None:
    """The densities in one scale of colours; in space their integrals along the third axis."""
    values = [_in_plane(measure) for measure in measures]
    scale = Normalize(0.0, max(float(value.max()) for value in values))
    x, y = measures[0].edges[:2]
    for ax, value in zip(axes, values, strict=True):
        image = ax.pcolormesh(x, y, value.T, norm=scale, cmap=_SHADES, rasterized=True)
        ax.set_aspect("equal")
        ax.grid(False)
    figure.colorbar(image, ax=axes, label="density ρ", shrink=0.8)


def _in_plane(measure: solvers.Grid) -> Floats:
    if measure.dimension == 2:
        return measure.density
    areas = np.multiply.outer(*(np.diff(edges) for edges in measure.edges[:2]))
    return measure.masses.sum(axis=2) / areas
