"""Observables over time: losses, sharpness, oscillation energy, distances, free energy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from meanfield.study.analysis.comparison import onset, onset_level, rounding_spread
from meanfield.study.analysis.words import has_own_optimizer, perturbed_title, said
from meanfield.study.figures.palette import GREY
from meanfield.study.figures.style import (
    BEYOND,
    FEW,
    STEPS,
    is_landscape,
    new_figure,
    not_huge,
    on_log,
    oscillates,
    plot,
    processes,
    share_legend,
    tamed,
    title,
)
from meanfield.study.figures.ticks import log_y
from meanfield.study.storage.schema import RunRecord
from solvers.flow import Flow
from solvers.flows import REFERENCE_FLOW, flow_class
from solvers.optimizer import Optimizer

Shown = Callable[[NDArray[np.float64]], NDArray[np.float64]]
CIRCLES: Any = {"marker": "o", "fillstyle": "none", "markersize": 4}
ORDERS = 100.0  # ratio of distances from which their axis is logarithmic


def draw_loss(ax: Axes, run: RunRecord) -> None:
    """Loss at the center, the time-averaged loss predicted, and the loss of GD's iterates."""
    shown = _loss_axis(ax, run)
    for name, process, look in processes(run):
        data = process.observables
        plot(ax, data["time"], shown(data["train_loss"]), **look.line, label=title(name))
        if oscillates(process):  # otherwise the predicted loss is the loss
            ax.plot(data["time"], shown(data["predicted_loss"]), ":", color=look.colour)
    if any(oscillates(process) for process in run.processes.values()):
        ax.plot([], [], color=GREY, linestyle=":", label="predicted average")
    _draw_iterates(ax, run, shown)


def draw_predicted_loss(ax: Axes, run: RunRecord) -> None:
    """The time-averaged loss predicted by every process, and the loss of GD's iterates."""
    shown = _loss_axis(ax, run)
    for name, process, look in processes(run):
        data = process.observables
        plot(ax, data["time"], shown(data["predicted_loss"]), **look.line, label=title(name))
    _draw_iterates(ax, run, shown)
    ax.set(ylabel=f"predicted {ax.get_ylabel()}")


def _draw_iterates(ax: Axes, run: RunRecord, shown: Shown) -> None:
    """The range between which the iterates of gradient descent alternate."""
    for name, process, _ in processes(run):
        data = process.observables
        if run.is_optimizer(name) and len(data["time"]) > 1:
            pairs = np.stack([data["iterate_loss"][:-1], data["iterate_loss"][1:]])
            between = shown(pairs.min(axis=0)), shown(pairs.max(axis=0))
            label = f"{title(name)}, iterates"
            ax.fill_between(
                data["time"][:-1], *between, color=GREY, alpha=0.35, linewidth=0, label=label
            )


def _loss_axis(ax: Axes, run: RunRecord) -> Shown:
    """Set a logarithmic axis unless a loss is negative, as for some landscapes; a function that masks values off the axis."""
    losses = [process.observables["train_loss"] for process in run.processes.values()]
    is_log = all(np.all(values[np.isfinite(values)] >= 0) for values in losses)
    ax.set(xlabel=STEPS, ylabel="loss" if is_landscape(run) else "risk")
    if is_log:
        log_y(ax)
    return on_log if is_log else not_huge


def draw_sharpness(ax: Axes, run: RunRecord) -> None:
    """The largest eigenvalues of the Hessian at the center, and the edge of stability 2/η."""
    eigenvalues = tamed(run, {name: _eigenvalues(p.observables) for name, p, _ in processes(run)})
    for name, process, look in processes(run):
        values = eigenvalues[name]
        rows = np.any(np.isfinite(values), axis=1)
        times, values = process.observables["time"][rows], values[rows]
        plot(ax, times, values[:, 0], **look.line, label=title(name))
        thin = look.line | {"linewidth": 0.7}
        for following in values.T[1:]:
            plot(ax, times, following, **thin)
    _draw_iterate_sharpness(ax, run)
    _draw_batch_sharpness(ax, run)
    _draw_edges(ax, run)
    ax.set(xlabel=STEPS, ylabel="eigenvalues λ")


