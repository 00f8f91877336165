"""The cost of a width study: disk space, and memory and time of the distances."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from meanfield.study.engine.memory import require_memory
from meanfield.study.engine.prepared_run import run_layout
from meanfield.study.storage.schema import OutputError
from meanfield.study.width.distances import Inputs, times_of
from meanfield.study.width.plan import Run, WidthPlan
from solvers import transport
from solvers.transport.cost import Cost

NOTICEABLE = 30.0  # seconds


def require_room(
    plan: WidthPlan, folder: Path, missing: list[Run], memory_limit: int | None = None
) -> None:
    """Raise `MemoryLimitError` or `OutputError` if these runs need more memory or disk space than available."""
    if not missing:
        return
    layout = run_layout(plan.study_of(Run(plan.width.widths[0], 0)))
    widest = max(missing, key=lambda run: run.width)
    require_memory(plan.study_of(widest), len(layout.parameter_names), memory_limit)
    needed = sum(replace(layout, particles=run.width).estimated_bytes() for run in missing)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"{folder} must have about {needed / 1e6:.0f} MB free for the runs, got {free / 1e6:.0f} MB; "
            "a larger output.snapshot_every or output.snapshot_dtype = 'float32' needs less"
        )


def announcement(plan: WidthPlan, workers: int) -> str | None:
    """A message about the memory and time of the transport distances; None if they are quick."""
    cost = transport_cost(plan)
    if cost.seconds < NOTICEABLE * workers:
        return None
    both = Cost(cost.bytes * workers, cost.seconds / workers)
    return f"the distances of the measures need up to {both}, {workers} at a time"


def transport_cost(plan: WidthPlan) -> Cost:
    """The largest memory of any of them, and their total time."""
    dimension, options, times = Inputs(plan).problem.start.shape[1], plan.width, len(times_of(plan))
    most, seconds = 0, 0.0
    limits = {"exact": options.exact_points, "sinkhorn": options.sinkhorn_points}
    for n in options.widths:
        count = len(plan.pairs) * options.seeds + len(plan.config.processes) * options.floor_draws
        if not plan.has_others(n):
            continue
        one = transport.estimate(n, n, dimension, "sliced", projections=options.projections)
        most, seconds = max(most, one.bytes), seconds + count * times * one.seconds
        for method, limit in limits.items():
            if n <= limit:
                one = transport.estimate(n, n, dimension, method)
                often = times if n <= options.frequent_points else 1
                most, seconds = max(most, one.bytes), seconds + count * often * one.seconds
    return Cost(most, seconds)
