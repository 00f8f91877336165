"""Check that PyTorch's derivatives are those of the function that a module computes, and describe failures.

Imported only where PyTorch is needed.
"""

from __future__ import annotations

import copy
from typing import Any, Protocol

import numpy as np

from meanfield.derivative_check import LOWER, Array, Comparison, compare
from meanfield.torch_objective import faults as _torch_faults
from meanfield.torch_objective.evaluation import NoDerivativeError, derivatives

_DERIVATIVES = tuple(LOWER)
_ORDINALS = ("first", "second", "third")
#: Samples used, or a chunk if that is less: few, so that a check is cheap and ReLU networks have few kinks.
_SAMPLES = 8


class Checkable(Protocol):
    """What of a `meanfield.TorchObjective` the checks use."""

    module: Any
    loss: Any
    dtype: Any
    chunk_size: int
    _inputs: Any
    _targets: Any
    _shapes: Any
    _in_check: bool

    def value(self, x: Array) -> float: ...
    def gradient(self, x: Array) -> Array: ...
    def hvp(self, x: Array, v: Array) -> Array: ...
    def third(self, x: Array, u: Array) -> Array: ...
    def as_float64(self) -> Any: ...


def check(objective: Checkable, x: Array, order: int) -> bool:
    """Whether the derivative of this order is that of the one below: False if undecided.

    Raises a ValueError that names the layer if it is wrong or missing.
    """
    try:
        found = _compare(_on_few_samples(objective), x.astype(np.float64), order)
    except NoDerivativeError as error:
        raise ValueError(complaint(objective, x, order, str(error))) from error
    if found.agrees is False:
        raise ValueError(complaint(objective, x, order, found.difference))
    return found.agrees is True


def complaint(objective: Checkable, x: Array, order: int, found: str | float) -> str:
    """The message about a wrong derivative, with the error, or a missing one, with PyTorch's reason; and the layer."""
    name = _DERIVATIVES[order - 1]
    place = _place(_on_few_samples(objective), x, order)
    argument, where = ("loss", "") if place is None else ("module", f", in {place}")
    if isinstance(found, str):
        return (
            f"{argument} must have a {_ORDINALS[order - 1]} derivative for {name}, got an operation without one{where}: "
            f"{found}"
        )
    return (
        f"{argument} must be differentiated by PyTorch as the function that it computes, got derivatives of which {name} "
        f"differs by {found:.1%} from central differences of {LOWER[name]}{where}; "
        "write it in differentiable operations of PyTorch"
    )


def _compare(objective: Checkable, x: Array, order: int) -> Comparison:
    return compare(objective, _DERIVATIVES[order - 1], x, agreeing_points=1, dtype=objective.dtype)


def _on_few_samples(objective: Checkable) -> Checkable:
    """The objective of a few of its samples, in float64 if the module supports it, without checks of its own."""
    few = copy.copy(objective)
    few._in_check = True
    n = len(objective._inputs)
    number = min(n, _SAMPLES, max(objective.chunk_size, 2))
    rows = np.linspace(0, n - 1, number).astype(int).tolist()
    with derivatives(0):  # tensors created in inference mode could not be differentiated
        few._inputs, few._targets = objective._inputs[rows], objective._targets[rows]
        return few.as_float64()


def _place(objective: Checkable, x: Array, order: int) -> str | None:
    """The layer whose derivative of this order is wrong or missing; None if it is the loss."""

    def fails(layer: _torch_faults.Alone) -> bool:
        try:
            return not _agrees(_of_layer(objective, layer), layer.point(), order)
        except NoDerivativeError:
            return True
        except (
            ValueError,
            RuntimeError,
            TypeError,
        ):  # alone it is not a function of real numbers
            return False

    return _torch_faults.find(
        objective.module, lambda: objective.value(x), fails, isinstance(objective.loss, str)
    )


def _of_layer(objective: Checkable, layer: _torch_faults.Alone) -> Checkable:
    make: Any = type(objective)
    alone: Checkable = make(
        layer, lambda outputs, _: outputs, np.zeros((1, 1)), np.zeros(1), dtype=objective.dtype
    )
    alone._in_check = True
    return alone


def _agrees(alone: Checkable, point: dict[str, Any], order: int) -> bool:
    parts = [point[name].cpu().double().numpy().reshape(-1) for name in alone._shapes]
    return _compare(alone, np.concatenate(parts), order).agrees is not False
