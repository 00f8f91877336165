"""Figures of a width study: distances to the wide reference over the width, and their slopes over time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from meanfield.study.figures.palette import DASHES, GREY, Look, looks
from meanfield.study.figures.panels import grid
from meanfield.study.figures.style import (
    STEPS,
    Drawn,
    Series,
    new_figure,
    on_log,
    plot,
    share_legend,
    styled,
    title,
)
from meanfield.study.storage.study_record import LEAST_FOR_INTERVAL, METRICS, Pair, StudyRecord

NAMES = {
    "coupled_rms": "coupled, RMS",
    "coupled_mean": "coupled, mean",
    "coupled_median": "coupled, median",
    "w2": "Wasserstein-2",
    "sliced_w2": "sliced Wasserstein-2",
    "sinkhorn": "Sinkhorn, √S_ε",
    "function_distance": "functions",
    "free_energy_gap": "free energies",
}
LONG = 30  # labels with more letters have no room for the slope
LEAST_FOR_QUARTILES = 4  # with fewer seeds the band is their range


class Group(NamedTuple):
    """Distances that belong together."""

    name: str
    title: str
    equation: str
    metrics: tuple[str, ...]


GROUPS = (
    Group(
        "width_coupled",
        "Distance to the reference, particle by particle, over the width",
        "dᵢ = |xᵢ − yᵢ| of the N particles from those of the reference that started where they did: √((1/N) Σᵢ dᵢ²) (an upper "
        "bound of Wasserstein-2), (1/N) Σᵢ dᵢ, and the median.",
        ("coupled_rms", "coupled_mean", "coupled_median"),
    ),
    Group(
        "width_measures",
        "Distance to the reference as measures, over the width",
        "W₂² = min over couplings γ of ∫|x − y|² dγ; sliced: its mean over projections on lines; √S_ε: the root of the Sinkhorn "
        "divergence. The sampling floor is the distance of two samples of N particles of the reference itself.",
        ("w2", "sliced_w2", "sinkhorn"),
    ),
    Group(
        "width_functions",
        "Distance to the reference in function space and free energy, over the width",
        "√(mean over {inputs} x of |f_N(x) − f_ref(x)|²), and |F_N − F_ref| of the free energies.",
        ("function_distance", "free_energy_gap"),
    ),
)


def study_figures(study: StudyRecord) -> Iterator[Drawn]:
    """Draw, one by one, every figure the study has data for.

    Examples
    --------
    >>> from meanfield.study import figures
    >>> [drawn.name for drawn in figures.study_figures(meanfield.load("study"))][0]
    'width_coupled'
    """
    for group in GROUPS:
        metrics = [m for m in group.metrics if _last(study, m) is not None]
        if metrics:
            with styled():
                figure = _against_width(study, metrics)
            times = sorted({float(study.times[_last(study, m) or 0]) for m in metrics})
            when = ", ".join(f"{time:g}" for time in times)
            inputs = "held-out inputs" if study.held_out else "training inputs"
            equation = group.equation.replace("{inputs}", inputs)
            caption = (
                f"{equation} A process at width N from itself, or A → B from B, at the reference's "
                f"{_reference_width(study)}, at t = {when}. Lines: the median over the seeds; {_band(study)} Dotted: the fit "
                f"log d = α log N + c through the medians, with its slope α and {_interval(study)}"
            )
            yield Drawn(group.name, group.title, caption, figure)
    metrics = [m for m in METRICS if _rates(study, m)]
    if metrics:
        with styled():
            figure = _slopes_over_time(study, metrics)
        caption = (
            f"The slope α of log d against log N at every time, d the distances to the reference, with {_interval(study)} "
            "Dashed: −½, the law of large numbers of N independent particles."
        )
        yield Drawn("width_slopes", "Slopes of the distances over time", caption, figure)


def _against_width(study: StudyRecord, metrics: list[str]) -> Figure:
    figure = new_figure(2.7 * len(metrics))
    axes = figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
    for ax, metric in zip(axes, metrics, strict=True):
        draw_against_width(ax, study, metric)
        above: Any = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0}
        ax.legend(**above, handlelength=1.8, handletextpad=0.5)
    axes[-1].set(xlabel="width N (particles)")
    return figure


def draw_against_width(ax: Axes, study: StudyRecord, metric: str) -> None:
    """One distance at the last time over the width: seed medians with their band, the fitted line, and the sampling floor."""
    time = _last(study, metric)
    assert time is not None
    for p, look in enumerate(_looks(study.pairs)):
        values = shown_distances(study, metric)[p, :, :, time]
        middle, low, high = _over_seeds(values)
        if not np.any(np.isfinite(middle)):
            continue
        slope = study.slopes[metric][p, time] if metric in study.slopes else np.full(3, np.nan)
        label = _with_slope(_pair_label(study.pairs[p]), slope)
        thin = look.line | {"linewidth": 1.0}
        ax.plot(study.widths, middle, marker="o", markersize=3.5, **thin, label=label)
        if len(study.seeds) > 1:
            ax.fill_between(study.widths, low, high, color=look.shade, alpha=0.25, linewidth=0)
        ax.plot(study.widths, _fitted(study.widths, middle, slope[0]), ":", color=look.colour)
    if metric in study.floors:
        for floor in study.floors[metric]:
            label = "sampling floor" if "sampling floor" not in _labels(ax) else ""
            ax.plot(study.widths, on_log(floor[:, time]), "-.", color=GREY, label=label)
    ax.set(ylabel=NAMES[metric], yscale="log")
    ax.set_xscale("log", base=2)
    ax.set_xticks(study.widths, [f"{width}" for width in study.widths])
    ax.xaxis.set_minor_locator(NullLocator())


def _slopes_over_time(study: StudyRecord, metrics: list[str]) -> Figure:
    figure, axes = grid(len(metrics), 1.7)
    for ax, metric in zip(axes, metrics, strict=True):
        draw_slopes(ax, study, metric)
        ax.set_title(NAMES[metric])
        ax.label_outer()
    figure.supxlabel(STEPS, fontsize="medium")
    figure.supylabel("slope α", fontsize="medium")
    share_legend(figure)
    return figure


def draw_slopes(ax: Axes, study: StudyRecord, metric: str) -> None:
    """The slope of one distance over time, and its interval."""
    ax.axhline(-0.5, color=GREY, linewidth=1, linestyle=(0, (5, 2)), label="−½")
    for p, look in enumerate(_looks(study.pairs)):
        slope, low, high = study.slopes[metric][p].T
        if np.any(np.isfinite(slope)):
            plot(ax, study.times, slope, **look.line, label=_pair_label(study.pairs[p]))
            ax.fill_between(study.times, low, high, color=look.shade, alpha=0.25, linewidth=0)


def _looks(pairs: tuple[Pair, ...]) -> list[Look]:
    """The colour of the process at width N; several pairs of one process have different dashes."""
    chosen, seen = looks(dict.fromkeys(pair.process for pair in pairs)), list[str]()
    found = []
    for pair in pairs:
        look = chosen[pair.process]
        found.append(
            Look(look.colour, DASHES[(DASHES.index(look.dashes) + seen.count(pair.process)) % 3])
        )
        seen.append(pair.process)
    return found


def _pair_label(pair: Pair) -> str:
    both = pair.process if pair.process == pair.reference else f"{pair.process} → {pair.reference}"
    return title(both)


def _with_slope(label: str, slope: Series) -> str:
    if not np.isfinite(slope[0]):
        return label
    text = f"α = {slope[0]:.2f}"
    if np.all(np.isfinite(slope)):
        text += f" ({slope[1]:.2f} to {slope[2]:.2f})"
    return label + (":\n" if len(label) > LONG else ": ") + text.replace("-", "−")


def _fitted(widths: NDArray[Any], middle: Series, slope: float) -> Series:
    """The line of this slope through the centroid of the logarithms."""
    there = np.isfinite(middle)
    logs = np.log(widths.astype(np.float64))
    level = np.mean(np.log(middle[there]) - slope * logs[there])
    return np.exp(level + slope * logs)


def _over_seeds(values: Series) -> tuple[Series, Series, Series]:
    """Median over the seeds (w, s) at each width, and the band of `_band`; NaN where there is no value."""
    middle, low, high = np.full((3, len(values)), np.nan)
    ends = (0.25, 0.75) if values.shape[1] >= LEAST_FOR_QUARTILES else (0.0, 1.0)
    for i, row in enumerate(values):
        row = row[np.isfinite(row)]
        if len(row):
            middle[i], (low[i], high[i]) = np.median(row), np.quantile(row, ends)
    return middle, low, high


def shown_distances(study: StudyRecord, metric: str) -> Series:
    """Distances (p, w, s, t) of completed runs; at the reference's own width nested ones are rounding errors."""
    whole = study.statuses == "complete"
    if study.attributes.get("start") == "nested":
        whole = whole & (study.widths != study.attributes.get("reference_width"))[:, None]
    return np.where(whole[None, :, :, None], on_log(study.distances[metric]), np.nan)


