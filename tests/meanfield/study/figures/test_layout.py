"""The layout that measures panels once: that of matplotlib, which measures them twice."""

import io
from functools import partialmethod

import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.image import imread
from matplotlib.ticker import FuncFormatter, LinearLocator, NullFormatter

from meanfield.study import figures
from meanfield.study.figures.layout import Panel
from meanfield.study.figures.style import Drawn, new_figure, styled

PIXEL = 1.0


def boxes(figure):
    """Those of all axes, in pixels, once the layout has placed them."""
    with styled():
        figure.get_layout_engine().execute(figure)
    return np.array([ax.get_window_extent().extents for ax in figure.axes])


def boxes_by_matplotlib(figure):
    """The same by matplotlib's own layout."""
    figure.set_layout_engine("constrained")
    return boxes(figure)


@pytest.fixture
def measured(monkeypatch):
    """The axes measured, in turn."""
    found, measure = [], Axes.get_tightbbox

    def counted(self, *args, **options):
        found.append(self)
        return measure(self, *args, **options)

    monkeypatch.setattr(Axes, "get_tightbbox", counted)
    return found


@pytest.mark.slow
@pytest.mark.essential
def test_the_figures_of_a_run_are_laid_out_as_matplotlib_does(record, measured):
    """All figures, of one to six panels, with legends, titles, formulas and logarithmic axes."""
    panels, ours, theirs = 0, 0, 0
    for one, other in zip(figures.all_figures(record), figures.all_figures(record), strict=True):
        assert all(type(ax) is Panel for ax in one.figure.axes), one.name
        panels += len(one.figure.axes)
        measured.clear()
        placed = boxes(one.figure)
        ours += len(measured)
        measured.clear()
        expected = boxes_by_matplotlib(other.figure)
        theirs += len(measured)
        np.testing.assert_allclose(placed, expected, atol=PIXEL, err_msg=one.name)
    assert theirs == 2 * panels and ours < 1.3 * panels


class ByHeight(LinearLocator):
    """Places that depend on the height of the axes."""

    def tick_values(self, vmin, vmax):
        return [0.5, 0.5 + 1e-4 * self.axis.axes.get_window_extent().height]

    __call__ = partialmethod(tick_values, 0.0, 1.0)


def with_labels_by_height(minor):
    """Labels that are the wider the higher the axes are, which the layout decides."""
    figure = new_figure(2.0)
    ax = figure.subplots()
    ax.plot([0, 1])
    letters = FuncFormatter(lambda y, _: "0" * int(ax.get_window_extent().height / 12))
    if minor:
        ax.yaxis.set_major_formatter(NullFormatter())
        ax.yaxis.set_minor_locator(ByHeight())
        ax.yaxis.set_minor_formatter(letters)
    else:
        ax.yaxis.set_major_locator(ByHeight())
        ax.yaxis.set_major_formatter(letters)
    return figure


@pytest.mark.parametrize("minor", [False, True])
def test_axes_whose_labels_change_are_measured_again(measured, minor):
    placed = boxes(with_labels_by_height(minor))
    assert len(measured) == 2
    expected = boxes_by_matplotlib(with_labels_by_height(minor))
    np.testing.assert_allclose(placed, expected, atol=1e-6)


def test_outside_of_a_layout_axes_are_measured_each_time(measured):
    figure = new_figure()
    ax = figure.subplots()
    boxes(figure)
    before = ax.get_tightbbox(for_layout_only=True)
    ax.set_ylabel("higher\nthan\nbefore")
    assert ax.get_tightbbox(for_layout_only=True).x0 < before.x0 - 10


def written(figure, path, panels_as_matplotlib=False):
    """The pixels of a figure's file."""
    if panels_as_matplotlib:
        for ax in figure.axes:
            ax.begin_layout = ax.end_layout = lambda: None
    return figures.save_drawn([Drawn("figure", "", "", figure)], path, ["png"])[0].read_bytes()


def with_two_scales():
    """Panels with shared linear and own logarithmic axes, minor ticks among them."""
    figure = new_figure(3.0)
    above, below = figure.subplots(2, 1, sharex=True)
    above.semilogy([1, 2, 5], [1e-3, 1.0, 40.0])
    below.plot([1, 2, 5], [3, 1, 2])
    below.minorticks_on()
    below.label_outer()
    return figure


@pytest.fixture(params=["_update_ticks", "_get_ticklabel_bboxes"])
def found(request, monkeypatch):
    """The axes whose ticks were found, in turn, or the boxes of their labels."""
    listed, find = [], getattr(Axis, request.param)

    def counted(self, *arguments):
        listed.append(self)
        return find(self, *arguments)

    monkeypatch.setattr(Axis, request.param, counted)
    return listed


def test_ticks_found_once_at_a_place_are_those_of_matplotlib(found, tmp_path):
    expected = written(with_two_scales(), tmp_path / "theirs", panels_as_matplotlib=True)
    theirs = len(found)
    found.clear()
    assert written(with_two_scales(), tmp_path / "ours") == expected
    assert len(found) < 0.7 * theirs


def test_a_file_has_the_pixels_of_matplotlib_without_their_opacity(tmp_path):
    ours = imread(io.BytesIO(written(with_two_scales(), tmp_path)))
    buffer, figure = io.BytesIO(), with_two_scales()
    with styled():
        figure.dpi = rcParams["savefig.dpi"]
        figure.get_layout_engine().execute(figure)
        figure.set_layout_engine(None)
        figure.savefig(buffer, format="png")
    buffer.seek(0)
    theirs = imread(buffer)
    assert ours.shape[2] == 3 and np.all(theirs[..., 3] == 1)
    np.testing.assert_array_equal(ours, theirs[..., :3])


def test_between_two_files_a_figure_may_change(tmp_path):
    figure, other = with_two_scales(), with_two_scales()
    written(figure, tmp_path / "first")
    for one in (figure, other):
        one.axes[1].set_yticks([1.5, 2.5], ["low", "high"])
    assert written(figure, tmp_path / "again") == written(other, tmp_path / "other")
