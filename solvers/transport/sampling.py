"""The distance of the laws that two clouds of points are samples of, with its statistical error."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from solvers.measures.line import Float64

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
    indices, so that particles of a coupled pair, which have the same indices in both, are independent samples too. The interval
    is Student's, of the estimates of disjoint groups; the estimate that of all points.

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

    def estimate(i: Indices, j: Indices, group: int) -> float:
        k = min(len(i), len(j)) // 2
        (x1, x2), (y1, y2) = (x[i[:k]], x[i[k : 2 * k]]), (y[j[:k]], y[j[k : 2 * k]])
        across = w2(x1, y2, group) ** 2 + w2(x2, y1, group) ** 2
        return 0.5 * (across - w2(x1, x2, group) ** 2 - w2(y1, y2, group) ** 2)

    groups = min(GROUPS, len(x) // LEAST, len(y) // LEAST)
    parts = [np.array_split(order, groups) for order in (of_x, of_y)]
    found = np.array(
        [
            estimate(i[: 2 * MOST], j[: 2 * MOST], group)
            for group, (i, j) in enumerate(zip(*parts, strict=True))
        ]
    )
    few = max(len(x), len(y)) <= 2 * MOST
    middle = estimate(of_x, of_y, groups) if few else float(found.mean())
    quantile = float(stdtrit(groups - 1, 0.5 + 0.5 * COVERAGE))  # of Student's t
    spread = quantile * float(found.std(ddof=1)) / np.sqrt(groups)
    ends = np.sqrt(np.maximum([middle, middle - spread, middle + spread], 0.0))
    return Estimate(*ends.tolist())