def _last(study: StudyRecord, metric: str) -> int | None:
    """The last time at which there is a distance above zero."""
    if metric not in study.distances:
        return None
    found = np.flatnonzero(np.any(np.isfinite(shown_distances(study, metric)), axis=(0, 1, 2)))
    return int(found[-1]) if len(found) else None


def _rates(study: StudyRecord, metric: str) -> bool:
    return metric in study.slopes and bool(
        np.any(np.sum(np.isfinite(study.slopes[metric][:, :, 0]), axis=1) > 1)
    )


def _labels(ax: Axes) -> list[str]:
    return [str(line.get_label()) for line in ax.lines]


def _band(study: StudyRecord) -> str:
    if len(study.seeds) == 1:
        return "of a single one there is no band."
    what = "quartiles" if len(study.seeds) >= LEAST_FOR_QUARTILES else "range"
    return f"shaded: their {what}."


def _interval(study: StudyRecord) -> str:
    if len(study.seeds) == 1:
        return "no interval, as there is a single seed."
    if len(study.seeds) < LEAST_FOR_INTERVAL:
        return "the range of the slopes of single seeds, too few for an interval."
    return "its 95% interval by a bootstrap over the seeds."


def _reference_width(study: StudyRecord) -> str:
    width = study.attributes.get("reference_width")
    return f"width {width}" if width is not None else "width"
