"""Figures of a run: one style, one colour per process, no global state of matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from meanfield.study.layout import Floats, OutputError, ProcessRecord, RunRecord
from meanfield.study.styles import Look, looks

FORMATS = ("png", "svg", "pdf")

PALE = "#BBBBBB"
MOST_LEGENDS = 4  # processes that a legend inside the axes has room for
HUGE = 1e100  # a divergence's last steps, which no axis can show

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
Drawing = Callable[[Axes, RunRecord], None]
Shown = Callable[[NDArray[np.float64]], NDArray[np.float64]]

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
    return _save(_figures(run), folder, formats)


def save_comparison(run: RunRecord, folder: Path, formats: Sequence[str] = ("png",)) -> list[Path]:
    """Draw ``compare.<format>``: all processes, four quantities over one axis of time. Errors as of `save_figures`."""
    return _save(_comparison(run), folder, formats)


def _save(
    figures: Iterable[tuple[str, Figure]], folder: Path, formats: Sequence[str]
) -> list[Path]:
    for name in formats:
        if name not in FORMATS:
            raise ValueError(f"format: {name!r} came, one of {', '.join(FORMATS)} is allowed")
    paths = []
    with rc_context(STYLE):
        for name, figure in figures:
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
    drawings: dict[str, Drawing] = {
        "loss": draw_loss,
        "eta_sharpness": draw_eta_sharpness,
        "fluctuation_energy": draw_fluctuation_energy,
    }
    if run.comparison:
        drawings["distance"] = draw_distance
    for name, draw in drawings.items():
        figure = Figure(figsize=(6, 3.8), layout="constrained")
        draw(figure.subplots(), run)
        _share_legend(figure, run)
        yield name, figure
    yield "energy_balance", _energy_balance(run)
    places: list[Drawing] = []
    if any(_path(process) is not None for process in run.processes.values()):
        places.append(draw_trajectories)
        figure = Figure(figsize=(6, 4.8), layout="constrained")
        draw_trajectories(figure.subplots(), run)
        _share_legend(figure, run)
        yield "trajectories", figure
    clouds = [
        name
        for name, process in run.processes.items()
        if process.last is not None and process.trajectory is None
    ]
    if clouds:
        places.append(lambda ax, run: draw_clouds(ax, run, clouds))
        yield "particle_clouds", _particle_clouds(run, clouds)
    yield "overview", _overview(run, [*drawings.values(), draw_energy, *places])


def _overview(run: RunRecord, drawings: Sequence[Drawing]) -> Figure:
    figure = Figure(figsize=(14, 7.5), layout="constrained")
    axes = figure.subplots(2, 3).flat
    for draw in drawings:
        draw(next(axes), run)
    for unused in axes:
        unused.set_axis_off()
    _share_legend(figure, run)
    return figure


def _comparison(run: RunRecord) -> Iterator[tuple[str, Figure]]:
    drawings = [draw_predicted_loss, draw_eta_sharpness, draw_oscillation_energy]
    if run.comparison:
        drawings.append(draw_distance)
    figure = Figure(figsize=(8, 2.4 * len(drawings)), layout="constrained")
    axes = figure.subplots(len(drawings), 1, sharex=True, squeeze=False)[:, 0]
    for ax, draw in zip(axes, drawings, strict=True):
        draw(ax, run)
        ax.label_outer()
    _share_legend(figure, run, always=True)
    yield "compare", figure


def _share_legend(figure: Figure, run: RunRecord, always: bool = False) -> None:
    """One legend above the axes in place of one inside each, where that would hide the curves."""
    if len(run.processes) <= MOST_LEGENDS and not always:
        return
    entries: dict[str, Any] = {}
    for ax in figure.axes:
        handles, labels = ax.get_legend_handles_labels()
        entries |= {
            label: h for h, label in zip(handles, labels, strict=True) if label not in entries
        }
        legend = ax.get_legend()
        if legend is not None:
            legend.remove()
    columns = max(2, round(figure.get_figwidth() / 2.2))
    figure.legend(entries.values(), entries.keys(), loc="outside upper center", ncols=columns)


def draw_loss(ax: Axes, run: RunRecord) -> None:
    """Loss at the center, the time-averaged loss predicted, and the loss of GD's iterates."""
    shown = _loss_axis(ax, run)
    _draw_iterates(ax, run, shown)
    for name, process, look in _processes(run):
        data = process.observables
        ax.plot(data["time"], shown(data["train_loss"]), **look.line, label=_title(name))
        if _oscillates(process):  # without fluctuation it predicts its own loss
            ax.plot(data["time"], shown(data["predicted_loss"]), ":", color=look.colour)
    ax.plot([], [], color="grey", linestyle=":", label="predicted")
    ax.legend()


