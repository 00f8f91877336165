"""Common style of figures: one colour per process, one legend outside the axes."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from meanfield.study.figures.palette import Look, looks
from meanfield.study.storage.layout import ProcessRecord, RunRecord

PALE = "#BBBBBB"
HUGE = 1e100  # values of the last steps of a divergence, which no axis can show
BEYOND = 10.0  # range of a diverging process relative to all others
FEW = 12  # lines with at most this many values have dots
DOT = 2.8  # points
HANDLE, LETTER, LINE = 0.5, 0.06, 0.15  # inches, of a legend's entry
LONGEST_LINE = 48  # letters per line of a legend or a title
FEW_LINES = 4  # lines of a legend that fit without enlarging the figure
NOTEBOOK_DPI = 120
WIDTH = 4.4  # inches: legible on a telephone

STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.titlesize": 9,
    "grid.alpha": 0.25,
    "lines.linewidth": 1.3,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "savefig.dpi": 200,
    "svg.hashsalt": "meanfield",
}
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
def styled() -> Iterator[None]:
    """Context with the style of all figures and without warnings about the numbers of a divergence."""
    with rc_context(STYLE), np.errstate(over="ignore", invalid="ignore"):
        yield


class InlineFigure(Figure):
    """A figure that a notebook shows, without pyplot."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with styled():
            self.savefig(buffer, format="png", dpi=NOTEBOOK_DPI)
        return buffer.getvalue()


def new_figure(height: float = 3.4, width: float = WIDTH) -> Figure:
    """An empty figure; sizes in inches."""
    return InlineFigure(figsize=(width, height), layout="constrained")


def single(draw: Drawing, run: RunRecord, height: float = 3.4) -> Figure:
    """A figure with a single drawing."""
    figure = new_figure(height)
    draw(figure.subplots(), run)
    share_legend(figure)
    return figure


def share_legend(figure: Figure) -> None:
    """One legend above all axes, with each label once; the figure grows accordingly."""
    entries: dict[str, Any] = {}
    for ax in figure.axes:
        handles, labels = ax.get_legend_handles_labels()
        entries |= {
            label: h for h, label in zip(handles, labels, strict=True) if label not in entries
        }
    if not entries:
        return
    labels = [wrapped(label) for label in entries]
    longest = max(len(line) for label in labels for line in label.splitlines())
    columns = max(1, int(figure.get_figwidth() / (HANDLE + LETTER * longest)))
    lines = -(-sum(label.count("\n") + 1 for label in labels) // columns)
    figure.set_figheight(figure.get_figheight() + LINE * max(0, lines - FEW_LINES))
    figure.legend(entries.values(), labels, loc="outside upper center", ncols=columns)


def wrapped(text: str, width: int = LONGEST_LINE) -> str:
    """A label wrapped into lines of at most `width` letters."""
    return textwrap.fill(text, width) or text


def processes(run: RunRecord) -> Iterator[tuple[str, ProcessRecord, Look]]:
    """Every process with its look."""
    chosen = looks(run.processes)
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
