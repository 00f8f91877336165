"""Normalisations by formulas, whose derivatives of every order are correct.

Imported only where PyTorch is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class PlainNormalization(TorchFunctionMode):
    """Replaces PyTorch's fused normalisations by their formulas.

    The backward passes of the fused ones take the statistics of the forward pass as constants: of weight normalisation the
    second derivative is then wrong, of layer, instance and batch normalisation the third, without any error (seen in PyTorch
    2.13). A test takes central differences of each.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _PLAIN.get(func, func)(*args, **(kwargs or {}))


def _normalized(x: Tensor, dims: Sequence[int], eps: float) -> Tensor:
    centered = x - x.mean(dim=tuple(dims), keepdim=True)
    return centered * (centered.square().mean(dim=tuple(dims), keepdim=True) + eps).rsqrt()


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _affine_channels(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    shape = (1, -1, *(1,) * (x.ndim - 2))
    parts = (None if part is None else part.reshape(shape) for part in (weight, bias))
    return _affine(x, *parts)


def _layer_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    return _affine(_normalized(x, range(-len(normalized_shape), 0), eps), weight, bias)


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training:  # with given statistics: an affine map, for which the fused kernel is correct
        return functional.batch_norm(x, running_mean, running_var, weight, bias, eps=eps)
    dims = [dim for dim in range(x.ndim) if dim != 1]
    return _affine_channels(_normalized(x, dims, eps), weight, bias)


def _instance_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not use_input_stats:
        return functional.batch_norm(x, running_mean, running_var, weight, bias, eps=eps)
    return _affine_channels(_normalized(x, range(2, x.ndim), eps), weight, bias)


def _rms_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    dims = tuple(range(-len(normalized_shape), 0))
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    return _affine(x * (x.square().mean(dim=dims, keepdim=True) + eps).rsqrt(), weight, None)


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    return v * (g / torch.norm_except_dim(v, 2, dim))


def _fused_layer_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    return _layer_norm(x, normalized_shape, weight, bias, eps)


def _native_layer_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """With the mean and the reciprocal standard deviation."""
    dims = tuple(range(-len(normalized_shape), 0))
    mean = x.mean(dim=dims, keepdim=True)
    scale = ((x - mean).square().mean(dim=dims, keepdim=True) + eps).rsqrt()
    return _affine((x - mean) * scale, weight, bias), mean, scale


def _fused_batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> Tensor:
    return _batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)


def _native_batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """With the mean and the reciprocal standard deviation of a training step, otherwise without."""
    result = _batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    if not training:
        return result, x.new_empty(0), x.new_empty(0)
    dims = [dim for dim in range(x.ndim) if dim != 1]
    centered = x - x.mean(dim=dims, keepdim=True)
    return result, x.mean(dim=dims), (centered.square().mean(dim=dims) + eps).rsqrt()


def _fused_instance_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> Tensor:
    return _instance_norm(
        x, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )


#: Names of the fused kernels in ``torch`` and ``torch.ops.aten``.
_FUSED: dict[str, Callable[..., Any]] = {
    "layer_norm": _fused_layer_norm,
    "native_layer_norm": _native_layer_norm,
    "batch_norm": _fused_batch_norm,
    "native_batch_norm": _native_batch_norm,
    "instance_norm": _fused_instance_norm,
    "rms_norm": _rms_norm,
}
_PLAIN: dict[Any, Callable[..., Any]] = {
    functional.layer_norm: _layer_norm,
    functional.batch_norm: _batch_norm,
    functional.instance_norm: _instance_norm,
    functional.rms_norm: _rms_norm,
    torch._weight_norm: _weight_norm,
}
for _name, _plain in _FUSED.items():
    _kernel = getattr(torch.ops.aten, _name)
    _PLAIN |= {getattr(torch, _name): _plain, _kernel: _plain, _kernel.default: _plain}
