"""Inputs that a network was not trained on, from where the training inputs came."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meanfield import tasks
from meanfield.data_files import cifar10 as _cifar10
from meanfield.study.config.sections import Cifar10Task
from meanfield.study.storage.study_record import NO_OTHERS
from meanfield.study.width.plan import WidthPlan

DIGITS = 1797


class HeldOut(NamedTuple):
    """inputs (k, d), scaled as those of the training; `note` says what they are, `are_fresh` whether they were not trained on."""

    inputs: NDArray[np.float64]
    note: str
    are_fresh: bool


def held_out(plan: WidthPlan, task: tasks.Task) -> HeldOut:
    """At most ``plan.width.held_out`` inputs beside those of the study's task.

    Digits: the rest of them (labels do not matter here, nor does noise on them). CIFAR-10: images of the same classes from the
    other part, test or training. Teacher and student: further draws from N(0, I/d). Arrays of a file: there are no others, so
    the training inputs.
    """
    section, limit = plan.config.task, plan.width.held_out
    if section.name in ("digits", "noisy_digits"):
        return _digits(section.n, section.seed, task, limit)
    if section.name == "cifar10":
        return _cifar(section, limit)
    if section.name == "teacher_student":
        inputs = plan.rng("held_out").standard_normal((limit, task.input_dim))
        return HeldOut(inputs / np.sqrt(task.input_dim), f"{limit} fresh inputs", True)
    return _training(task, limit)


def _training(task: tasks.Task, limit: int) -> HeldOut:
    inputs = task.inputs[:limit]
    return HeldOut(inputs, f"{len(inputs)} training inputs, {NO_OTHERS}", False)


def _digits(n: int, seed: int, task: tasks.Task, limit: int) -> HeldOut:
    everything = tasks.digits(DIGITS, seed=seed).inputs  # in the same order
    if n == DIGITS:
        return _training(task, limit)
    factor = np.linalg.norm(task.inputs) / np.linalg.norm(everything[:n])
    inputs = factor * everything[n : n + limit]
    return HeldOut(inputs, f"{len(inputs)} of the other {DIGITS - n} digits", True)


def _cifar(section: Cifar10Task, limit: int) -> HeldOut:
    indices = _cifar10.class_indices(section.classes)
    chosen = section.path, section.n, indices, section.seed
    trained, _ = _cifar10.sample(*chosen, train=section.train)
    _, labels = _cifar10.load(section.path, not section.train)
    count = min(limit, int(np.isin(labels, indices).sum()))
    images, _ = _cifar10.sample(section.path, count, indices, section.seed, train=not section.train)
    inputs = _cifar10.standardize(images, section.mean_square, like=trained)
    part = "test" if section.train else "training"
    return HeldOut(inputs, f"{count} images of the {part} part", True)