def draw_predicted_loss(ax: Axes, run: RunRecord) -> None:
    """The time-averaged loss that every process predicts, and the loss of GD's iterates."""
    shown = _loss_axis(ax, run)
    _draw_iterates(ax, run, shown)
    for name, process, look in _processes(run):
        data = process.observables
        ax.plot(data["time"], shown(data["predicted_loss"]), **look.line, label=_title(name))
    ax.set(ylabel=f"predicted {ax.get_ylabel()}")
    ax.legend()


def _draw_iterates(ax: Axes, run: RunRecord, shown: Shown) -> None:
    """Between which values the iterates of gradient descent alternate."""
    for name, process, _ in _processes(run):
        data = process.observables
        if process.flow == "gradient_descent" and len(data["time"]) > 1:
            pairs = np.stack([data["iterate_loss"][:-1], data["iterate_loss"][1:]])
            between = shown(pairs.min(axis=0)), shown(pairs.max(axis=0))
            label = f"{_title(name)}, iterates"
            ax.fill_between(data["time"][:-1], *between, color=PALE, linewidth=3, label=label)


def _loss_axis(ax: Axes, run: RunRecord) -> Shown:
    """Label the axes, logarithmic if all losses are positive; returns what makes values fit for them."""
    losses = [process.observables["train_loss"] for process in run.processes.values()]
    is_log = all(np.all(values[np.isfinite(values)] >= 0) for values in losses)
    name = "risk" if all(p.trajectory is None for p in run.processes.values()) else "loss"
    ax.set(xlabel=STEPS, ylabel=name, yscale="log" if is_log else "linear")
    return _on_log if is_log else _not_huge


def draw_eta_sharpness(ax: Axes, run: RunRecord) -> None:
    """Learning rate times top eigenvalue, and the edge of stability at 2."""
    learning_rate = float(run.attributes["learning_rate"])
    ax.axhline(2.0, color="grey", linewidth=0.8, linestyle="--", label="edge of stability")
    for name, process, look in _processes(run):
        sharpness = process.observables["sharpness"]
        measured = ~np.isnan(sharpness)
        time = process.observables["time"][measured]
        ax.plot(time, learning_rate * sharpness[measured], **look.line, label=_title(name))
    ax.set(xlabel=STEPS, ylabel="learning rate · sharpness")
    ax.legend()


def draw_fluctuation_energy(ax: Axes, run: RunRecord) -> None:
    """Trace of the fluctuation's covariance, of those that have one."""
    _draw_trace(ax, run, 1.0)
    ax.set(ylabel="fluctuation energy tr Σ")


def draw_oscillation_energy(ax: Axes, run: RunRecord) -> None:
    """tr Σ/η, by which the oscillation raises the loss at the edge of stability."""
    _draw_trace(ax, run, 1 / float(run.attributes["learning_rate"]))
    ax.set(ylabel="oscillation energy tr Σ/η")


def _draw_trace(ax: Axes, run: RunRecord, factor: float) -> None:
    for name, process, look in _processes(run):
        if _oscillates(process):
            trace = _on_log(factor * process.observables["sigma_trace"])
            ax.plot(process.observables["time"], trace, **look.line, label=_title(name))
    ax.set(xlabel=STEPS, yscale="log")
    if ax.lines:
        ax.legend()


def draw_distance(ax: Axes, run: RunRecord) -> None:
    """Distance of the centers to gradient descent: particle by particle, and as measures where there are several."""
    for name, process, look in _processes(run):
        if name not in run.comparison:
            continue
        distances, time = run.comparison[name], run.comparison_times
        ax.plot(time, distances["center_distance"], **look.line, label=_title(name))
        if process.trajectory is None:
            circles: Any = {"marker": "o", "fillstyle": "none", "markersize": 4}
            ax.plot(time, distances["w2"], linestyle="", color=look.colour, **circles)
    if all(process.trajectory is None for process in run.processes.values()):
        ax.plot([], [], color="grey", label="particle by particle (RMS)")
        ax.plot([], [], "o", color="grey", fillstyle="none", markersize=4, label="Wasserstein-2")
    ax.set(xlabel=STEPS, ylabel="distance to gradient descent", ylim=(0, None))
    ax.legend()


def draw_energy(ax: Axes, run: RunRecord) -> None:
    """Change of the free energy, and the integral of its rate along a flow: equal in exact time."""
    for name, process, look in _processes(run):
        data = process.observables
        change = _not_huge(data["free_energy"] - data["free_energy"][:1])
        ax.plot(data["time"], change, **look.line, label=_title(name))
        white: Any = {"color": "white", "linewidth": 1, "zorder": 2.2}
        ax.plot(data["time"], _not_huge(data["dissipated"]), ":", **white)
    ax.plot([], [], color="grey", linestyle=":", label="integral of the rate")
    ax.set(xlabel=STEPS, ylabel="change of the free energy F")
    ax.legend()


