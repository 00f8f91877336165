"""Figures of a width study: distances to the wide reference over the width, and their slopes over time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnchoredOffsetbox, TextArea, VPacker
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from meanfield.study.figures.palette import GREY, Look, looks
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
    width_of_figures,
)
from meanfield.study.figures.ticks import log_y
from meanfield.study.storage.study_record import LEAST_FOR_INTERVAL, METRICS, Pair, StudyRecord

NAMES = {
    "coupled_rms": "coupled distance, RMS",
    "coupled_mean": "coupled distance, mean",
    "coupled_median": "coupled distance, median",
    "w2": "Wasserstein-2 distance",
    "sliced_w2": "sliced Wasserstein-2",
    "sinkhorn": "Sinkhorn distance",
    "function_distance": "distance of functions",
    "free_energy_gap": "gap of free energies",
}
ROOM = 0.45  # inches, of the number of a width
SHARE = 0.12  # of a panel's height, that a line of text in it needs
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


SLOPES = "width_slopes"
#: The names of all figures of a width study.
STUDY_FIGURES = (*(group.name for group in GROUPS), SLOPES)


def study_figures(study: StudyRecord, only: Collection[str] = STUDY_FIGURES) -> Iterator[Drawn]:
    """Draw, one by one, every figure the study has data for, of those named.

    Examples
    --------
    >>> from meanfield.study import figures
    >>> [drawn.name for drawn in figures.study_figures(meanfield.load("study"))][0]
    'width_coupled'
    """
    for group in GROUPS:
        metrics = [m for m in group.metrics if _last(study, m) is not None and group.name in only]
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
                f"log d = α log N + c through the medians; in its color the slope α with {_interval(study)}"
            )
            yield Drawn(group.name, group.title, caption, figure)
    metrics = [m for m in METRICS if _rates(study, m) and SLOPES in only]
    if metrics:
        with styled():
            figure = _slopes_over_time(study, metrics)
        caption = (
            f"The slope α of log d against log N at every time, d the distances to the reference, with {_interval(study)} "
            "Dashed: −½, the law of large numbers of N independent particles."
        )
        yield Drawn(SLOPES, "Slopes of the distances over time", caption, figure)


def _against_width(study: StudyRecord, metrics: list[str]) -> Figure:
    figure = new_figure(2.0 * len(metrics) + 0.3)
    axes = figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
    for ax, metric in zip(axes, metrics, strict=True):
        draw_against_width(ax, study, metric)
    axes[-1].set(xlabel="width N (particles)")
    share_legend(figure)
    return figure


def draw_against_width(ax: Axes, study: StudyRecord, metric: str) -> None:
    """One distance at the last time over the width: seed medians with their band, the fitted line, and the sampling floor."""
    time = _last(study, metric)
    assert time is not None
    slopes: list[tuple[str, str]] = []
    for p, look in enumerate(_looks(study)):
        values = shown_distances(study, metric)[p, :, :, time]
        middle, low, high = _over_seeds(values)
        if not np.any(np.isfinite(middle)):
            continue
        slope = study.slopes[metric][p, time] if metric in study.slopes else np.full(3, np.nan)
        if np.isfinite(slope[0]):
            slopes.append((_slope_text(slope), look.colour))
        thin = look.line | {"linewidth": 1.0}
        label = _pair_label(study.pairs[p])
        ax.plot(study.widths, middle, marker="o", markersize=3.5, **thin, label=label)
        if len(study.seeds) > 1:
            ax.fill_between(study.widths, low, high, color=look.shade, alpha=0.25, linewidth=0)
        ax.plot(study.widths, _fitted(study.widths, middle, slope[0]), ":", color=look.colour)
    if slopes:
        ax.plot([], [], ":", color=GREY, label="fit of slope α")
    if metric in study.floors:
        for floor in study.floors[metric]:
            label = "sampling floor" if "sampling floor" not in _labels(ax) else ""
            ax.plot(study.widths, on_log(floor[:, time]), "-.", color=GREY, label=label)
    ax.set(ylabel=NAMES[metric])
    log_y(ax)
    _write_slopes(ax, slopes)
    ax.set_xscale("log", base=2)
    few = -(-len(study.widths) // max(1, int((width_of_figures() - 0.6) / ROOM)))
    labels = [f"{width}" if i % few == 0 else "" for i, width in enumerate(study.widths)]
    ax.set_xticks(study.widths, labels)
    ax.xaxis.set_minor_locator(NullLocator())


def _write_slopes(ax: Axes, slopes: list[tuple[str, str]]) -> None:
    """The slopes in the colours of their lines, in the corner that falling distances leave free, with room below them."""
    if not slopes:
        return
    lines = [TextArea(text, textprops={"color": c, "fontsize": "small"}) for text, c in slopes]
    box = VPacker(children=list(lines), pad=0, sep=1)
    ax.add_artist(AnchoredOffsetbox("lower left", child=box, pad=0.1, borderpad=0.3, frameon=False))
    low, high = ax.get_ylim()
    ax.set_ylim(bottom=low / (high / low) ** (SHARE * len(slopes)))


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
    for p, look in enumerate(_looks(study)):
        slope, low, high = study.slopes[metric][p].T
        if np.any(np.isfinite(slope)):
            plot(ax, study.times, slope, **look.line, label=_pair_label(study.pairs[p]))
            ax.fill_between(study.times, low, high, color=look.shade, alpha=0.25, linewidth=0)
    below: Any = {"color": GREY, "linewidth": 1, "linestyle": (0, (5, 2)), "zorder": 1.9}
    ax.axhline(-0.5, **below, label="−½")


def _looks(study: StudyRecord) -> list[Look]:
    """The look of a process compared with itself, and colours of their own for other pairs."""
    chosen = looks(map(_pair_name, study.all_pairs or study.pairs))
    return [chosen[_pair_name(pair)] for pair in study.pairs]


def _pair_name(pair: Pair) -> str:
    return pair.process if pair.process == pair.reference else f"{pair.process} → {pair.reference}"


def _pair_label(pair: Pair) -> str:
    return title(_pair_name(pair))


def _slope_text(slope: Series) -> str:
    text = f"α = {slope[0]:.2f}"
    if np.all(np.isfinite(slope)):
        text += f" ({slope[1]:.2f} to {slope[2]:.2f})"
    return text.replace("-", "−")


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
