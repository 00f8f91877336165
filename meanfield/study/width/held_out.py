"""Held-out inputs from the source of the training inputs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield.study.storage.study_record import NO_OTHERS
from meanfield.study.width.plan import WidthPlan
from meanfield.task_sources import Source
from meanfield.tasks import TASKS, Task


class HeldOut(NamedTuple):
    """inputs (k, d), scaled as the training inputs; `note` describes them, `are_fresh` tells whether they were not trained on."""

    inputs: NDArray[np.float64]
    note: str
    are_fresh: bool


def held_out(plan: WidthPlan, task: Task) -> HeldOut:
    """At most ``plan.width.held_out`` inputs other than those of the study's task, as its function declares them.

    Training inputs where it declares none, as for arrays of a file, or where there are no others.
    """
    about, limit = plan.config.task, plan.width.held_out
    source = Source.of(TASKS[about.name])
    found = source.others(task, limit, plan.rng("held_out"), about.arguments)
    if found is not None:
        return HeldOut(*found, True)
    inputs = task.inputs[:limit]
    return HeldOut(inputs, f"{len(inputs)} training inputs, {NO_OTHERS}", False)
