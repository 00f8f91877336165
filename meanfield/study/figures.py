"""Figures of a run: one style, one colour per process, no global state of matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from meanfield.study.layout import OutputError, ProcessRecord, RunRecord

FORMATS = ("png", "svg", "pdf")

# Okabe and Ito's colours, told apart by colour-blind readers too
COLOURS = {
    "gradient_descent": "#000000",
    "gradient_flow": "#0072B2",
    "free_energy_flow": "#D55E00",
}
OTHER_COLOURS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9")
PALE = "#BBBBBB"

STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "lines.linewidth": 1.3,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "savefig.dpi": 150,
    "svg.hashsalt": "meanfield",
}
STEPS = "time t (iterations of gradient descent)"


def save_figures(run: RunRecord, folder: Path, formats: Sequence[str] = ("png",)) -> list[Path]:
    """Draw every figure the run has data for, in every format.

    Returns
    -------
    list of Path
        The files, ``<figure>.<format>``.

    Raises
    ------
    ValueError
        A format is not one of `FORMATS`.
    OutputError
        A file cannot be written.
    """
    for name in formats:
        if name not in FORMATS:
            raise ValueError(f"format: {name!r} came, one of {', '.join(FORMATS)} is allowed")
    paths = []
    with rc_context(STYLE):
        for name, figure in _figures(run):
            for suffix in formats:
                path = folder / f"{name}.{suffix}"
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                    figure.savefig(path)
                except OSError as error:
                    raise OutputError(f"{path}: cannot write: {error.strerror}") from error
                paths.append(path)
    return paths


def _figures(run: RunRecord) -> Iterator[tuple[str, Figure]]:
    drawings: dict[str, Callable[[Axes, RunRecord], None]] = {
        "loss": draw_loss,
        "eta_sharpness": draw_eta_sharpness,
        "fluctuation_energy": draw_fluctuation_energy,
    }
    if run.comparison:
        drawings["distance"] = draw_distance
    for name, draw in drawings.items():
        figure = Figure(figsize=(6, 3.8), layout="constrained")
        draw(figure.subplots(), run)
        yield name, figure
    yield "energy_balance", _energy_balance(run)
    clouds = [name for name, process in run.processes.items() if process.last is not None]
    if clouds:
        yield "particle_clouds", _particle_clouds(run, clouds)
    yield "overview", _overview(run, [*drawings.values(), draw_energy], clouds)


def _overview(
    run: RunRecord, drawings: Sequence[Callable[[Axes, RunRecord], None]], clouds: list[str]
) -> Figure:
    figure = Figure(figsize=(14, 7.5), layout="constrained")
    axes = figure.subplots(2, 3).flat
    for draw in drawings:
        draw(next(axes), run)
    if clouds:
        draw_clouds(next(axes), run, clouds)
    for unused in axes:
        unused.set_axis_off()
    return figure


def draw_loss(ax: Axes, run: RunRecord) -> None:
    """Risk at the center, the time-averaged risk predicted, and the risk of GD's iterates."""
    for name, process, colour in _processes(run):
        data = process.observables
        if "iterate_loss" in data and len(data["time"]) > 1:
            pairs = np.stack([data["iterate_loss"][:-1], data["iterate_loss"][1:]])
            label = f"{_title(name)}, iterates"
            low, high = pairs.min(axis=0), pairs.max(axis=0)
            between = _on_log(low), _on_log(high)
            ax.fill_between(data["time"][:-1], *between, color=PALE, linewidth=3, label=label)
        ax.plot(data["time"], _on_log(data["train_loss"]), color=colour, label=_title(name))
        if process.flow != "gradient_flow":  # without fluctuation it predicts its own risk
            ax.plot(data["time"], _on_log(data["predicted_loss"]), ":", color=colour)
    ax.plot([], [], color="grey", linestyle=":", label="predicted")
    ax.set(xlabel=STEPS, ylabel="risk", yscale="log")
    ax.legend()


def draw_eta_sharpness(ax: Axes, run: RunRecord) -> None:
    """Learning rate times top eigenvalue, and the edge of stability at 2."""
    learning_rate = float(run.attributes["learning_rate"])
    ax.axhline(2.0, color="grey", linewidth=0.8, linestyle="--", label="edge of stability")
    for name, process, colour in _processes(run):
        sharpness = process.observables["sharpness"]
        measured = ~np.isnan(sharpness)
        time = process.observables["time"][measured]
        ax.plot(time, learning_rate * sharpness[measured], color=colour, label=_title(name))
    ax.set(xlabel=STEPS, ylabel="learning rate · sharpness")
    ax.legend()


