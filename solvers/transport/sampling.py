"""The distance of the laws that two clouds of points are samples of, with its statistical error."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.measures.quantile_functions import Float64

#: Groups of points, whose estimates are independent, and the least number of points of a group.
GROUPS, LEAST = 10, 4
#: Most points of a half: of a group, and of the whole.
MOST = 1000
#: Probability that the interval contains the distance.
COVERAGE = 0.95

Indices = NDArray[np.intp]


class Estimate(NamedTuple):
    """The distance of two laws, and the ends of its interval of probability `COVERAGE`."""

    distance: float
    low: float
    high: float


def distance_of_laws(
    x: Float64, y: Float64, seed: int, w2: Callable[[Float64, Float64, int], float]
) -> Estimate:
    """W2 of the laws of samples x (n, D) and y (m, D), at least 2 · LEAST of each.

    Of two halves of each sample (x₁, x₂), (y₁, y₂), of one size,

        T = ½ [W2²(x₁, y₂) + W2²(x₂, y₁) − W2²(x₁, x₂) − W2²(y₁, y₂)]

    is the squared distance without that of two samples of one law, the sampling floor. No half is compared with one of the same
    indices, so that particles of a coupled pair, which have the same indices in both, are independent samples too. The estimate
    is that of all points. The interval is Student's, of the estimates of disjoint groups, and on

        D = (W2(x₁, x₂) − W2(y₁, y₂))²

    further: on the line T has no bias, but in many dimensions, where floors are long, samples of laws of different widths are
    nearer to each other than that, as if the product of their floors were to be subtracted in place of the mean of the squares.
    It ends at the distance between points of equal index, if there are equally many: that is the cost of a coupling.

    Parameters
    ----------
    seed : int
        Of the partition.
    w2 : function
        Points (k, D), (k, D), number of the group -> W2.
    """
    rng = np.random.default_rng(seed)
    of_x = rng.permutation(len(x))
    of_y = of_x if len(y) == len(x) else rng.permutation(len(y))

    def estimate(i: Indices, j: Indices, group: int) -> tuple[float, float]:
        k = min(len(i), len(j)) // 2
        (x1, x2), (y1, y2) = (x[i[:k]], x[i[k : 2 * k]]), (y[j[:k]], y[j[k : 2 * k]])
        across = w2(x1, y2, group) ** 2 + w2(x2, y1, group) ** 2
        of_x, of_y = w2(x1, x2, group), w2(y1, y2, group)
        return 0.5 * (across - of_x**2 - of_y**2), (of_x - of_y) ** 2

    groups = min(GROUPS, len(x) // LEAST, len(y) // LEAST)
    parts = [np.array_split(order, groups) for order in (of_x, of_y)]
    found = np.array(
        [
            estimate(i[: 2 * MOST], j[: 2 * MOST], group)
            for group, (i, j) in enumerate(zip(*parts, strict=True))
        ]
    )
    few = max(len(x), len(y)) <= 2 * MOST
    middle, bias = estimate(of_x, of_y, groups) if few else found.mean(axis=0)
    spread = _half_width(found[:, 0])
    high = middle + spread + bias
    if len(x) == len(y):
        costs = np.sum((x - y) ** 2, axis=1)
        high = max(min(high, float(costs.mean()) + _half_width(costs)), middle)
    ends = np.sqrt(np.maximum([middle, middle - spread, high], 0.0))
    return Estimate(*ends.tolist())


def _half_width(values: Float64) -> float:
    """Of Student's interval of a mean."""
    from scipy.special import stdtrit  # on first use, as it takes long

    n = len(values)
    quantile = float(stdtrit(n - 1, 0.5 + 0.5 * COVERAGE))
    return quantile * float(values.std(ddof=1)) / np.sqrt(n)