def _energy_balance(run: RunRecord) -> Figure:
    figure = Figure(figsize=(6, 5.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    draw_energy(top, run)
    top.set_xlabel("")
    for _, process, look in _processes(run):
        data = process.observables
        residual = np.abs(data["free_energy"] - data["free_energy"][:1] - data["dissipated"])
        bottom.plot(data["time"], _on_log(residual), **look.line)
    bottom.set(xlabel=STEPS, ylabel="|difference|", yscale="log")
    _share_legend(figure, run)
    return figure


def _particle_clouds(run: RunRecord, names: list[str]) -> Figure:
    columns = min(len(names), 4)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.2 * columns, 3.5 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
    for name in names:
        ax = next(axes)
        draw_clouds(ax, run, names, shown=[name])
        ax.set_title(_title(name), fontsize=9)
        ax.label_outer()
    for unused in axes:
        unused.set_axis_off()
    return figure


def draw_clouds(
    ax: Axes, run: RunRecord, names: list[str], shown: Sequence[str] | None = None
) -> None:
    """Particles at start and end, along the two directions in which the first process moved; on the line, how many are where."""
    first, last = run.processes[names[0]].first, run.processes[names[0]].last
    assert first is not None and last is not None
    if first.shape[1] == 1:
        _draw_histograms(ax, run, shown or names, first)
        return
    directions = np.linalg.svd(last - first, full_matrices=False)[2][:2].T
    dots: Any = {"s": 9, "linewidths": 0, "alpha": 0.6, "rasterized": True}
    ax.scatter(*_columns(first @ directions), color=PALE, label="start", **dots)
    for name, process, look in _processes(run):
        if name in (shown or names) and process.last is not None:
            columns = _columns(process.last @ directions)
            ax.scatter(*columns, color=look.colour, label=_title(name), **dots)
    ax.set(xlabel="first direction of motion", ylabel="second direction of motion")
    ax.legend(markerscale=2)


def _draw_histograms(ax: Axes, run: RunRecord, shown: Sequence[str], first: Floats) -> None:
    lasts = {
        name: (process.last, look.colour)
        for name, process, look in _processes(run)
        if name in shown and process.last is not None
    }
    everywhere = np.concatenate([first, *(last for last, _ in lasts.values())])
    bins: Any = np.histogram_bin_edges(everywhere[np.isfinite(everywhere)], bins=40)
    ax.hist(first[:, 0], bins, density=True, color=PALE, label="start")
    for name, (last, colour) in lasts.items():
        ax.hist(last[:, 0], bins, density=True, color=colour, label=_title(name), histtype="step")
    ax.set(xlabel=run.processes[shown[0]].parameter_names[0], ylabel="density of particles")
    ax.legend()


def draw_trajectories(ax: Axes, run: RunRecord) -> None:
    """The way of a single particle's center through its first two coordinates, a dot where it ends."""
    for name, process, look in _processes(run):
        path = _path(process)
        if path is None:
            continue
        ax.plot(*_columns(path), **look.line, label=_title(name))
        ax.plot(*path[-1], "o", color=look.colour, markersize=4, zorder=look.line["zorder"])
        ax.set(xlabel=process.parameter_names[0], ylabel=process.parameter_names[1])
    ax.legend()


def _path(process: ProcessRecord) -> NDArray[np.float64] | None:
    """First two coordinates (s, 2) of a single particle; None of several, and on the line."""
    path = process.trajectory
    if path is None or path.shape[1] < 2 or not len(path):
        return None
    return _not_huge(path[:, :2])


def _oscillates(process: ProcessRecord) -> bool:
    return bool(np.any(process.observables["sigma_trace"] > 0))


def _on_log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values with gaps where a logarithmic axis has no place: zero, and a divergence's last steps."""
    return np.where((values > 0) & (values < HUGE), values, np.nan)


def _not_huge(values: NDArray[np.floating]) -> NDArray[np.float64]:
    values = values.astype(np.float64)  # single precision has no such number as HUGE
    return np.where(np.abs(values) < HUGE, values, np.nan)


def _columns(points: NDArray[np.floating]) -> tuple[NDArray[np.floating], ...]:
    return points[:, 0], points[:, 1]


def _processes(run: RunRecord) -> Iterator[tuple[str, ProcessRecord, Look]]:
    """Every process with its look."""
    chosen = looks(run.processes)
    for name, process in run.processes.items():
        yield name, process, chosen[name]


def _title(name: str) -> str:
    return name.replace("_", " ")
