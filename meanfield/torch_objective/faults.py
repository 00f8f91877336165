"""Find the layer of a module whose derivative is wrong or missing.

Imported only where PyTorch is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

#: Functions of PyTorch that take a part of the computation out of the graph.
_CUTS: dict[Any, str] = {
    Tensor.detach: "detach()",
    Tensor.detach_: "detach_()",
    getattr(Tensor.data, "__get__"): ".data",  # noqa: B009
    Tensor.item: "item()",
    Tensor.tolist: "tolist()",
    Tensor.numpy: "numpy()",
    torch._C._set_grad_enabled: "no_grad()",
}


@dataclass
class _Call:
    """The first call of a layer in an evaluation: its parameters at that time, and its arguments."""

    parameters: dict[str, Tensor]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Alone(torch.nn.Module):
    """A layer and its arguments, as a module of one sample: ½ Σ (f − r)² over its outputs f, r random.

    Its parameters are those of the layer and its real-valued arguments.
    """

    def __init__(self, layer: torch.nn.Module, call: _Call) -> None:
        super().__init__()
        self.layer = layer
        self.given = torch.nn.ParameterList()
        self._call = call
        self._places = [place for place, value in _arguments(call) if _is_variable(value)]
        for place, value in _arguments(call):
            if place in self._places:
                self.given.append(torch.nn.Parameter(value.detach().clone()))

    def point(self) -> dict[str, Tensor]:
        """The values of the trainable parameters in the evaluation, by name."""
        inner = {f"layer.{name}": value for name, value in self._call.parameters.items()}
        given = {f"given.{i}": value.detach() for i, value in enumerate(self.given)}
        return inner | given

    def forward(self, sample: Tensor) -> Tensor:
        values = dict(_arguments(self._call)) | dict(zip(self._places, self.given, strict=True))
        args = [values[i] for i in range(len(self._call.args))]
        outputs = _real_tensors(
            self.layer(*args, **{name: values[name] for name in self._call.kwargs})
        )
        random = torch.Generator(device="cpu").manual_seed(0)
        total = sample.new_zeros(())
        for output in outputs:
            goal = torch.randn(output.shape, generator=random, dtype=output.dtype)
            total = total + 0.5 * (output - goal.to(output.device)).square().sum()
        return total.reshape(1)


def find(
    module: torch.nn.Module,
    evaluate: Callable[[], object],
    fails: Callable[[Alone], bool],
    is_in_module: bool,
) -> str | None:
    """The location of the fault, for a message; None if it is not in the module, hence in the loss.

    Parameters
    ----------
    module : torch.nn.Module
    evaluate : callable
        Evaluates the module once.
    fails : callable
        Whether a layer alone has the fault.
    is_in_module : bool
        Whether it is known not to be in the loss.
    """
    calls: dict[int, _Call] = {}

    def keep(layer: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if id(layer) in calls:
            return
        parameters = {
            name: p.detach().clone() for name, p in layer.named_parameters() if p.requires_grad
        }
        calls[id(layer)] = _Call(parameters, args, kwargs)

    handle = torch.nn.modules.module.register_module_forward_hook(keep, with_kwargs=True)
    try:
        evaluate()
    finally:
        handle.remove()
    if not is_in_module and not fails(Alone(module, calls[id(module)])):
        return None
    name, layer = _innermost("", module, calls, fails) or ("", module)
    kind = getattr(layer, "original_name", type(layer).__name__)
    where = f"layer {name!r} ({kind})" if name else f"the module itself ({kind})"
    hints = list(_hints(layer, calls[id(layer)]))
    return where + (f", which has {' and '.join(hints)}" if hints else "")


def _innermost(
    name: str,
    module: torch.nn.Module,
    calls: dict[int, _Call],
    fails: Callable[[Alone], bool],
) -> tuple[str, torch.nn.Module] | None:
    """The innermost layer of a module with the fault; containers that are not called themselves are descended into."""
    for child_name, child in module.named_children():
        path = f"{name}.{child_name}" if name else child_name
        called = id(child) in calls
        if called and not fails(Alone(child, calls[id(child)])):
            continue
        found = _innermost(path, child, calls, fails) or ((path, child) if called else None)
        if found is not None:
            return found
    return None


def _hints(layer: torch.nn.Module, call: _Call) -> Iterator[str]:
    """Possible causes in a layer."""
    if isinstance(layer, torch.jit.ScriptModule):
        yield "been scripted (use the module it was made of)"
        return
    arguments = [_with_gradient(value) for value in call.args]
    with torch.enable_grad(), _Recorder() as recorder:
        outputs = _real_tensors(layer(*arguments, **call.kwargs))
    yield from recorder.cuts
    yield from sorted({f"a function of its own ({name})" for name in _own_functions(outputs)})


class _Recorder(TorchFunctionMode):
    """Records the calls that detach a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.cuts: dict[str, None] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _CUTS:
            self.cuts[_CUTS[func]] = None
        return func(*args, **(kwargs or {}))


def _arguments(call: _Call) -> list[tuple[int | str, Any]]:
    """The arguments of a layer, by position or name."""
    return [*enumerate(call.args), *call.kwargs.items()]


def _is_variable(value: Any) -> bool:
    """Whether this is a tensor of finite real numbers; masks with −∞ are constants."""
    return (
        isinstance(value, Tensor)
        and value.is_floating_point()
        and bool(torch.isfinite(value).all())
    )


def _with_gradient(value: Any) -> Any:
    return value.detach().clone().requires_grad_() if _is_variable(value) else value


def _own_functions(outputs: list[Tensor]) -> Iterator[str]:
    """Names of user-defined ``torch.autograd.Function``s in a graph."""
    seen: set[Any] = set()
    waiting: list[Any] = [output.grad_fn for output in outputs]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            yield type(node).__name__.removesuffix("Backward")
        waiting.extend(following for following, _ in node.next_functions)


def _real_tensors(output: Any) -> list[Tensor]:
    """The real tensors in the output of a layer."""
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() else []
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, (tuple, list)):
        return [tensor for part in output for tensor in _real_tensors(part)]
    return []
