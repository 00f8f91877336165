"""A PyTorch module with its data as an objective on one flat vector."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from meanfield.samples import batch_indices
from solvers._support.arguments import choice, count, refusal, wrong_shape

if TYPE_CHECKING:
    import torch

Array = NDArray[np.floating[Any]]

_CHECKS = 3  # attempts to check a derivative, at the first points of use, until one is decisive


class TorchObjective:
    """Training loss of a PyTorch module, on the flat vector x (D,) of its trainable parameters.

    ::

        E(x) = (1/n) Σ_k ℓ(f_x(input_k), target_k)

    ``gradient``, ``hvp`` and ``third`` are exact: reverse mode applied once, twice and three times, which nearly every layer
    supports, while several have no forward mode. Where PyTorch's own kernels have no second derivative (fused attention), or
    silently a wrong second or third one (weight, layer, instance normalisation), plain formulas replace them. The
    parameters of x are in place during backward passes too, which checkpoints need.

    Before a derivative is first used it is checked, on a few samples in float64, against differences of the one below at points
    around x (`check_objective`): ``detach()`` or a custom ``autograd.Function`` may make it that of another function.

    Samples are processed `chunk_size` at a time, in order, and graphs are freed after each chunk, so memory is bounded by the
    chunk. Inputs, targets, frozen parameters and buffers are copied; the module itself is never modified.

    On one machine the results are the same bit for bit for a fixed number of threads, ``torch.get_num_threads()``, which is left
    unchanged; another number, or another `chunk_size`, rounds differently.

    Parameters
    ----------
    module : torch.nn.Module
        Maps inputs (k, ...) to outputs (k, ...), each sample by itself, on the device of its parameters. Parameters with
        ``requires_grad=False`` are fixed. x is in the order of ``module.named_parameters()``.
    loss : {"squared", "softmax", "logistic"} or callable
        ``squared``: ½ |f − y|², summed over the outputs. ``softmax``: the cross-entropy of outputs (k, c) with classes (k,),
        integers, or probabilities (k, c). ``logistic``: Σ_j log(1 + exp(−y_j f_j)) for targets ±1. A callable takes the
        outputs and targets of a chunk, tensors, and returns one loss per sample, (k,).
    inputs, targets : array or tensor, (n, ...)
        Real numbers are converted to `dtype`. Integers stay integers as inputs (tokens), as classes, and for a callable.
    chunk_size : int or None
        Samples evaluated at once; None: all.
    dtype : {"float64", "float32"} or None
        Precision of every evaluation and result, independent of that of the module; None: that of its trainable parameters.

    Raises
    ------
    ImportError
        PyTorch is not installed.
    ValueError
        An argument is out of range; nothing is trainable; the data are not finite, of different lengths, or invalid
        for the loss; the module is stochastic (dropout in training mode) or normalises over the batch. In use, if a
        derivative is wrong or does not exist; the message names the layer.

    Examples
    --------
    A module with one parameter on one sample, E(x) = ½(2x − 6)²:

    >>> import torch
    >>> line = torch.nn.Linear(1, 1, bias=False)
    >>> objective = meanfield.TorchObjective(line, "squared", [[2.0]], [[6.0]], dtype="float64")
    >>> objective.value([3.0]), objective.value([1.0]), objective.gradient([1.0]), objective.hvp([1.0], [1.0])
    (0.0, 8.0, array([-8.]), array([4.]))
    """

    def __init__(
        self,
        module: torch.nn.Module,
        loss: str | Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        inputs: Any,
        targets: Any,
        chunk_size: int | None = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        evaluation = _import_evaluation()
        import torch

        if not isinstance(module, torch.nn.Module):
            raise refusal("module", "a torch.nn.Module", module)
        if not callable(loss):
            choice("loss", loss, evaluation.LOSSES)
        if chunk_size is not None:
            count("chunk_size", chunk_size)
        trainable = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.module = module
        self.loss = loss
        # Remaining attempts to check the derivative of each order; 0: done.
        self._checks = {order: _CHECKS for order in (1, 2, 3)}
        self._in_check = False
        self.dtype = evaluation.precision(trainable, dtype)
        self._torch_dtype = getattr(torch, self.dtype.name)
        self._device = next(iter(trainable.values())).device
        self._shapes = {name: tuple(p.shape) for name, p in trainable.items()}
        self._sizes = [p.numel() for p in trainable.values()]
        self.dimension = sum(self._sizes)
        with evaluation.derivatives(0):
            state = [*module.named_parameters(), *module.named_buffers()]
            self._fixed = {name: self._copy(t) for name, t in state if name not in trainable}
            self._inputs = self._data("inputs", inputs, integers=True)
            classes = loss == "softmax" and np.ndim(targets) == 1
            self._targets = self._data("targets", targets, integers=classes or callable(loss))
        if len(self._inputs) != len(self._targets):
            raise ValueError(
                "inputs and targets must have equally many rows, "
                f"got {len(self._inputs)} and {len(self._targets)}"
            )
        if not callable(loss):
            evaluation.check_targets(loss, self._targets)
        self.chunk_size = min(chunk_size or len(self._inputs), len(self._inputs))
        self._refuse_impure()

    # --- the objective ---------------------------------------------------------------------------

    def value(self, x: ArrayLike) -> float:
        """E(x), summed over the chunks in float64."""
        flat = self._array("x", x)
        with self._evaluation(0):
            # With gradients enabled, so that the same kernels compute the numbers that are differentiated.
            theta = self._tensor(flat).requires_grad_()
            parts = [float(self._losses(theta, i).detach().double().sum()) for i in self._starts()]
        return sum(parts) / len(self._inputs)

    def gradient(self, x: ArrayLike) -> Array:
        """∇E(x), (D,)."""
        flat = self._array("x", x)
        return self._derivatives(flat, flat, order=1)

    def value_and_gradient(self, x: ArrayLike) -> tuple[float, Array]:
        """E(x) and ∇E(x), with one forward pass: the same numbers as from `value` and `gradient`."""
        flat, parts = self._array("x", x), list[float]()
        gradient = self._derivatives(flat, flat, order=1, parts=parts)
        return sum(parts) / len(self._inputs), gradient

    def hvp(self, x: ArrayLike, v: ArrayLike) -> Array:
        """∇²E(x) v, (D,), for v (D,): the gradient of ⟨∇E, v⟩."""
        return self._derivatives(self._array("x", x), self._array("v", v), order=2)

    def third(self, x: ArrayLike, u: ArrayLike) -> Array:
        """∇³E(x)[u, u], (D,), for u (D,): the gradient of ⟨∇²E u, u⟩."""
        return self._derivatives(self._array("x", x), self._array("u", u), order=3)

    def as_float64(self) -> TorchObjective:
        """The same in double precision; itself where a layer of the module, or its device, does not support it."""
        import torch

        twin = copy.copy(self)
        twin.dtype, twin._torch_dtype = np.dtype(np.float64), torch.float64
        twin._checks = dict(self._checks)
        try:
            twin._fixed = {name: twin._copy(tensor) for name, tensor in self._fixed.items()}
            twin._inputs, twin._targets = twin._copy(self._inputs), twin._copy(self._targets)
            twin.value(twin.initial())
        except (RuntimeError, TypeError):
            return self
        return twin

    @property
    def samples(self) -> int:
        """n."""
        return len(self._inputs)

    def batch(self, indices: ArrayLike) -> TorchObjective:
        """The objective of some of the samples, (1/|B|) Σ_{k ∈ B} ℓ; a repeated index counts as often."""
        chosen = batch_indices(indices, self.samples).tolist()
        part = copy.copy(self)  # checks of derivatives are those of the whole
        part._inputs, part._targets = self._inputs[chosen], self._targets[chosen]
        part.chunk_size = min(self.chunk_size, len(chosen))
        return part

    # --- the vector ------------------------------------------------------------------------------

    def initial(self) -> Array:
        """The module's current trainable parameters, (D,)."""
        current = dict(self.module.named_parameters())
        parts = [current[name].detach().to("cpu", self._torch_dtype) for name in self._shapes]
        return np.concatenate([part.numpy().reshape(-1) for part in parts])

    def unflatten(self, x: ArrayLike) -> dict[str, Array]:
        """The parameters in x (D,) by name, each in its shape; copies."""
        parts = np.split(self._array("x", x), np.cumsum(self._sizes)[:-1])
        items = zip(self._shapes.items(), parts, strict=True)
        return {name: part.reshape(shape) for (name, shape), part in items}

    def _array(self, name: str, value: ArrayLike) -> Array:
        array = np.asarray(value)
        if array.dtype.kind != "f":
            raise ValueError(f"{name} must have dtype float64 or float32, got {array.dtype}")
        if array.shape != (self.dimension,):
            raise wrong_shape(name, f"({self.dimension},)", array.shape)
        # Always a copy: a tensor must not share memory that is read-only or changes.
        return array.astype(self.dtype)

    def _tensor(self, flat: Array) -> torch.Tensor:
        import torch

        return torch.from_numpy(flat).to(self._device)

    # --- evaluation ------------------------------------------------------------------------------

    @contextmanager
    def _evaluation(self, order: int) -> Iterator[None]:
        from meanfield.torch_objective import evaluation as _torch_evaluation

        # Every time: the module may have been put into training mode since the last evaluation.
        _torch_evaluation.refuse_modes(self.module)
        with _torch_evaluation.derivatives(order):
            yield

    def _starts(self) -> range:
        """Index of the first sample of each chunk."""
        return range(0, len(self._inputs), self.chunk_size)

    def _derivatives(
        self, x: Array, direction: Array, order: int, parts: list[float] | None = None
    ) -> Array:
        """The derivative of this order, contracted with the direction in all but one index, summed over the chunks.

        `parts` receives the sum of the losses of each chunk.
        """
        from meanfield.torch_objective import checks as _torch_checks
        from meanfield.torch_objective import evaluation as _torch_evaluation

        if self._in_check:
            return self._sum(x, direction, order, parts)
        for current in range(1, order + 1):
            if self._checks[current] and np.all(np.isfinite(x)):
                decided = _torch_checks.check(self, x, current)
                self._checks[current] = 0 if decided else self._checks[current] - 1
        try:
            return self._sum(x, direction, order, parts)
        except _torch_evaluation.NoDerivativeError as error:
            raise ValueError(_torch_checks.complaint(self, x, order, str(error))) from error

    def _sum(self, x: Array, direction: Array, order: int, parts: list[float] | None) -> Array:
        with self._evaluation(order):
            theta, along = self._tensor(x).requires_grad_(), self._tensor(direction)
            total = along.new_zeros(self.dimension)
            for start in self._starts():
                total += self._derivative(theta, start, along, order, parts)
        result: Array = total.cpu().numpy()
        return result

    def _derivative(
        self,
        theta: torch.Tensor,
        start: int,
        along: torch.Tensor,
        order: int,
        parts: list[float] | None,
    ) -> torch.Tensor:
        from meanfield.torch_objective import evaluation as _torch_evaluation

        def differentiate(losses: torch.Tensor) -> torch.Tensor:
            if parts is not None:
                parts.append(float(losses.detach().double().sum()))
            # Each sample has weight 1/n: the last chunk may be smaller than the others.
            scalar = losses.sum() / len(self._inputs)
            for _ in range(order - 1):
                slope = _torch_evaluation.gradient(scalar, theta, create_graph=True)
                scalar = (slope * along).sum()
            return _torch_evaluation.gradient(scalar, theta, create_graph=False)

        return self._losses(theta, start, then=differentiate)

    def _losses(
        self,
        theta: torch.Tensor,
        start: int,
        fixed: dict[str, torch.Tensor] | None = None,
        then: Callable[[torch.Tensor], torch.Tensor] = lambda losses: losses,
    ) -> torch.Tensor:
        """Losses (k,) of the chunk from sample `start`, as functions of theta, or the result of `then` on them.

        `fixed`, the buffers and the frozen parameters, may be modified; by default a fresh copy.
        """
        import torch

        from meanfield.torch_objective import evaluation as _torch_evaluation

        # One split, whose derivative is one concatenation; that of many slices would be as many vectors of length D.
        parts = zip(self._shapes.items(), torch.split(theta, self._sizes), strict=True)
        values = {name: part.view(shape) for (name, shape), part in parts}
        values |= _torch_evaluation.clone(self._fixed) if fixed is None else fixed
        inputs = self._inputs[start : start + self.chunk_size].to(self._device)
        targets = self._targets[start : start + self.chunk_size].to(self._device)
        return _torch_evaluation.Parametrized(self.module).call(
            values, lambda module: then(self._losses_of(module(inputs), inputs, targets))
        )

    def _losses_of(self, outputs: Any, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        import torch

        from meanfield.torch_objective import evaluation as _torch_evaluation

        if not isinstance(outputs, torch.Tensor) or outputs.shape[:1] != inputs.shape[:1]:
            found = _torch_evaluation.describe(outputs)
            raise ValueError(
                f"module must return a tensor of {len(inputs)} rows for {len(inputs)} samples, got {found}"
            )
        loss = self.loss if callable(self.loss) else _torch_evaluation.LOSSES[self.loss]
        losses = loss(outputs, targets)
        if not isinstance(losses, torch.Tensor) or losses.shape != targets.shape[:1]:
            found = _torch_evaluation.describe(losses)
            raise ValueError(
                f"loss must return shape ({len(targets)},), one per sample, got {found}"
            )
        return losses

    # --- construction ----------------------------------------------------------------------------

    def _copy(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy, in the precision of the evaluation if it holds real numbers."""
        copy = tensor.detach().clone()
        return copy.to(self._torch_dtype) if copy.is_floating_point() else copy

    def _data(self, name: str, values: Any, integers: bool) -> torch.Tensor:
        import torch

        if not isinstance(values, torch.Tensor):
            array = np.array(values)
            if array.dtype.kind not in "buif":
                raise ValueError(f"{name} must be real numbers, got dtype {array.dtype}")
            values = torch.from_numpy(array)
        if values.is_complex():
            raise ValueError(f"{name} must be real numbers, got dtype {values.dtype}")
        if values.ndim == 0 or values.numel() == 0:
            raise wrong_shape(name, "(samples, ...)", tuple(values.shape))
        data = self._copy(values)
        if not data.is_floating_point() and name == "targets":
            # Classes must be int64, whatever integers they were given as.
            data = data.long() if integers else data.to(self._torch_dtype)
        if not torch.isfinite(data).all():
            raise ValueError(f"{name} must be finite as {self.dtype}, got non-finite values")
        return data

    def _refuse_impure(self) -> None:
        """Raise unless two evaluations of a chunk agree bit for bit, draw no random number and modify no buffer."""
        import torch

        from meanfield.torch_objective import evaluation as _torch_evaluation

        start = self.initial()
        with self._evaluation(0):
            theta, fixed = (
                self._tensor(start).requires_grad_(),
                _torch_evaluation.clone(self._fixed),
            )
            before = _torch_evaluation.random_state(self._device)
            first, second = (self._losses(theta, 0, fixed).detach() for _ in range(2))
            after = _torch_evaluation.random_state(self._device)
            if not torch.equal(before, after) or not _torch_evaluation.same(first, second):
                raise ValueError(
                    "module must be deterministic, got two evaluations that differ or draw random numbers; "
                    "call module.eval()"
                )
        written = [
            name
            for name, kept in self._fixed.items()
            if not _torch_evaluation.same(kept, fixed[name])
        ]
        if written:
            raise ValueError(
                f"module must leave its state as it is, got one that writes to {', '.join(written)}; call module.eval()"
            )


def _import_evaluation() -> Any:
    """Import the part of the package that needs PyTorch."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'TorchObjective needs PyTorch: pip install "meanfield-eos[torch]"'
        ) from error
    from meanfield.torch_objective import evaluation as _torch_evaluation

    return _torch_evaluation
