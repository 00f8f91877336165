"""Common style of figures: one colour per process, one legend outside the axes."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from meanfield.study.figures.layout import Layout, Panel
from meanfield.study.figures.palette import Look, looks
from meanfield.study.storage.schema import ProcessRecord, RunRecord

PALE = "#BBBBBB"
HUGE = 1e100  # values of the last steps of a divergence, which no axis can show
BEYOND = 10.0  # range of a diverging process relative to all others
FEW = 12  # lines with at most this many values have dots
DOT = 2.8  # points
# of a legend's entry, inches per point of its letters
HANDLE, LETTER, LINE = 0.0625, 0.0075, 0.019
LONGEST_LINE = 48  # letters per line of a legend or a title
NOTEBOOK_DPI = 120
WIDTH = 4.4  # inches: legible on a telephone
SMALL = 5.0  # inches: a figure made for a narrower column has the letters of its captions, 8 points and 7
LEAST_SCALE, MOST_SCALE = 0.75, 1.3  # of heights, at other widths

STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.titlesize": 9,
    "axes.titley": 1.0,  # no axis is at the top, which every title otherwise measures all ticks for
    "grid.alpha": 0.25,
    "lines.linewidth": 1.3,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "savefig.dpi": 200,
    "svg.hashsalt": "meanfield",
    "text.hinting": "no_hinting",  # at these dots per inch it shows in no letter, and takes a tenth of the time
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
    "axes.formatter.useoffset": False,
}
_PRINTED: Any = {"savefig.dpi": 300}
_SMALL: Any = {"font.size": 8, "axes.titlesize": 8, "legend.fontsize": 7}
_width: ContextVar[float | None] = ContextVar("width", default=None)
STEPS = "time t (iterations of gradient descent)"

Series = NDArray[np.float64]
Drawing = Callable[[Axes, RunRecord], None]


class Drawn(NamedTuple):
    """A figure with its name, title and caption, which states the plotted equation.

    Examples
    --------
    >>> from meanfield.study import figures
    >>> drawn = next(figures.run_figures("meanfield-run"))
    >>> drawn.name, drawn.title, len(drawn.figure.axes)
    ('loss', 'Loss and predicted loss', 1)
    """

    name: str
    title: str
    caption: str
    figure: Figure


@contextmanager
def at_width(inches: float | None) -> Iterator[None]:
    """Context in which all figures are made for this width; with None, each for its own."""
    token = _width.set(inches)
    try:
        yield
    finally:
        _width.reset(token)


@contextmanager
def styled() -> Iterator[None]:
    """Context with the style of all figures and without warnings about the numbers of a divergence."""
    inches = _width.get()
    printed = {} if inches is None else _PRINTED | (_SMALL if inches < SMALL else {})
    with rc_context(STYLE | printed), np.errstate(over="ignore", invalid="ignore"):
        yield


class InlineFigure(Figure):
    """A figure that a notebook shows, without pyplot."""

    def add_subplot(self, *args: Any, **options: Any) -> Axes:
        """Axes as of `matplotlib.figure.Figure`, which the layout measures once."""
        return super().add_subplot(*args, **{"axes_class": Panel} | options)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with styled():
            self.savefig(buffer, format="png", dpi=NOTEBOOK_DPI)
        return buffer.getvalue()


def is_for_print() -> bool:
    """Whether figures are drawn for a given width."""
    return _width.get() is not None


def width_of_figures(otherwise: float = WIDTH) -> float:
    """The width of `at_width`, in inches."""
    return _width.get() or otherwise


def new_figure(height: float = 2.8, width: float = WIDTH) -> Figure:
    """An empty figure; sizes in inches, without the legend, where `at_width` gives no other."""
    inches = _width.get()
    if inches is not None:
        width, height = inches, height * min(max(inches / width, LEAST_SCALE), MOST_SCALE)
    return InlineFigure(figsize=(width, height), layout=Layout())


def single(draw: Drawing, run: RunRecord, height: float = 2.8) -> Figure:
    """A figure with a single drawing."""
    figure = new_figure(height)
    draw(figure.subplots(), run)
    share_legend(figure)
    return figure


def share_legend(figure: Figure) -> None:
    """One legend above all axes, with each label once; the figure grows by its height."""
    entries: dict[str, Any] = {}
    for ax in figure.axes:
        handles, labels = ax.get_legend_handles_labels()
        entries |= {
            label: h for h, label in zip(handles, labels, strict=True) if label not in entries
        }
    if not entries:
        return
    labels = [wrapped(label) for label in entries]
    size = points(rcParams["legend.fontsize"])
    columns = _most_columns(labels, figure.get_figwidth() / size)
    lines = max(sum(label.count("\n") + 1 for label in part) for part in columns)
    figure.set_figheight(figure.get_figheight() + LINE * size * lines)
    figure.legend(entries.values(), labels, loc="outside upper center", ncols=len(columns))


def points(size: str | float) -> float:
    """A size of letters as matplotlib's parameters have it, in points."""
    return float(FontProperties(size=size).get_size_in_points())


