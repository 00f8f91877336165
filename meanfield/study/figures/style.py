"""What all figures share: one style, one colour per process, one legend that hides no curve."""

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
HUGE = 1e100  # a divergence's last steps, which no axis can show
BEYOND = 10.0  # how many times further than all others a diverging process is drawn
FEW = 12  # values that a line is drawn with dots of
DOT = 2.8  # points
HANDLE, LETTER, LINE = 0.5, 0.06, 0.15  # inches, of a legend's entry
LONGEST_LINE = 48  # letters, of a legend or a title
FEW_LINES = 4  # of a legend, for which a figure has room as it is
NOTEBOOK_DPI = 120
WIDTH = 4.4  # inches: its letters can still be read on a telephone

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
    """A figure, and what it shows: the caption states the equation that is plotted."""

    name: str
    title: str
    caption: str
    figure: Figure


@contextmanager
def styled() -> Iterator[None]:
    """The style of all figures, and silence about the numbers of a divergence's end."""
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
    """An empty figure of a size in inches."""
    return InlineFigure(figsize=(width, height), layout="constrained")


def single(draw: Drawing, run: RunRecord, height: float = 3.4) -> Figure:
    """A drawing by itself."""
    figure = new_figure(height)
    draw(figure.subplots(), run)
    share_legend(figure)
    return figure


def share_legend(figure: Figure) -> None:
    """One legend above all axes, each label once; the figure grows by what it takes."""
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
    """A label in lines of so many letters at most."""
    return textwrap.fill(text, width) or text


def processes(run: RunRecord) -> Iterator[tuple[str, ProcessRecord, Look]]:
    """Every process with its look."""
    chosen = looks(run.processes)
    for name, process in run.processes.items():
        yield name, process, chosen[name]


def title(name: str) -> str:
    """A name as people read it."""
    return name.replace("_", " ")


def learning_rate(run: RunRecord) -> float:
    """The η of all processes."""
    return float(run.attributes["learning_rate"])


def is_landscape(run: RunRecord) -> bool:
    """Whether what moves is a single point, not a measure."""
    return any(process.trajectory is not None for process in run.processes.values())


def oscillates(process: ProcessRecord) -> bool:
    """Whether there is a fluctuation that a logarithmic axis can show."""
    return bool(np.any(np.isfinite(on_log(process.observables["sigma_trace"]))))


def measured(run: RunRecord, key: str) -> bool:
    """Whether any process has an observable."""
    found = (p.observables[key] for p in run.processes.values() if key in p.observables)
    return any(np.any(np.isfinite(values)) for values in found)


def plot(ax: Axes, times: Series, values: Series, few: int = FEW, **options: Any) -> None:
    """A line, with dots where there are few values; none where there are none."""
    count = np.sum(np.isfinite(values))
    if count:
        ax.plot(times, values, marker="o" if count <= few else "", markersize=3, **options)


def dots(ax: Axes, x: Series, y: Series, colour: str, label: str = "", strong: bool = True) -> None:
    """Points as one path of round ends: small as an image, but its colour can turn with the page. The axis has its limits."""
    low, high = ax.get_xlim()
    length = 1e-5 * (high - low)  # of nothing at all some renderers would draw nothing
    vertices = np.stack([x, y, x + length, y], axis=1).reshape(-1, 2)
    path = Path(vertices, [Path.MOVETO, Path.LINETO] * len(x))
    path.should_simplify = False
    look: Any = {"color": colour, "alpha": 0.85 if strong else 0.35}
    ends: Any = {"linewidth": DOT, "capstyle": "round", "snap": False}
    ax.add_patch(PathPatch(path, fill=False, **ends, **look))
    ax.plot([], [], "o", markersize=DOT, markeredgewidth=0, label=label, **look)


def on_log(values: NDArray[np.floating]) -> Series:
    """Values with gaps where a logarithmic axis has no place: zero, and a divergence's last steps."""
    return np.where((values > 0) & (values < HUGE), values, np.nan)


def not_huge(values: NDArray[np.floating]) -> Series:
    """Values with gaps where they are too large for any axis."""
    values = values.astype(np.float64)  # single precision has no such number as HUGE
    return np.where(np.abs(values) < HUGE, values, np.nan)


def tamed(run: RunRecord, values: dict[str, Series]) -> dict[str, Series]:
    """Values by process; those that diverge have gaps where they are far beyond all others, who share a linear axis with them."""
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