def draw_fluctuation_energy(ax: Axes, run: RunRecord) -> None:
    """Trace of the fluctuation's covariance; gradient flow has none."""
    for name, process, colour in _processes(run):
        if process.flow == "gradient_flow":
            continue
        trace = _on_log(process.observables["sigma_trace"])
        ax.plot(process.observables["time"], trace, color=colour, label=_title(name))
    ax.set(xlabel=STEPS, ylabel="fluctuation energy tr Σ", yscale="log")
    if ax.lines:
        ax.legend()


def draw_distance(ax: Axes, run: RunRecord) -> None:
    """Distance of the centers to gradient descent: particle by particle, and as measures."""
    for name, _, colour in _processes(run):
        if name not in run.comparison:
            continue
        distances = run.comparison[name]
        time = run.comparison_times
        ax.plot(time, distances["center_distance"], color=colour, label=_title(name))
        ax.plot(time, distances["w2"], "o", color=colour, fillstyle="none", markersize=4)
    ax.plot([], [], color="grey", label="particle by particle (RMS)")
    ax.plot([], [], "o", color="grey", fillstyle="none", markersize=4, label="Wasserstein-2")
    ax.set(xlabel=STEPS, ylabel="distance to gradient descent", ylim=(0, None))
    ax.legend()


def draw_energy(ax: Axes, run: RunRecord) -> None:
    """Change of the free energy, and the integral of its rate along a flow: equal in exact time."""
    for name, process, colour in _processes(run):
        data = process.observables
        change = data["free_energy"] - data["free_energy"][:1]
        ax.plot(data["time"], change, color=colour, label=_title(name))
        ax.plot(data["time"], data["dissipated"], ":", color="white", linewidth=1)
    ax.plot([], [], color="grey", linestyle=":", label="integral of the rate")
    ax.set(xlabel=STEPS, ylabel="change of the free energy F")
    ax.legend()


def _energy_balance(run: RunRecord) -> Figure:
    figure = Figure(figsize=(6, 5.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    draw_energy(top, run)
    top.set_xlabel("")
    for _, process, colour in _processes(run):
        data = process.observables
        residual = np.abs(data["free_energy"] - data["free_energy"][:1] - data["dissipated"])
        bottom.plot(data["time"], _on_log(residual), color=colour)
    bottom.set(xlabel=STEPS, ylabel="|difference|", yscale="log")
    return figure


def _particle_clouds(run: RunRecord, names: list[str]) -> Figure:
    figure = Figure(figsize=(3.2 * len(names), 3.5), layout="constrained")
    axes = figure.subplots(1, len(names), sharex=True, sharey=True, squeeze=False)[0]
    for ax, name in zip(axes, names, strict=True):
        draw_clouds(ax, run, names, shown=[name])
        ax.set_title(_title(name), fontsize=9)
        ax.label_outer()
    return figure


def draw_clouds(
    ax: Axes, run: RunRecord, names: list[str], shown: Sequence[str] | None = None
) -> None:
    """Particles at start and end, along the two directions in which the first process moved."""
    first, last = run.processes[names[0]].first, run.processes[names[0]].last
    assert first is not None and last is not None
    directions = np.linalg.svd(last - first, full_matrices=False)[2][:2].T
    dots: Any = {"s": 9, "linewidths": 0, "alpha": 0.6, "rasterized": True}
    ax.scatter(*_columns(first @ directions), color=PALE, label="start", **dots)
    for name, process, colour in _processes(run):
        if name in (shown or names) and process.last is not None:
            columns = _columns(process.last @ directions)
            ax.scatter(*columns, color=colour, label=_title(name), **dots)
    ax.set(xlabel="first direction of motion", ylabel="second direction of motion")
    ax.legend(markerscale=2)


def _on_log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values with gaps where a logarithmic axis has no place: zero, and a divergence's last steps."""
    return np.where((values > 0) & (values < 1e100), values, np.nan)


def _columns(points: NDArray[np.floating]) -> tuple[NDArray[np.floating], ...]:
    return points[:, 0], points[:, 1]


def _processes(run: RunRecord) -> Iterator[tuple[str, ProcessRecord, str]]:
    """Every process with its colour: that of its name, or the next one of the others."""
    others = 0
    for name, process in run.processes.items():
        colour = COLOURS.get(name)
        if colour is None:
            colour = OTHER_COLOURS[others % len(OTHER_COLOURS)]
            others += 1
        yield name, process, colour


def _title(name: str) -> str:
    return name.replace("_", " ")
