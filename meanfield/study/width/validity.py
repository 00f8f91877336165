"""Warnings about the validity of the numbers of a width study."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.study.storage.study_record import LEAST_FOR_INTERVAL, StudyRecord
from meanfield.study.width.distances import TRANSPORTS
from meanfield.study.width.held_out import HeldOut
from meanfield.study.width.plan import WidthPlan
from meanfield.study.width.statistics import medians

SHARE = 0.05  # tolerated relative effect of the reference's own error on a distance
NEAR_FLOOR = 2.0
TO_THE_LIMIT = ("coupled_rms", "coupled_mean", "coupled_median", "function_distance")


def study_warnings(plan: WidthPlan, record: StudyRecord, inputs: HeldOut) -> Iterator[str]:
    """Warnings, the most severe first; `inputs` are those of the function distance."""
    yield from _left_out(record)
    yield from _narrow_reference(plan, record)
    yield from _no_samples(plan)
    yield from _floors(record)
    if plan.width.seeds == 1:
        yield "One seed: there is no interval, so random variation cannot be distinguished from the effect of the width."
    elif plan.width.seeds < LEAST_FOR_INTERVAL:
        yield (
            f"{plan.width.seeds} seeds are too few for intervals: beside the slopes is the range of single seeds, "
            f"which say little of chance; {LEAST_FOR_INTERVAL} or more have 95% intervals."
        )
    if len(plan.width.widths) == 1:
        yield "One width: there are no slopes."
    if not inputs.are_fresh:
        yield f"The function distance is on the training inputs: {inputs.note}."
    for name in ("w2", "sinkhorn"):
        yield from _not_converged(plan, record, name)


def finite_population(plan: WidthPlan) -> float:
    """The factor by which a distance at the largest width changes because the reference has M rather than infinitely many
    particles.

    A fluctuation of variance σ²/N about the limit appears as √(σ²/N − σ²/M) relative to a reference that contains the N
    particles, and as √(σ²/N + σ²/M) relative to an independent one.
    """
    ratio = plan.width.widths[-1] / plan.width.reference_width
    return float(np.sqrt(1 - ratio if plan.is_nested else 1 + ratio))


def too_narrow(plan: WidthPlan) -> str | None:
    """A warning about the reference's width before anything has run."""
    factor = finite_population(plan)
    if abs(factor - 1) <= SHARE:
        return None
    m, n = plan.width.reference_width, plan.width.widths[-1]
    slopes, sign = ("steep", -1) if plan.is_nested else ("shallow", 1)
    enough = math.ceil(n / abs((1 + sign * SHARE) ** 2 - 1))
    return (
        f"The reference is too narrow: at width {n} its {m} particles change distances by a factor {factor:.3f}, so that slopes "
        f"are too {slopes}; {enough} or more are needed."
    )


def _narrow_reference(plan: WidthPlan, record: StudyRecord) -> Iterator[str]:
    """Warnings by the width alone, or by the measured slopes.

    If distances decrease like N^β, the reference's own error is a fraction r = (M/N)^β of the distance at the largest N. Errors
    of one sample and of a part of it (or of another one) combine in squares, so the relative error of the distance is r²/2; at β
    = −1/2 that is `finite_population`.
    """
    known = too_narrow(plan)
    if known is not None:
        yield known
        return
    ratio = plan.width.reference_width / plan.width.widths[-1]
    for i, pair in enumerate(record.pairs):
        shares = {name: ratio ** record.slopes[name][i, -1, 0] for name in TO_THE_LIMIT}
        narrow = [f"{name} {share:.0%}" for name, share in shares.items() if share**2 / 2 > SHARE]
        if narrow:
            yield (
                f"The reference may be too narrow for {pair.label}: at the slopes found its own error is, as a part of the "
                f"distance at width {plan.width.widths[-1]}, of {', '.join(narrow)}. That these go to zero is not shown."
            )


def _left_out(record: StudyRecord) -> Iterator[str]:
    for status in ("missing", "failed", "diverged"):
        places = np.argwhere(record.statuses == status)
        if len(places):
            runs = ", ".join(f"{record.widths[w]} (seed {record.seeds[s]})" for w, s in places)
            yield f"Left out, {status}: the runs, or processes of them, at width {runs}."
    for i, pair in enumerate(record.pairs):
        if not np.isfinite(record.distances["function_distance"][i]).any():
            yield f"Nothing is known of {pair.label}: it was not completed at any width, or not in the reference."


def _no_samples(plan: WidthPlan) -> Iterator[str]:
    without = [str(n) for n in plan.width.widths if not plan.has_others(n)]
    if without:
        yield (
            f"No {', '.join(TRANSPORTS)} at width {', '.join(without)}: independent samples take as many other particles of the "
            "reference."
        )


def _floors(record: StudyRecord) -> Iterator[str]:
    """Warnings about floors, with pairs of equal values in one sentence."""
    found: dict[str, list[str]] = {}
    for name in TRANSPORTS:
        for i, pair in enumerate(record.pairs):
            widths = _near_floor(record, name, i)
            if widths:
                found.setdefault(f"{name} at width {', '.join(widths)}", []).append(pair.label)
    if found:
        many = len(record.pairs)
        where = [
            f"{what} ({'all pairs' if len(pairs) == many else '; '.join(pairs)})"
            for what, pairs in found.items()
        ]
        yield (
            f"At the end these are within {NEAR_FLOOR:g} times their sampling floor, and show the sampling more than the "
            f"distance of the laws: {', '.join(where)}."
        )


def _near_floor(record: StudyRecord, name: str, pair: int) -> list[str]:
    last: NDArray[Any] = medians(record.distances[name][pair, :, :, -1])
    near = last < NEAR_FLOOR * record.floors[name][pair, :, -1]
    return [str(n) for n in record.widths[near]]


def _not_converged(plan: WidthPlan, record: StudyRecord, name: str) -> Iterator[str]:
    limit = plan.width.exact_points if name == "w2" else plan.width.sinkhorn_points
    small = record.widths <= limit
    absent = ~np.isfinite(record.distances[name]) & np.isfinite(record.distances["sliced_w2"])
    if absent[:, small, :, -1].any():
        yield (
            f"{name} did not converge, or not above its error, in {int(absent[:, small, :, -1].sum())} cases at the end, which "
            "are left out."
        )
    if (~small).any():
        widths = ", ".join(map(str, record.widths[~small]))
        yield f"No {name} at width {widths}: it takes too long beyond {limit} particles."
