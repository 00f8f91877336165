"""Nearest points with additive weights, min_i |x_i − y|² + w_i, by a balanced tree of boxes; shortest paths over given edges.

Within a node w_i ≥ α + β·(x_i − c), c being the center of its box: with β near the gradient of w the bound of the node,
min_x |x − y|² + α + β·(x − c) over the box, errs by the square of its size only.
"""

import numpy as np

from .jit import kernel

# Relative rounding of a bound.
_ROUNDING = 4e-15


@kernel
def build(x, w, gradient, order, starts, ends, low, high, beta, alpha):
    """Fill a tree of boxes of points x (n, D) with weights w (n,), near whose points w has about the gradient (n, D).

    The arrays of nodes are as long as there are: node k is divided at the median of its longest side into 2k + 1 and 2k + 2.
    """
    nodes, dimension = low.shape
    starts[0], ends[0] = 0, len(x)
    for k in range(nodes):
        start, end = starts[k], ends[k]
        alpha[k] = np.inf
        for a in range(dimension):
            low[k, a], high[k, a], beta[k, a] = np.inf, -np.inf, 0.0
        for s in range(start, end):
            for a in range(dimension):
                value = x[order[s], a]
                low[k, a], high[k, a] = min(low[k, a], value), max(high[k, a], value)
                beta[k, a] += gradient[order[s], a] / (end - start)
        for s in range(start, end):
            rest = w[order[s]]
            for a in range(dimension):
                rest -= beta[k, a] * (x[order[s], a] - 0.5 * (low[k, a] + high[k, a]))
            alpha[k] = min(alpha[k], rest)
        if 2 * k + 2 < nodes:
            axis = 0
            for a in range(1, dimension):
                if high[k, a] - low[k, a] > high[k, axis] - low[k, axis]:
                    axis = a
            part, along = np.empty(end - start, order.dtype), np.empty(end - start)
            for s in range(end - start):
                part[s] = order[start + s]
                along[s] = x[part[s], axis]
            sorting = np.argsort(along)
            for s in range(end - start):
                order[start + s] = part[sorting[s]]
            middle = (start + end) // 2
            starts[2 * k + 1], ends[2 * k + 1] = start, middle
            starts[2 * k + 2], ends[2 * k + 2] = middle, end


@kernel
def _bound(y, low, high, beta, alpha):
    """A lower bound of |x_i − y|² + w_i in a node."""
    total, size = alpha, abs(alpha)
    for a in range(len(y)):
        nearest = min(max(y[a] - 0.5 * beta[a], low[a]), high[a])
        square = (nearest - y[a]) ** 2
        linear = beta[a] * (nearest - 0.5 * (low[a] + high[a]))
        total += square + linear
        size += square + abs(linear)
    return total - _ROUNDING * size


@kernel
def nearest(x, w, y, order, starts, ends, low, high, beta, alpha, source, least):
    """The minimum over i, `least` (n,), and an i that attains it, `source`, for each y_j (n, D); where no other is less, i = j.

    Returns the number of pairs that were looked at.
    """
    nodes, dimension = low.shape
    stack, bounds = np.empty(128, np.int64), np.empty(128)
    looked = 0
    for j in range(len(y)):
        point = y[j]
        best, found = w[j], j
        for a in range(dimension):
            best += (x[j, a] - point[a]) ** 2
        stack[0], bounds[0], height = 0, -np.inf, 1
        while height > 0:
            height -= 1
            k = stack[height]
            if bounds[height] >= best:
                continue
            if 2 * k + 2 < nodes:
                near, far = 2 * k + 1, 2 * k + 2
                of_near = _bound(point, low[near], high[near], beta[near], alpha[near])
                of_far = _bound(point, low[far], high[far], beta[far], alpha[far])
                if of_far < of_near:
                    near, far, of_near, of_far = far, near, of_far, of_near
                stack[height], bounds[height] = far, of_far
                stack[height + 1], bounds[height + 1] = near, of_near
                height += 2
                continue
            for s in range(starts[k], ends[k]):
                i = order[s]
                value = w[i]
                for a in range(dimension):
                    value += (x[i, a] - point[a]) ** 2
                if value < best:
                    best, found = value, i
            looked += ends[k] - starts[k]
        source[j], least[j] = found, best
    return looked


@kernel
def shorten(v, sources, lengths, order):
    """v_j ← min(v_j, min_k v_source + length) for sources (n, k), one j after the other in this order, and back.

    Returns the largest change.
    """
    change = 0.0
    for half in range(2):
        for at in range(len(order)):
            j = order[at] if half == 0 else order[len(order) - 1 - at]
            least = v[j]
            for k in range(sources.shape[1]):
                least = min(least, v[sources[j, k]] + lengths[j, k])
            change = max(change, v[j] - least)
            v[j] = least
    return change