def draw_effective_sharpness(ax: Axes, run: RunRecord) -> None:
    """The sharpness of the preconditioned Hessian over the threshold of each process, and the edge at 1."""
    values = {name: p.observables["effective_sharpness"] for name, p, _ in processes(run)}
    for name, process, look in processes(run):
        rows = values[name] > 0
        plot(
            ax,
            process.observables["time"][rows],
            values[name][rows],
            **look.line,
            label=title(name),
        )
    dashed: Any = {"color": GREY, "linewidth": 1, "linestyle": (0, (5, 2)), "zorder": 1.9}
    ax.axhline(1.0, label="edge of stability", **dashed)
    ax.set(xlabel=STEPS, ylabel="sharpness over its threshold")
    log_y(ax)


def _draw_edges(ax: Axes, run: RunRecord) -> None:
    """2/η, where gradient descent is what the others are compared with, and the sharpness at which other optimizers oscillate.

    The latter is λ₁ over its measured ratio to the threshold of P⁻¹H.
    """
    if not has_own_optimizer(run):
        _draw_edge(ax, run)
    for name, process, look in processes(run):
        data = process.observables
        if process.flow == REFERENCE_FLOW or not _is_optimizer(process.flow):
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            edge = data["sharpness"] / data["effective_sharpness"]
        known = np.isfinite(edge) & (edge > 0)
        dashed: Any = {"color": look.colour, "linewidth": 1, "linestyle": (0, (5, 2))}
        label = f"edge of stability of {title(name)}"
        ax.plot(data["time"][known], edge[known], **dashed, zorder=1.9, label=label)


def _is_optimizer(flow: str) -> bool:
    """Whether a flow is an update rule with a threshold of its own."""
    return issubclass(flow_class(flow) or Flow, Optimizer)


def _draw_edge(ax: Axes, run: RunRecord) -> None:
    """2/η: a line, or steps where the learning rate changes."""
    schedule = run.learning_rates
    look: Any = {"color": GREY, "linewidth": 1, "linestyle": (0, (5, 2)), "zorder": 1.9}
    look["label"] = "edge of stability 2/η"
    edges = 2 / np.array(schedule.rates)
    if len(edges) == 1:
        ax.axhline(edges[0], **look)
        return
    times = [process.observables["time"] for process in run.processes.values()]
    end = max((float(values[-1]) for values in times if len(values)), default=0.0)
    begun = np.array(schedule.steps) <= end
    steps, edges = np.array(schedule.steps)[begun], edges[begun]
    ax.step([*steps, end], [*edges, edges[-1]], where="post", **look)


def _draw_batch_sharpness(ax: Axes, run: RunRecord) -> None:
    """Dotted, where steps are taken on batches."""
    key = "batch_sharpness"
    values = {name: p.observables[key] for name, p in run.processes.items() if key in p.observables}
    shown = tamed(run, values)
    for name, process, look in processes(run):
        if name in shown:
            known = np.isfinite(shown[name])
            label = f"{title(name)}, along batches' gradients"
            times = process.observables["time"][known]
            ax.plot(times, shown[name][known], ":", color=look.colour, linewidth=1, label=label)


def _draw_iterate_sharpness(ax: Axes, run: RunRecord) -> None:
    """Dots, where it was measured."""
    key = "iterate_sharpness"
    values = {name: p.observables[key] for name, p in run.processes.items() if key in p.observables}
    shown = tamed(run, values)
    for name, process, look in processes(run):
        if name in shown:
            ax.plot(process.observables["time"], shown[name], ".", color=look.colour, markersize=2)


