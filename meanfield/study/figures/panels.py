"""Small panels with common axes, one for each process."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meanfield.study.figures.style import LINE, WIDTH, new_figure, points, width_of_figures, wrapped

COLUMNS = 2
LETTERS = 46  # of a title over the whole width


def grid(count: int, height: float, columns: int = COLUMNS) -> tuple[Figure, list[Axes]]:
    """`count` panels of a given height, without empty ones."""
    columns = min(count, columns)
    rows = -(-count // columns)
    figure = new_figure(height * rows + 0.5)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
    shown, unused = axes[:count], axes[count:]
    for ax in unused:
        ax.remove()
    return figure, list(shown)


def panel_titles(
    figure: Figure, axes: Sequence[Axes], titles: Sequence[str], x: str, y: str
) -> None:
    """Titles of the panels and common axis labels."""
    spec = axes[0].get_subplotspec()
    columns = 1 if spec is None else spec.get_gridspec().ncols
    size = points(rcParams["axes.titlesize"])
    letters = int(LETTERS * width_of_figures() / WIDTH * 9 / size)
    lines = [wrapped(text, letters // columns) for text in titles]
    rows = -(-len(axes) // columns)
    most = max(text.count("\n") for text in lines)
    figure.set_figheight(figure.get_figheight() + LINE * size * most * rows)
    for ax, text in zip(axes, lines, strict=True):
        ax.set_title(text)
        ax.label_outer()
    figure.supxlabel(x, fontsize="medium")
    figure.supylabel(y, fontsize="medium")
