"""Measures on the line by their quantile functions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64 = NDArray[np.float64]

#: Levels in [0, 1] that differ by no more are considered equal.
SAME_LEVEL = 4.0 * float(np.finfo(np.float64).eps)


class Pieces(NamedTuple):
    """Masses (k,) > 0, each spread evenly between left and right, in increasing order: Q is linear in every piece."""

    masses: Float64
    left: Float64
    right: Float64
    ends: Float64  #: 0, m_1, m_1 + m_2, …, exactly 1

    @classmethod
    def of(cls, masses: Float64, left: Float64, right: Float64) -> Pieces:
        """Pieces without those of zero mass."""
        occupied = masses > 0
        masses = masses[occupied]
        ends = np.minimum(np.concatenate([[0.0], cumulated(masses)]), 1.0)
        ends[-1] = 1.0
        return cls(masses, left[occupied], right[occupied], ends)


def quantile(measure: Pieces, levels: ArrayLike) -> Float64:
    """Q(p) = inf {x : mass of (−∞, x] ≥ p} at levels p in [0, 1]; Q(0) is where the mass begins.

    Raises
    ------
    ValueError
        For levels outside [0, 1].
    """
    i, share = _locate(measure, levels)
    result: Float64 = measure.left[i] + share * (measure.right - measure.left)[i]
    return result


def integral(measure: Pieces, levels: ArrayLike) -> Float64:
    """∫_0^p Q at levels p in [0, 1]."""
    i, share = _locate(measure, levels)
    masses, left, right, _ = measure
    whole = np.concatenate([[0.0], np.cumsum(masses * 0.5 * (left + right))])
    part = masses[i] * share * (left[i] + 0.5 * share * (right - left)[i])
    result: Float64 = whole[i] + part
    return result


def cumulated(masses: Float64) -> Float64:
    """Sums m_1, m_1 + m_2, … of masses of sum one, as integer multiples of 2⁻⁶², so that errors do not accumulate."""
    units = np.rint(np.ldexp(masses, 62)).astype(np.int64)
    return np.ldexp(np.cumsum(units).astype(np.float64), -62)


def aligned(ends: Float64, with_others: Float64) -> Float64:
    """Increasing levels, where those equal to one of `with_others` up to rounding are replaced by it.

    There is no mass between two such levels, but the quantiles of two measures may differ much there.
    """
    at = np.clip(np.searchsorted(with_others, ends), 1, len(with_others) - 1)
    below, above = with_others[at - 1], with_others[at]
    nearest = np.where(ends - below < above - ends, below, above)
    return np.where(np.abs(nearest - ends) <= SAME_LEVEL, nearest, ends)


def squared_distance(a: Pieces, b: Pieces) -> float:
    """W2² = ∫_0^1 (Q_a − Q_b)², in closed form between the levels where both are linear."""
    b = b._replace(ends=aligned(b.ends, a.ends))
    levels = np.union1d(a.ends, b.ends)
    left, right = _at_both_ends(a, levels) - _at_both_ends(b, levels)
    return float(np.diff(levels) @ (left**2 + left * right + right**2)) / 3


def _locate(measure: Pieces, levels: ArrayLike) -> tuple[NDArray[np.intp], Float64]:
    """The piece that contains a level, the lower of two, and the fraction of its mass below the level."""
    p = np.asarray(levels, dtype=np.float64)
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError(f"levels must be from 0 to 1, got values from {p.min()} to {p.max()}")
    i = np.searchsorted(measure.ends[1:-1], p, side="left")
    return i, np.clip((p - measure.ends[i]) / measure.masses[i], 0.0, 1.0)


def _at_both_ends(measure: Pieces, levels: Float64) -> Float64:
    """Q just after every level except the last, and just before every level except the first: (2, k)."""
    _, left, right, ends = measure
    i = np.searchsorted(ends[1:-1], levels[:-1], side="right")
    shares = (np.stack([levels[:-1], levels[1:]]) - ends[i]) / (ends[i + 1] - ends[i])
    result: Float64 = left[i] + shares * (right - left)[i]
    return result
