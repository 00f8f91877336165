"""What a task's function can say of the source of its samples: the memory that making them takes, and inputs beside them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from meanfield.data_files import cifar10 as _cifar10
from meanfield.data_files import digits as _digits
from meanfield.samples import Task
from solvers._support.arguments import count, finite_array, refusal, wrong_shape

F = TypeVar("F", bound=Callable[..., Task])
Inputs = NDArray[np.float64]
#: Inputs that were not drawn, and a description of them; None where there are no others.
Others = tuple[Inputs, str] | None
_ATTRIBUTE = "__task_source__"
_GIVEN = 3  # parameters of `held_out` before those of the task


@dataclass(frozen=True)
class Source:
    """What was said of a task's function with `declares`."""

    memory: Callable[..., int] | None = None
    held_out: Callable[..., Others] | None = None

    @classmethod
    def of(cls, function: Callable[..., Task]) -> Source:
        """That of a function; an empty one where nothing was said."""
        found = getattr(function, _ATTRIBUTE, None)
        return found if isinstance(found, cls) else cls()

    @property
    def sizes(self) -> list[str]:
        """The parameters of the task on which its memory depends."""
        return [] if self.memory is None else _parameters(self.memory)

    def bytes(self, arguments: Mapping[str, Any]) -> int:
        """Estimated bytes for making the samples with these arguments of the function; 0 where nothing is known."""
        if self.memory is None:
            return 0
        return count("memory(...)", self.memory(**_named(self.memory, arguments)), 0)

    def others(
        self, task: Task, limit: int, rng: np.random.Generator, arguments: Mapping[str, Any]
    ) -> Others:
        """At most `limit` inputs (k, d) other than those of the task made with these arguments; None where there are none."""
        if self.held_out is None:
            return None
        found = self.held_out(task, limit, rng, **_named(self.held_out, arguments))
        if found is None:
            return None
        inputs, note = (
            np.asarray(finite_array("held_out(...)", found[0]), np.float64),
            str(found[1]),
        )
        if inputs.ndim != 2 or inputs.shape[1] != task.input_dim or not 0 < len(inputs) <= limit:
            shape = f"(k, {task.input_dim}) with 1 ≤ k ≤ {limit}"
            raise wrong_shape("held_out(...)", shape, inputs.shape)
        return inputs, note


def declares(
    memory: Callable[..., int] | None = None, held_out: Callable[..., Others] | None = None
) -> Callable[[F], F]:
    """Decorate a task's function with what is known of its source.

    Parameters
    ----------
    memory : callable, optional
        ``memory(n, …)``, the bytes that making the samples takes at most. Its parameters are some of the task's; before a run
        makes samples that do not fit into memory, it is refused with a hint at these keys.
    held_out : callable, optional
        ``held_out(task, limit, rng, n, …)``, at most `limit` inputs (k, d) of the same law that are not among those of `task`,
        and a description of them; None if there are no others. `rng` is a `numpy.random.Generator`; the parameters after it are
        some of the task's. A width study measures the distance of functions on them.

    Returns
    -------
    callable
        A decorator, which returns the function itself.

    Examples
    --------
    >>> def fresh(task, limit, rng):
    ...     return rng.uniform(-1.0, 1.0, (limit, 1)), f"{limit} fresh inputs"
    >>> @meanfield.tasks.declares(memory=lambda n: 16 * n, held_out=fresh)
    ... def sine(n: int = 10, seed: int = 0) -> meanfield.tasks.Task:
    ...     x = np.random.default_rng(seed).uniform(-1.0, 1.0, (n, 1))
    ...     return meanfield.tasks.Task(x, np.sin(3 * x), name="sine")
    >>> sine(n=3).n
    3
    """
    for name, said in (("memory", memory), ("held_out", held_out)):
        if said is not None and not callable(said):
            raise refusal(name, "a function or None", said)

    def decorate(function: F) -> F:
        known = list(inspect.signature(function).parameters)
        for name, said, given in (("memory", memory, 0), ("held_out", held_out, _GIVEN)):
            unknown = (
                [] if said is None else [p for p in _parameters(said)[given:] if p not in known]
            )
            if unknown:
                raise refusal(name, f"a function of some of {', '.join(known)}", ", ".join(unknown))
        setattr(function, _ATTRIBUTE, Source(memory, held_out))
        return function

    return decorate


def _named(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the task's arguments that a function has a parameter for."""
    return {name: arguments[name] for name in _parameters(function) if name in arguments}


def _parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


# --- the package's own tasks ----------------------------------------------------------------------

# Arrays of the inputs, of the targets and of their teacher that are there at a time, as measured, rounded up.
_INPUT_ARRAYS, _TARGET_ARRAYS, _TEACHER_ARRAYS = 3, 6, 2


def teacher_student_bytes(n: int, input_dim: int, teacher_width: int) -> int:
    """Bytes for drawing a task of teacher and student."""
    inputs, teacher = _INPUT_ARRAYS * n * input_dim, _TEACHER_ARRAYS * teacher_width
    return 8 * (inputs + _TARGET_ARRAYS * n + teacher * (input_dim + 1))


def fresh_normal_inputs(task: Task, limit: int, rng: np.random.Generator) -> Others:
    """Further draws from N(0, I/d)."""
    inputs = rng.standard_normal((limit, task.input_dim))
    return inputs / np.sqrt(task.input_dim), f"{limit} fresh inputs"


def other_digits(task: Task, limit: int, rng: np.random.Generator, n: int, seed: int) -> Others:
    """The remaining images (labels do not matter here, nor does noise on them), at the scale of the task's."""
    if n == _digits.COUNT:
        return None
    images, _ = _digits.load(seed)
    everything = _digits.scaled(images, 1 / 16)
    factor = np.linalg.norm(task.inputs) / np.linalg.norm(everything[:n])
    inputs = factor * everything[n : n + limit]
    return inputs, f"{len(inputs)} of the other {_digits.COUNT - n} digits"


def other_part_of_cifar10(
    task: Task,
    limit: int,
    rng: np.random.Generator,
    path: str | None,
    n: int,
    classes: Any,
    mean_square: float,
    seed: int,
    train: bool,
) -> Others:
    """Images of the same classes from the other part, test or training, scaled like the task's."""
    indices = _cifar10.class_indices(classes)
    trained, _ = _cifar10.sample(path, n, indices, seed, train=train)
    _, labels = _cifar10.load(path, not train)
    found = min(limit, int(np.isin(labels, indices).sum()))
    if found == 0:
        return None
    images, _ = _cifar10.sample(path, found, indices, seed, train=not train)
    inputs = _cifar10.standardize(images, mean_square, like=trained)
    return inputs, f"{found} images of the {'test' if train else 'training'} part"
