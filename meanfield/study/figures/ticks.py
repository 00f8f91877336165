"""Logarithmic axes with few, plain labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import Formatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from meanfield.study.figures.style import is_for_print

FEW, MOST = 3, 6  # labels of an axis
ROUND = (1.0, 2.0, 5.0)  # multiples of powers of ten, where there are too few of the latter
NEEDED = 0.9  # of a label, in matplotlib's own estimate of how many there is space for
PLAIN = (1e-3, 1e5)  # numbers in between are written out
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class FewLogTicks(LogLocator):
    """Powers of ten, thinned out; over less than two decades also 2 and 5 times them, over still less equidistant numbers."""

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        low, high = sorted((max(vmin, 1e-300), max(vmax, 1e-300)))
        exponents = np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        powers = _between(10.0**exponents, low, high)
        space = MOST if self.axis is None else max(2, self.axis.get_tick_space())
        room = min(MOST, space)
        if len(powers) >= FEW:
            return list(powers[:: math.ceil(len(powers) / room)])
        several = _between(np.outer(10.0**exponents, ROUND).ravel(), low, high)
        if len(several) < FEW:
            few = MaxNLocator(min(room, FEW), steps=[1, 2, 5, 10]).tick_values(low, high)
            several = _between(np.asarray(few), low, high)
        return _apart(several, NEEDED / space * math.log10(high / low))


class PlainNumbers(Formatter):
    """0.05, 20, and powers of ten where the axis has numbers with many digits."""

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """All labels of an axis, in one form."""
        if all(PLAIN[0] <= value < PLAIN[1] for value in values):
            return [f"{value:.6g}" for value in values]
        return [self(value) for value in values]

    def __call__(self, x: float, pos: int | None = None) -> str:
        """A number as a power of ten: a formula in print; otherwise raised digits, which remain text and are laid out faster."""
        exponent = math.floor(math.log10(x) + 1e-9)
        digits = f"{x / 10.0**exponent:.3g}"
        if not is_for_print():
            power = f"10{str(exponent).translate(RAISED)}"
            return power if digits == "1" else f"{digits}×{power}"
        return rf"$10^{{{exponent}}}$" if digits == "1" else rf"${digits}\times10^{{{exponent}}}$"


def log_y(ax: Axes) -> None:
    """A logarithmic axis of y."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(FewLogTicks())
    ax.yaxis.set_major_formatter(PlainNumbers())
    ax.yaxis.set_minor_formatter(NullFormatter())


def _between(values: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    slack = 1e-9
    return values[(values >= low * (1 - slack)) & (values <= high * (1 + slack))]


def _apart(values: NDArray[Any], decades: float) -> list[float]:
    """The values that are at least so far from the one before."""
    kept: list[float] = []
    for value in map(float, values):
        if not kept or math.log10(value / kept[-1]) >= decades:
            kept.append(value)
    return kept
