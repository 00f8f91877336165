"""Labels of logarithmic axes, and parameters in mathematics."""

from itertools import pairwise, product

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from meanfield.study.figures.notation import parameter
from meanfield.study.figures.style import at_width
from meanfield.study.figures.ticks import log_y
from tests.helpers.matrices import slow_unless


def labels(low, high, height=2.0):
    figure = Figure(figsize=(3, height), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    log_y(ax)
    ax.set_ylim(low, high)
    figure.canvas.draw()
    return [t.get_text() for t in ax.get_yticklabels()], ax


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.01, 1, ["0.01", "0.1", "1"]),
        (0.03, 0.3, ["0.05", "0.1", "0.2"]),
        (1.3, 2.1, ["1.5", "2"]),
        (1e-6, 1e-3, ["10⁻⁶", "10⁻⁵", "10⁻⁴", "10⁻³"]),
        (1e9, 1e12, ["10⁹", "10¹⁰", "10¹¹", "10¹²"]),
        (2e-7, 9e-7, ["2×10⁻⁷", "4×10⁻⁷", "6×10⁻⁷", "8×10⁻⁷"]),
    ],
)  # fmt: skip
def test_labels_are_few_and_plain(low, high, expected):
    assert labels(low, high)[0] == expected


def test_powers_are_formulas_in_print():
    with at_width(3.4):
        assert labels(1e-6, 1e-3)[0] == ["$10^{-6}$", "$10^{-5}$", "$10^{-4}$", "$10^{-3}$"]
        assert labels(2e-7, 5e-7)[0][0] == r"$2\times10^{-7}$"


@pytest.mark.parametrize(
    ("height", "decades"),
    slow_unless(
        lambda height, decades: height == 2.0 or (height, decades) == (0.8, 60),
        product([0.8, 2.0, 5.0], [0.05, 0.3, 0.9, 1.5, 2.5, 4, 11, 60, 300]),
    ),
)
def test_there_are_labels_within_the_axis_that_do_not_overlap(decades, height):
    _, ax = labels(0.7e-8, 0.7e-8 * 10.0**decades, height)
    low, high = ax.get_ylim()
    ticks = ax.get_yticks()
    assert 2 <= len(ticks) <= 7 and np.all((ticks >= low) & (ticks <= high))
    renderer = ax.figure.canvas.get_renderer()
    boxes = [label.get_window_extent(renderer) for label in ax.get_yticklabels()]
    assert all(a.y1 <= b.y0 for a, b in pairwise(boxes))
    assert not [t.get_text() for t in ax.get_yticklabels(minor=True) if t.get_text()]


@pytest.mark.parametrize(
    ("name", "printed", "shown"),
    [
        ("x", "$x$", "x"),
        ("w12", "$w_{12}$", "w₁₂"),
        ("a_3", "$a_{3}$", "a₃"),
        ("W2[0,1]", "$(W_{2})_{0,1}$", "W₂[0,1]"),
        ("M[1, 2]", "$M_{1,2}$", "M[1,2]"),
        ("theta", r"$\theta$", "θ"),
        ("omega2", r"$\omega_{2}$", "ω₂"),
        *((name, name, name) for name in ("bias", "layer.weight[3]", "")),
        ("$x", r"\$x", r"\$x"),
    ],
)
def test_parameters_are_written_in_mathematics(name, printed, shown):
    assert parameter(name) == shown
    with at_width(3.4):
        assert parameter(name) == printed
    figure = Figure()
    figure.text(0, 0, printed)
    figure.canvas.draw()  # matplotlib can typeset it