def _most_columns(labels: list[str], room: float) -> list[list[str]]:
    """A legend's entries in as many columns as there is room for, in inches per point; split as matplotlib does."""
    for count in range(len(labels), 0, -1):
        parts = [list(part) for part in np.array_split(np.array(labels, object), count)]
        lines = [[line for label in part for line in label.splitlines()] for part in parts]
        if sum(HANDLE + LETTER * max(map(len, part)) for part in lines) <= room:
            break
    return parts


def wrapped(text: str, width: int = LONGEST_LINE) -> str:
    """A label wrapped into lines of at most `width` letters."""
    return textwrap.fill(text, width) or text


def processes(run: RunRecord) -> Iterator[tuple[str, ProcessRecord, Look]]:
    """Every process with its look."""
    chosen = looks(run.all_names or run.processes)
    for name, process in run.processes.items():
        yield name, process, chosen[name]


def title(name: str) -> str:
    """A readable form of a name."""
    return name.replace("_", " ")


def is_landscape(run: RunRecord) -> bool:
    """Whether the run is on a landscape: a single point rather than a measure."""
    return any(process.trajectory is not None for process in run.processes.values())


def oscillates(process: ProcessRecord) -> bool:
    """Whether there is a fluctuation large enough for a logarithmic axis."""
    return bool(np.any(np.isfinite(on_log(process.observables["sigma_trace"]))))


def measured(run: RunRecord, key: str) -> bool:
    """Whether any process has an observable."""
    found = (p.observables[key] for p in run.processes.values() if key in p.observables)
    return any(np.any(np.isfinite(values)) for values in found)


def plot(ax: Axes, times: Series, values: Series, few: int = FEW, **options: Any) -> None:
    """Plot a line, with dots if there are few values; nothing without values."""
    count = np.sum(np.isfinite(values))
    if count:
        ax.plot(times, values, marker="o" if count <= few else "", markersize=3, **options)


def dots(ax: Axes, x: Series, y: Series, colour: str, label: str = "", strong: bool = True) -> None:
    """Points as one path with round caps: small in SVG, with a colour that can follow the page. Axis limits must be set."""
    low, high = ax.get_xlim()
    length = 1e-5 * (high - low)  # some renderers draw nothing for zero length
    vertices = np.stack([x, y, x + length, y], axis=1).reshape(-1, 2)
    path = Path(vertices, [Path.MOVETO, Path.LINETO] * len(x))
    path.should_simplify = False
    look: Any = {"color": colour, "alpha": 0.85 if strong else 0.35}
    ends: Any = {"linewidth": DOT, "capstyle": "round", "snap": False}
    ax.add_patch(PathPatch(path, fill=False, **ends, **look))
    ax.plot([], [], "o", markersize=DOT, markeredgewidth=0, label=label, **look)


def on_log(values: NDArray[np.floating]) -> Series:
    """Values with gaps where a logarithmic axis cannot show them: zeros, and the last steps of a divergence."""
    return np.where((values > 0) & (values < HUGE), values, np.nan)


def not_huge(values: NDArray[np.floating]) -> Series:
    """Values with gaps where they are too large for any axis."""
    values = values.astype(np.float64)  # HUGE overflows in single precision
    return np.where(np.abs(values) < HUGE, values, np.nan)


def tamed(run: RunRecord, values: dict[str, Series]) -> dict[str, Series]:
    """Values by process, with gaps where diverging ones are far beyond the others on the same linear axis."""
    values = {name: not_huge(value) for name, value in values.items()}
    steady = [
        np.abs(value[np.isfinite(value)])
        for name, value in values.items()
        if run.processes[name].status != "diverged"
    ]
    scale = max((float(value.max()) for value in steady if value.size), default=0.0)
    if not scale:
        return values
    return {
        name: value
        if run.processes[name].status != "diverged"
        else np.where(np.abs(value) <= BEYOND * scale, value, np.nan)
        for name, value in values.items()
    }
