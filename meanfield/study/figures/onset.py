"""The onset of the oscillation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meanfield.study.analysis.words import has_own_optimizer
from meanfield.study.figures.curves import (
    draw_loss,
    draw_oscillation,
    draw_sharpness,
    mark_onset,
    onset_time,
)
from meanfield.study.figures.style import (
    new_figure,
    on_log,
    oscillates,
    share_legend,
)
from meanfield.study.storage.schema import ProcessRecord, RunRecord

LEAST = 20.0  # minimal number of steps before and after
SHARE = 6  # at most this fraction of the run, as a denominator
DECADES = 1e-12  # smallest oscillation energy shown, relative to its maximum


def onset_zoom(run: RunRecord) -> Figure | None:
    """Loss, sharpness and oscillation energy around the onset over a common time axis; None without an onset."""
    time = onset_time(run)
    if time is None:
        return None
    start, end = window(run, time)
    cropped = replace(run, processes={k: _crop(p, start, end) for k, p in run.processes.items()})
    figure = new_figure(5.6)
    for ax, draw in zip(
        figure.subplots(3, 1, sharex=True),
        (draw_loss, draw_sharpness, draw_oscillation),
        strict=True,
    ):
        draw(ax, cropped)
        mark_onset(ax, run)
        ax.label_outer()
    _focus(figure.axes[1], cropped)
    top = figure.axes[2].get_ylim()[1]
    figure.axes[2].set_ylim(bottom=max(figure.axes[2].get_ylim()[0], DECADES * top))
    figure.axes[0].set_xlim(start, end)
    share_legend(figure)
    return figure


def _focus(ax: Axes, run: RunRecord) -> None:
    """Limit the axis to the sharpness of oscillating processes and the edge; others may be far above."""
    values = [p.observables["sharpness"] for p in run.processes.values() if oscillates(p)]
    known = [value[np.isfinite(on_log(value))] for value in values]
    edges = [] if has_own_optimizer(run) else [2 / np.array(run.learning_rates.rates)]
    shown = np.concatenate([*edges, *known])
    margin = 0.1 * float(np.ptp(shown)) or 0.1 * shown[0]
    ax.set_ylim(shown.min() - margin, shown.max() + margin)


def window(run: RunRecord, time: float) -> tuple[float, float]:
    """The time window from the weakest oscillation before the onset to equally long after, at most the run over `SHARE`."""
    assert run.reference is not None, "a run with an onset has the process whose onset it is"
    descent = run.processes[run.reference]
    times, trace = descent.observables["time"], descent.observables["sigma_trace"]
    before = times < time
    weakest = times[before][np.argmin(trace[before])]
    reach = max(min(time - weakest, (times[-1] - times[0]) / SHARE), LEAST)
    return max(time - reach, times[0]), min(time + reach, times[-1])


def is_whole_run(run: RunRecord) -> bool:
    """Whether the zoom around the onset shows the whole run; False without an onset."""
    time = onset_time(run)
    if time is None:
        return False
    start, end = window(run, time)
    times = [process.observables["time"] for process in run.processes.values()]
    return all(np.all((values >= start) & (values <= end)) for values in times)


def _crop(process: ProcessRecord, start: float, end: float) -> ProcessRecord:
    times = process.observables["time"]
    rows = (times >= start) & (times <= end)
    data = {k: v[rows] for k, v in process.observables.items()}
    return replace(process, observables=data | {"hessian_eigs": data["sharpness"][:, None]})
