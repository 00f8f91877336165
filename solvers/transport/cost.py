"""Estimates of memory and time of transport distances."""

from __future__ import annotations

from typing import NamedTuple

from solvers.transport import exact as exact_transport
from solvers.transport import sinkhorn, sliced

FLOAT = 8  # bytes


class Cost(NamedTuple):
    """An upper bound of the working memory in bytes, and the time in seconds on one core of about 3 GHz, to within a factor of
    four.

    For entropic transport the time may be ten times less, in many dimensions, where few iterations suffice.
    """

    bytes: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.bytes / 1e9:.3g} GB and {_duration(self.seconds)}"


def exact(n: int, m: int, dimension: int, lazy: bool) -> Cost:
    """The network simplex: costs, plan and arcs of all pairs; with lazy=True each cost is computed whenever it is used."""
    points, pairs = n + m, n * m
    seconds = 6.0 * (pairs / 4000**2) ** 1.3
    if lazy:
        block = 3 * FLOAT * max(exact_transport.BLOCK, m)
        return Cost(
            points * (3 * FLOAT * dimension + 1000) + block, seconds * (1.5 + dimension / 4)
        )
    return Cost(42 * pairs + points * 3 * FLOAT * dimension, seconds)


def sliced_transport(n: int, m: int, dimension: int, projections: int) -> Cost:
    """A block of projections at a time, and the directions."""
    points = n + m
    rows = projections + min(dimension, projections // sliced.GROUPS)  # the last group is complete
    held = max(points, min(sliced.BLOCK, rows * points))
    values = 4 * held + 20 * points + 3 * points * dimension + 4 * rows * dimension
    return Cost(
        FLOAT * values + 2**20,
        projections * points * (3e-8 + 3e-10 * dimension),
    )


def entropic(n: int, m: int, dimension: int, iterations: int) -> Cost:
    """A block of pairs at a time; the time is that of the iterations, each of which sums over all pairs twice.

    A measure with itself needs one sum per iteration, and about a third as many iterations.
    """
    points = n + m
    block = max(sinkhorn.BLOCK, n, m)
    pair_sums = iterations * (2 * n * m + (n * n + m * m) / 3)
    return Cost(
        FLOAT * (3 * block + 4 * points * (dimension + 5)) + 2**20,
        pair_sums * (1e-8 + 1e-10 * dimension),
    )


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 1.0):.0f} s"