def _eigenvalues(data: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """(t, k), the sharpness first."""
    return data.get("hessian_eigs", data["sharpness"][:, None])


def draw_oscillation(ax: Axes, run: RunRecord) -> None:
    """tr Σ/η, the increase of the loss by the oscillation at the edge of stability."""
    for name, process, look in processes(run):
        if oscillates(process):
            times = process.observables["time"]
            energy = on_log(process.observables["sigma_trace"] / run.learning_rates.at(times))
            plot(ax, times, energy, **look.line, label=title(name))
    ax.set(xlabel=STEPS, ylabel="oscillation energy tr Σ/η")
    log_y(ax)


def draw_distance(ax: Axes, run: RunRecord) -> None:
    """Distance of the centers to gradient descent: particle by particle, and as measures for several particles.

    Hatched: up to the rounding spread of gradient descent. The axis is logarithmic where models differ by orders of magnitude.
    """
    drawn = {name: run.comparison[name] for name in run.processes if name in run.comparison}
    coupled = tamed(run, {name: found["center_distance"] for name, found in drawn.items()})
    w2 = tamed(run, {name: found["w2"] for name, found in drawn.items()})
    typical = [_typical(values) for values in (*coupled.values(), *w2.values())]
    is_log = max(typical, default=0.0) > ORDERS * min(filter(None, typical), default=np.inf)
    if is_log:
        coupled, w2 = ({k: on_log(v) for k, v in curves.items()} for curves in (coupled, w2))
    time, measures = run.comparison_times, not is_landscape(run)
    for name, _, look in processes(run):
        if name in drawn:
            plot(
                ax, time, coupled[name], few=0 if measures else FEW, **look.line, label=title(name)
            )
            if measures:  # quantiles of a law have only these, as they are not labelled particles
                label = "" if np.any(np.isfinite(coupled[name])) else title(name)
                ax.plot(time, w2[name], linestyle="", color=look.colour, **CIRCLES, label=label)
    if measures:
        ax.plot([], [], color=GREY, linewidth=2, label="distance as RMS over particles")
        ax.plot([], [], linestyle="", color=GREY, **CIRCLES, label="distance in Wasserstein-2")
    lowest = 0.0
    if is_log:
        log_y(ax)
        lowest = 0.1 * min(filter(None, typical))
    _draw_spread(ax, run, lowest)
    mark_onset(ax, run)
    ax.set(xlabel=STEPS, ylabel=said(run, "distance to gradient descent"))
    if ax.dataLim.ymax > lowest:
        ax.set_ylim(bottom=lowest)


def _typical(values: NDArray[np.float64]) -> float:
    """The median of what is positive, 0 without."""
    positive = values[values > 0]
    return float(np.median(positive)) if positive.size else 0.0


def _draw_spread(ax: Axes, run: RunRecord, lowest: float) -> None:
    """The rounding spread as a band, clipped where it would be far beyond the curves of the models."""
    spread = rounding_spread(run)
    if spread is None or not np.any(np.isfinite(spread)):
        return
    most = BEYOND * max(ax.dataLim.ymax, 0.0) or np.inf
    values = np.where(spread <= most, np.maximum(spread, lowest), np.nan)
    look: Any = {"edgecolor": GREY, "facecolor": "none", "linewidth": 1, "zorder": 1.9}
    look |= {"hatch": "/////", "label": perturbed_title(run)}
    ax.fill_between(run.comparison_times, lowest, values, **look)


def onset_time(run: RunRecord) -> float | None:
    """The onset of the oscillation of gradient descent, see `analysis.comparison.onset`; None without one."""
    if run.reference is None:
        return None
    data = run.processes[run.reference].observables
    return onset(data["time"], data["sigma_trace"], onset_level(data["sigma_trace"]))


def mark_onset(ax: Axes, run: RunRecord) -> None:
    """A vertical line at the onset of the oscillation of gradient descent."""
    time = onset_time(run)
    if time is not None:
        ax.axvline(time, color=GREY, linewidth=1, label="_onset")
        upright: Any = {"linestyle": "", "marker": "|", "markersize": 9, "color": GREY}
        ax.plot([], [], **upright, label="onset of the oscillation")


def draw_energy(ax: Axes, run: RunRecord) -> None:
    """Change of the free energy, broad and pale, and the integral of its rate along a flow, thin: equal for exact integration."""
    datas = {name: process.observables for name, process, _ in processes(run)}
    changes = tamed(run, {name: _change(data) for name, data in datas.items()})
    integrals = tamed(run, {name: data["dissipated"] for name, data in datas.items()})
    for name, _, look in processes(run):
        time = datas[name]["time"]
        broad = look.line | {"linewidth": 3.5, "alpha": 0.35, "linestyle": "-"}
        plot(ax, time, changes[name], **broad, label=title(name))
        plot(ax, time, integrals[name], **look.line | {"linewidth": 1.0})
    ax.plot([], [], color=GREY, linewidth=0.7, label="integral of the rate of F")
    ax.set(xlabel=STEPS, ylabel="change of the free energy F")


def _change(data: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    return data["free_energy"] - data["free_energy"][:1]


def energy_balance(run: RunRecord) -> Figure:
    """The change of the free energy above its difference to the integral of its rate."""
    figure = new_figure(4.2)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    draw_energy(top, run)
    top.set_xlabel("")
    for _, process, look in processes(run):
        data = process.observables
        plot(bottom, data["time"], on_log(np.abs(_change(data) - data["dissipated"])), **look.line)
    bottom.set(xlabel=STEPS, ylabel="|residual|")
    log_y(bottom)
    share_legend(figure)
    return figure
