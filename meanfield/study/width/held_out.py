"""Held-out inputs from the source of the training inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield import tasks
from meanfield.data_files import cifar10 as _cifar10
from meanfield.study.storage.study_record import NO_OTHERS
from meanfield.study.width.plan import WidthPlan


class HeldOut(NamedTuple):
    """inputs (k, d), scaled as the training inputs; `note` describes them, `are_fresh` tells whether they were not trained on."""

    inputs: NDArray[np.float64]
    note: str
    are_fresh: bool


def held_out(plan: WidthPlan, task: tasks.Task) -> HeldOut:
    """At most ``plan.width.held_out`` inputs other than those of the study's task.

    Digits: the remaining images (labels do not matter here, nor does noise on them). CIFAR-10: images of the same classes from
    the other part, test or training. Teacher and student: further draws from N(0, I/d). Arrays of a file: no others, so the
    training inputs.
    """
    name, arguments = plan.config.task.name, plan.config.task.arguments
    limit = plan.width.held_out
    if name in ("digits", "noisy_digits"):
        return _digits(arguments["n"], arguments["seed"], task, limit)
    if name == "cifar10":
        return _cifar(arguments, limit)
    if name == "teacher_student":
        inputs = plan.rng("held_out").standard_normal((limit, task.input_dim))
        return HeldOut(inputs / np.sqrt(task.input_dim), f"{limit} fresh inputs", True)
    return _training(task, limit)


def _training(task: tasks.Task, limit: int) -> HeldOut:
    inputs = task.inputs[:limit]
    return HeldOut(inputs, f"{len(inputs)} training inputs, {NO_OTHERS}", False)


def _digits(n: int, seed: int, task: tasks.Task, limit: int) -> HeldOut:
    everything = tasks.digits(tasks.DIGITS, seed=seed).inputs  # in the same order
    if n == tasks.DIGITS:
        return _training(task, limit)
    factor = np.linalg.norm(task.inputs) / np.linalg.norm(everything[:n])
    inputs = factor * everything[n : n + limit]
    return HeldOut(inputs, f"{len(inputs)} of the other {tasks.DIGITS - n} digits", True)


def _cifar(about: Mapping[str, Any], limit: int) -> HeldOut:
    path, seed, train = about["path"], about["seed"], about["train"]
    indices = _cifar10.class_indices(about["classes"])
    trained, _ = _cifar10.sample(path, about["n"], indices, seed, train=train)
    _, labels = _cifar10.load(path, not train)
    count = min(limit, int(np.isin(labels, indices).sum()))
    images, _ = _cifar10.sample(path, count, indices, seed, train=not train)
    inputs = _cifar10.standardize(images, about["mean_square"], like=trained)
    return HeldOut(inputs, f"{count} images of the {'test' if train else 'training'} part", True)
