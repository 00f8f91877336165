"""Evaluation of `TorchObjective`: losses of samples, correct derivatives up to third order, checks of modules.

Imported only where PyTorch is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.utils.checkpoint
from numpy.typing import DTypeLike
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from meanfield.torch_objective.normalizations import PlainNormalization
from solvers._support.arguments import float_dtype

# --- derivatives ---------------------------------------------------------------------------------


@contextmanager
def derivatives(order: int) -> Iterator[None]:
    """Context for computing outputs whose derivatives up to this order are taken.

    Gradients are enabled, whatever the caller's setting. The fused kernels of attention have no second derivative, the plain
    kernel has. From the second order on, normalisations are computed by `PlainNormalization`. Reentrant checkpoints are disabled.
    """
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        sdpa_kernel([SDPBackend.MATH]),
        _no_reentrant_checkpoints(),
    ):
        if order < 2:
            yield
            return
        with PlainNormalization():
            yield


def gradient(scalar: Tensor, theta: Tensor, create_graph: bool) -> Tensor:
    """The gradient of the scalar in theta; zero where it does not depend on theta."""
    if not scalar.requires_grad:
        return torch.zeros_like(theta, requires_grad=False)
    try:
        (result,) = torch.autograd.grad(
            scalar, theta, create_graph=create_graph, materialize_grads=True
        )
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise NoDerivativeError(str(error).strip().partition("\n")[0]) from error
    return result


class NoDerivativeError(Exception):
    """An operation cannot be differentiated, or not again; with PyTorch's message."""


class Parametrized(torch.nn.Module):
    """Calls a function of a module: under ``functional_call`` other tensors are its parameters meanwhile.

    A backward pass may read them again: that of a checkpoint recomputes its part of the forward pass.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, function: Callable[[torch.nn.Module], Any]) -> Any:
        return function(self.module)

    def call(
        self, values: dict[str, Tensor], function: Callable[[torch.nn.Module], Tensor]
    ) -> Tensor:
        """function(module), with the parameters and buffers of these names replaced meanwhile."""
        named = {f"module.{name}": value for name, value in values.items()}
        result: Tensor = torch.func.functional_call(self, named, (function,))
        return result


class _NoCheckpoint:
    """Replaces ``CheckpointFunction`` by the function itself, without recomputation."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve_rng_state: bool, *args: Any) -> Any:
        return function(*args)


_CHECKPOINT = torch.utils.checkpoint.CheckpointFunction


@contextmanager
def _no_reentrant_checkpoints() -> Iterator[None]:
    """Their backward pass is not part of the graph: it cannot be differentiated, and parameters inside may get no gradient."""
    checkpoints: Any = torch.utils.checkpoint
    checkpoints.CheckpointFunction = _NoCheckpoint
    try:
        yield
    finally:
        checkpoints.CheckpointFunction = _CHECKPOINT


# --- losses --------------------------------------------------------------------------------------


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """½ |f − y|² of each sample."""
    _check_shapes("squared", outputs, targets)
    return 0.5 * ((outputs - targets) ** 2).reshape(len(targets), -1).sum(dim=1)


def logistic(outputs: Tensor, targets: Tensor) -> Tensor:
    """Σ_j log(1 + exp(−y_j f_j)) of each sample."""
    _check_shapes("logistic", outputs, targets)
    # Not softplus, which becomes a straight line at 20.
    margins = (targets * outputs).reshape(len(targets), -1)
    return -functional.logsigmoid(margins).sum(dim=1)


def softmax(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of softmax(f) of each sample, for classes (k,) or probabilities (k, c)."""
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        raise ValueError(
            f"module must return shape (samples, classes) for the softmax loss, got {describe(outputs)}"
        )
    if targets.ndim == 2:
        _check_shapes("softmax", outputs, targets)
    elif int(targets.max()) >= outputs.shape[1]:
        raise ValueError(
            f"targets must be classes below {outputs.shape[1]}, the module's outputs, got {int(targets.max())}"
        )
    return functional.cross_entropy(outputs, targets, reduction="none")


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "squared": squared,
    "logistic": logistic,
    "softmax": softmax,
}


def _check_shapes(loss: str, outputs: Tensor, targets: Tensor) -> None:
    # Broadcasting would make k² differences of (k,) and (k, 1).
    if outputs.shape != targets.shape:
        raise ValueError(
            f"targets must have the shape of the module's outputs for the {loss} loss, "
            f"{tuple(outputs.shape)} in a chunk, got {tuple(targets.shape)}"
        )


def check_targets(loss: str, targets: Tensor) -> None:
    """Raise a ValueError for targets invalid for the loss."""
    if loss == "logistic" and not bool((targets.abs() == 1).all()):
        raise ValueError("targets must be −1 or +1 for the logistic loss, got other values")
    if loss != "softmax":
        return
    if targets.ndim == 1:
        if targets.dtype != torch.int64 or int(targets.min()) < 0:
            raise ValueError(
                "targets must be classes, integers of at least 0, for the softmax loss, got others"
            )
        return
    sums = targets.reshape(len(targets), -1).sum(dim=1)
    rounding = 4 * targets[0].numel() * torch.finfo(targets.dtype).eps
    if targets.ndim != 2 or bool((targets < 0).any() | ((sums - 1).abs() > rounding).any()):
        raise ValueError(
            "targets must be rows (n, c) of probabilities for the softmax loss, got others"
        )


# --- modules -------------------------------------------------------------------------------------


def refuse_modes(module: torch.nn.Module) -> None:
    """Raise for layers that draw random numbers or couple the samples of a chunk."""
    for name, layer in module.named_modules():
        where = f"{name or 'itself'} ({type(layer).__name__})"
        if isinstance(layer, _BatchNorm) and (layer.training or layer.running_mean is None):
            raise ValueError(
                f"module must treat samples independently, got {where}, which normalises over the samples of a chunk; "
                "call module.eval(), with track_running_stats=True"
            )
        dropout = layer.p if isinstance(layer, _DropoutNd) else 0.0
        if isinstance(layer, torch.nn.MultiheadAttention):
            dropout = layer.dropout
        if layer.training and dropout > 0:
            raise ValueError(
                f"module must be deterministic, got {where}, which drops at random; call module.eval()"
            )


def random_state(device: torch.device) -> Tensor:
    """State of the default random generators for a module on this device."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return torch.cat(states)


def same(first: Tensor, second: Tensor) -> bool:
    """Equal bit for bit, up to the sign of zeros; a NaN is a NaN."""
    return bool(first.nan_to_num().equal(second.nan_to_num()))


def clone(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors by name."""
    return {name: tensor.clone() for name, tensor in tensors.items()}


def describe(value: Any) -> str:
    """The value in a message: by its shape, or else by its type."""
    return f"shape {tuple(value.shape)}" if hasattr(value, "shape") else type(value).__name__


def precision(trainable: dict[str, torch.nn.Parameter], dtype: DTypeLike | None) -> np.dtype[Any]:
    """Precision of the objective: the one asked for, else that of the parameters."""
    if not trainable:
        raise ValueError("module must have trainable parameters (requires_grad), got none")
    if any(not p.is_floating_point() for p in trainable.values()):
        raise ValueError(
            "module must have trainable parameters of floating-point numbers, got others"
        )
    if dtype is not None:
        return float_dtype("dtype", dtype)
    names = sorted({str(p.dtype).removeprefix("torch.") for p in trainable.values()})
    if names not in (["float32"], ["float64"]):
        raise ValueError(
            f"the parameters must be all float32 or all float64, got {', '.join(names)}; give dtype"
        )
    return np.dtype(names[0])
