"""The layout of figures: matplotlib's constrained one, with what surrounds each panel measured once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import NullFormatter
from matplotlib.transforms import Bbox, BboxBase

Labelled = tuple[float, ...]  # the places of an axis that have a label
Margins = tuple[float, float, float, float]  # pixels at the left, below, at the right and above
#: Methods of an axis that find its ticks, and the boxes of their labels.
_OF_TICKS = ("_update_ticks", "_get_ticklabel_bboxes")


class Panel(Axes):
    """Axes that a `Layout` measures again only where its axes' labels have changed.

    A layout measures everything, places the axes, and does both again, as axes of another size may have other labels.
    Most have the same, and measuring is half the time a figure takes. At one place matplotlib also finds the ticks, and the boxes
    of their labels, several times, for the label of the axis, for what is around it, and to draw it: a fourth of a figure's time.
    """

    _measured: tuple[list[Labelled], Margins] | None = None
    _is_laid_out = False

    @property
    def is_laid_out(self) -> bool:
        """Whether it is between `begin_layout` and `end_layout`."""
        return self._is_laid_out

    def begin_layout(self) -> None:
        """Until `end_layout` only places change, and labels by them."""
        self._measured, self._is_laid_out = None, True
        for axis, method in product((self.xaxis, self.yaxis), _OF_TICKS):
            _keep(axis, method)

    def end_layout(self) -> None:
        """From now on everything is measured each time."""
        self._measured, self._is_laid_out = None, False
        for axis, method in product((self.xaxis, self.yaxis), _OF_TICKS):
            vars(axis).pop(method, None)

    def get_tightbbox(
        self,
        renderer: RendererBase | None = None,
        *,
        call_axes_locator: bool = True,
        bbox_extra_artists: Sequence[Artist] | None = None,
        for_layout_only: bool = False,
    ) -> Bbox | None:
        """The box around the axes and all that is outside of them, as of `matplotlib.axes.Axes`."""
        options: Any = {"call_axes_locator": call_axes_locator, "for_layout_only": for_layout_only}
        options["bbox_extra_artists"] = bbox_extra_artists
        if not (self._is_laid_out and for_layout_only and bbox_extra_artists is None):
            return super().get_tightbbox(renderer, **options)
        labelled = [_labelled(axis) for axis in (self.xaxis, self.yaxis)]
        if self._measured is not None and self._measured[0] == labelled:
            return _around(self.bbox, self._measured[1])
        box = super().get_tightbbox(renderer, **options)
        self._measured = None if box is None else (labelled, _margins(self.bbox, box))
        return box


class Layout(ConstrainedLayoutEngine):
    """The constrained layout of a figure whose axes are `Panel`."""

    def execute(self, fig: Figure) -> None:
        """Place the axes of a figure."""
        with only_places_change(fig):
            super().execute(fig)


@contextmanager
def only_places_change(figure: Figure) -> Iterator[None]:
    """Context in which a figure is laid out and drawn, and nothing else is done to its axes; it may be entered again inside."""
    panels = [ax for ax in figure.axes if isinstance(ax, Panel) and not ax.is_laid_out]
    for panel in panels:
        panel.begin_layout()
    try:
        yield
    finally:
        for panel in panels:
            panel.end_layout()


def _keep(axis: Axis, method: str) -> None:
    """Have a method of an axis called again only where the axis has another place or other limits, or for other arguments."""
    find = getattr(axis, method, None)
    if find is None:  # another version of matplotlib
        return
    last: Any = None
    panel: Any = axis.axes

    def found(*arguments: Any, **options: Any) -> Any:
        nonlocal last
        here = (panel.bbox.bounds, panel.figure.dpi, *axis.get_view_interval(), arguments, options)
        if last is None or last[0] != here:
            last = (here, find(*arguments, **options))
        return last[1]

    setattr(axis, method, found)


def _labelled(axis: Axis) -> Labelled:
    minor = isinstance(axis.get_minor_formatter(), NullFormatter)
    return (*axis.get_majorticklocs(), *(() if minor else axis.get_minorticklocs()))


def _margins(inner: BboxBase, outer: BboxBase) -> Margins:
    return inner.x0 - outer.x0, inner.y0 - outer.y0, outer.x1 - inner.x1, outer.y1 - inner.y1


def _around(inner: BboxBase, margins: Margins) -> Bbox:
    left, below, right, above = margins
    return Bbox.from_extents(inner.x0 - left, inner.y0 - below, inner.x1 + right, inner.y1 + above)
