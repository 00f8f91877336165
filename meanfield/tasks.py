"""Tasks: inputs and targets of a regression or classification problem, and their sources."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from meanfield.activations import Activation
from meanfield.data_files import cifar10 as _cifar10
from meanfield.data_files import digits as _digits
from meanfield.data_files.npz import read_arrays
from meanfield.samples import Task as Task
from meanfield.task_sources import (
    declares,
    fresh_normal_inputs,
    other_digits,
    other_part_of_cifar10,
    teacher_student_bytes,
)
from solvers._support.annotations import Ge, Interval, checked
from solvers._support.arguments import instance, refusal
from solvers._support.memory import fitting
from solvers._support.registry import Registry

__all__ = [
    "TASKS",
    "Task",
    "cifar10",
    "declares",
    "digits",
    "from_npz",
    "label_noise",
    "noisy_digits",
    "register",
    "teacher_student",
]

# Types of parameters: a function's own checks and the keys of a configuration's table are derived from them.
Target = Literal["parity", "classes"]
Count = Annotated[int, Ge(1)]
Digits = Annotated[int, Interval(ge=1, le=_digits.COUNT)]
Seed = Annotated[int, Ge(0)]
Fraction = Annotated[float, Interval(ge=0, le=1)]
# beyond, sums of squares overflow or underflow
MeanSquare = Annotated[float, Interval(ge=1e-300, le=1e300)]

DIGITS_MEAN_SQUARE = 1 / 16  # |x|² is then 4 on average for the 64 pixels
CIFAR10_MEAN_SQUARE = 1 / 768  # |x|² is 4 on average too, for 3·32·32 numbers


@declares(held_out=other_digits)
@checked
def digits(
    n: Digits = 300,
    target: Target = "parity",
    mean_square: MeanSquare = DIGITS_MEAN_SQUARE,
    seed: Seed = 0,
) -> Task:
    """Handwritten digits: n of 1,797 images of 8x8 pixels, in random order.

    The inputs are the pixels times one factor, such that the mean of ``x²`` over all n·64 entries
    is ``mean_square``; they are not centered.

    Parameters
    ----------
    n : int
        Number of images, 1 to 1797: the first n of a random order of all, as the original file
        is ordered by writers.
    target : {"parity", "classes"}
        ``parity``: +1 for an even digit and −1 for an odd one, shape (n, 1).
        ``classes``: one-hot digits, shape (n, 10).
    mean_square : float
        Mean of the squared inputs, positive.
    seed : int
        Seed of the `numpy.random.Generator` that orders the images.

    Raises
    ------
    ValueError
        An argument is out of its range.

    References
    ----------
    E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998, doi:10.24432/C50P49, CC BY 4.0 (the test set).

    Examples
    --------
    >>> task = meanfield.tasks.digits(n=300)
    >>> task.inputs.shape, round(float(np.mean(task.inputs**2)), 9)
    ((300, 64), 0.0625)
    >>> sorted(set(task.targets.ravel().tolist()))
    [-1.0, 1.0]
    """
    images, labels = _digits.load(seed)
    images, labels = images[:n], labels[:n]
    pixels = _digits.scaled(images, mean_square)
    signs = np.where(labels % 2 == 0, 1.0, -1.0)[:, None]
    targets = signs if target == "parity" else np.eye(10)[labels]
    return Task(pixels, targets, name=f"digits ({target}, n={n})")


@declares(held_out=other_part_of_cifar10)
@checked
def cifar10(
    path: str | os.PathLike[str] | None = None,
    n: Count = 500,
    classes: Sequence[int | str] | None = None,
    target: Literal["one_hot", "sign"] = "one_hot",
    mean_square: MeanSquare = CIFAR10_MEAN_SQUARE,
    seed: Seed = 0,
    train: bool = True,
) -> Task:
    """CIFAR-10: n colour images of 32x32 pixels in random order, from the official files, which are not part of the package.

    The inputs are the pixels minus the mean of their channel, times one factor, such that the mean of ``x²`` over all n·3072
    entries is ``mean_square``; both are taken over the n images. A row is the red, then the green, then the blue image: for a
    convolutional network, ``task.inputs.reshape(-1, 3, 32, 32)``, and ``mean_square=1`` is the usual scale.

    Parameters
    ----------
    path : path or None
        ``cifar-10-python.tar.gz``, the folder ``cifar-10-batches-py`` extracted from it, or a folder that holds either.
        None searches ``./data``, the current folder and the caches of torchvision and Keras (``TORCH_HOME``, ``KERAS_HOME``).
    n : int
        Number of images: the first n of a random order of all images of these classes.
    classes : tuple of names or numbers, or None
        Which classes, e.g. ``("cat", "dog")`` or ``(3, 5)``; None: all ten.
    target : {"one_hot", "sign"}
        ``one_hot``: (n, c), the columns in the order of `classes`. ``sign``: +1 for the first and −1 for the second of
        exactly two classes, (n, 1).
    mean_square : float
        Mean of the squared inputs, positive.
    seed : int
        Seed of the `numpy.random.Generator` that orders the images.
    train : bool
        The five training batches, or the test batch.

    Raises
    ------
    ValueError
        An argument is out of its range; no files were found (the message says where they were looked for, and where they
        can be downloaded); they are damaged, or contain more than plain data when unpickled (nothing in them is ever executed).

    References
    ----------
    A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.

    Examples
    --------
    The files must be downloaded; the message says where from.

    >>> meanfield.tasks.cifar10("no such folder", n=10)
    Traceback (most recent call last):
    ...
    ValueError: ...
    """
    indices = _cifar10.class_indices(classes)
    if target == "sign" and len(indices) != 2:
        raise ValueError(
            f"classes must be exactly two where target='sign', got {len(indices)} classes"
        )
    images, labels = _cifar10.sample(path, n, indices, seed, train)
    inputs = _cifar10.standardize(images, mean_square)
    one_hot = (labels[:, None] == np.array(indices)).astype(np.float64)
    targets = one_hot[:, :1] - one_hot[:, 1:] if target == "sign" else one_hot
    names = "all classes" if classes is None else ", ".join(_cifar10.CLASSES[i] for i in indices)
    return Task(inputs, targets, name=f"CIFAR-10 ({names}, n={n}{'' if train else ', test'})")


@declares(held_out=other_digits)
@checked
def noisy_digits(
    n: Digits = 300, target: Target = "parity", fraction: Fraction = 0.1, seed: Seed = 0
) -> Task:
    """Digits with a fraction of wrong labels: `label_noise` of `digits`.

    A narrow network cannot fit such data, so the fluctuation of gradient descent persists.

    Parameters
    ----------
    n : int
        Number of images, as of `digits`.
    target : {"parity", "classes"}
        As of `digits`.
    fraction : float
        Fraction of wrong labels, between 0 and 1.
    seed : int
        Of the order of the images and of the choice of the labels.

    Examples
    --------
    >>> clean, noisy = meanfield.tasks.digits(n=100), meanfield.tasks.noisy_digits(n=100, fraction=0.1)
    >>> int(np.sum(clean.targets != noisy.targets))
    10
    """
    return label_noise(digits(n, target, seed=seed), fraction, seed)


@checked
def label_noise(task: Task, fraction: Fraction, seed: Seed = 0) -> Task:
    """Make ``round(fraction · n)`` labels wrong, chosen at random without replacement.

    A ±1 target changes sign; a one-hot class becomes another one, each with equal probability.

    Parameters
    ----------
    task : Task
        Targets ±1 of shape (n, 1), or one-hot of shape (n, c).
    fraction : float
        Between 0 and 1.
    seed : int
        Seed of the `numpy.random.Generator` that chooses.

    Raises
    ------
    ValueError
        `fraction` is out of range, or the targets are neither ±1 nor one-hot.

    Examples
    --------
    >>> task = meanfield.tasks.Task([[1.0], [2.0], [3.0], [4.0]], [1.0, 1.0, 1.0, 1.0])
    >>> sorted(meanfield.tasks.label_noise(task, fraction=0.25).targets.ravel().tolist())
    [-1.0, 1.0, 1.0, 1.0]
    """
    instance("task", task, Task, "for instance tasks.digits()")
    rng = np.random.default_rng(seed)
    wrong = rng.choice(task.n, size=round(fraction * task.n), replace=False)
    targets = task.targets.copy()
    if task.is_sign:
        targets[wrong] *= -1
    elif task.is_one_hot:
        shift = rng.integers(1, task.output_dim, size=len(wrong))
        classes = (targets[wrong].argmax(axis=1) + shift) % task.output_dim
        targets[wrong] = np.eye(task.output_dim)[classes]
    else:
        raise ValueError(
            "task must have targets that are all ±1 (n, 1) or one-hot (n, c) for label noise, got others"
        )
    return replace(task, targets=targets, name=f"{task.name}, {fraction:.0%} wrong labels")


@declares(memory=teacher_student_bytes, held_out=fresh_normal_inputs)
@checked
def teacher_student(
    n: Count = 200,
    input_dim: Count = 10,
    teacher_width: Count = 4,
    activation: Activation = "tanh",
    noise: Annotated[float, Ge(0)] = 0.0,
    seed: Seed = 0,
) -> Task:
    """Targets from a narrow two-layer network with random weights, the teacher.

    ::

        y_k = M^(-1/2) Σ_j a_j σ(w_j·x_k) + noise · ξ_k,     j < M = teacher_width

    with inputs ``x_k ~ N(0, I/d)`` (so |x|² is 1 on average) and ``a_j ~ N(0, 1)``,
    ``w_j ~ N(0, I)``, ``ξ_k ~ N(0, 1)``, all independent.

    Parameters
    ----------
    n, input_dim, teacher_width : int
        Number of samples, dimension d of the inputs, width M of the teacher; at least 1.
    activation : str
        σ, an activation of `TwoLayerNetwork`.
    noise : float
        Standard deviation of the noise on the targets, not negative.
    seed : int
        Seed of the `numpy.random.Generator` behind every draw.

    Returns
    -------
    Task
        inputs (n, d), targets (n, 1).

    Raises
    ------
    ValueError
        An argument is out of its range or the activation is unknown.

    Examples
    --------
    >>> task = meanfield.tasks.teacher_student(n=200, input_dim=10)
    >>> task.inputs.shape, task.targets.shape
    ((200, 10), (200, 1))
    """
    from meanfield.networks import TwoLayerNetwork

    rng = np.random.default_rng(seed)
    fitting("n", n, n, input_dim)
    fitting("teacher_width", teacher_width, teacher_width, input_dim + 1)
    teacher = TwoLayerNetwork(input_dim, 1, activation=activation, bias=False)
    weights = rng.standard_normal((teacher_width, teacher.parameter_count))
    inputs = rng.standard_normal((n, input_dim)) / np.sqrt(input_dim)
    # The network averages over its neurons: √M turns the mean into a sum over √M.
    targets = np.sqrt(teacher_width) * teacher.forward(weights, inputs)
    with np.errstate(over="ignore"):
        targets = targets + noise * rng.standard_normal((n, 1))
    if not np.isfinite(targets).all():
        raise refusal("noise", "so small that the targets are finite", noise)
    return Task(inputs, targets, name=f"teacher and student (d={input_dim}, M={teacher_width})")


@checked
def from_npz(path: str | os.PathLike[str]) -> Task:
    """Samples from the arrays ``inputs`` (n, d) and ``targets`` (n, c) or (n,) of an .npz file.

    Parameters
    ----------
    path : path
        The file.

    Raises
    ------
    ValueError
        There is no such file, it is not an .npz archive, an array is missing or holds Python
        objects (nothing is ever unpickled), it unpacks to more than 64 MiB and more than 100 times
        its size in the file, or the arrays are invalid for a `Task`.

    Examples
    --------
    >>> np.savez("samples.npz", inputs=[[1.0], [2.0]], targets=[0.5, 1.0])
    >>> meanfield.tasks.from_npz("samples.npz").targets.ravel()
    array([0.5, 1. ])
    """
    path = Path(path)
    try:
        arrays = read_arrays(path, ("inputs", "targets"))
    except FileNotFoundError as error:
        raise ValueError(f"{path}: there is no such file") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    try:
        return Task(**arrays, name=path.stem)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


#: The tasks by the name that a configuration gives them; the keys of ``[task]`` are the parameters of the function.
TASKS: Registry[Callable[..., Task]] = Registry(
    "task",
    "meanfield.tasks",
    {
        "digits": digits,
        "noisy_digits": noisy_digits,
        "cifar10": cifar10,
        "teacher_student": teacher_student,
        "npz": from_npz,
    },
)


def register(name: str, function: Callable[..., Task]) -> Callable[..., Task]:
    """Register a task under a name, for ``[task] name = "..."`` of a configuration; returns the function.

    The function's parameters are the other keys of the table: annotations say which values are allowed (bool, int, float, str, a
    path, a Literal of names, sequences of these, any of them or None; bounds as in ``Annotated[int, Ge(1)]`` of annotated_types),
    defaults are the keys' defaults. It returns a `Task`, the same for the same arguments, or a run could not be resumed.
    An installed distribution registers its tasks by entry points of the group ``meanfield.tasks``. With `declares` the
    function says what memory its samples take, and where inputs are that were not trained on.

    Raises
    ------
    ValueError
        The name is taken, or not one of at most 100 letters, digits and underscores, a letter first.

    Examples
    --------
    >>> def line(n: int = 10, slope: float = 1.0) -> meanfield.tasks.Task:
    ...     x = np.linspace(-1, 1, n)
    ...     return meanfield.tasks.Task(x[:, None], slope * x, name="line")
    >>> _ = meanfield.tasks.register("line", line)
    >>> meanfield.RunConfig(task={"name": "line", "slope": 2.0}).task.slope
    2.0
    """
    return TASKS.register(name, function)
