"""The risk of a two-layer network as an objective on particles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from meanfield import _evaluation
from meanfield._kernels.data import Data
from meanfield.losses import LOSSES
from meanfield.networks import TwoLayerNetwork
from meanfield.samples import batch_indices
from meanfield.tasks import Task
from solvers._support.arguments import (
    array,
    choice,
    float_dtype,
    instance,
    probabilities,
    real,
    wrong_shape,
)

Array = NDArray[np.floating[Any]]

_ORDER = "the order is Risk(network, task)"
_WEIGHT_ROUNDING = 1e-6  # tolerance of the sum of weights stored in float32


_Memories = WeakKeyDictionary[Any, _evaluation.Memory]
# Of a gradient the array alone, as a new one costs a page fault for every 4 kB; of Hessian products and third derivatives what it
# holds as well, as the next one mostly is at the same particles.
_OF_GRADIENTS, _OF_PRODUCTS = _Memories(), _Memories()


@contextmanager
def _memory(memories: _Memories, risk: Risk, lasting: bool = False) -> Iterator[_evaluation.Memory]:
    """That of the risk's last evaluation; a new one for a thread that finds it in use, and after an error."""
    memory = memories.pop(risk, None) or _evaluation.Memory(lasting)
    yield memory
    memories[risk] = memory


class Risk:
    """Risk of a two-layer network in mean-field scaling, on particles x of shape (N, D).

        R[ρ] = (1/n) Σ_k ℓ(f_ρ(x_k), y_k) + ∫ V dρ,        V(θ) = ½ λ |θ|²

    All derivatives are the *mean-field* ones: the gradient is N ∂R/∂θ_i, whose limit as N → ∞ is ∇_θ R'[ρ](θ_i), and they are
    taken in the inner product ⟨u, v⟩ = (1/N) Σ_i u_i·v_i, so sharpness has a limit too. Gradient descent with learning rate η on
    this objective is plain gradient descent with learning rate ηN on the N neurons.

    With weights p (N,), p ≥ 0 of sum 1, in place of 1/N the measure is ρ = Σ_i p_i δ_{θ_i}. The gradient then still is ∇_θ R'[ρ],
    not multiplied by p_i, at the particles or at any other points.

    Parameters
    ----------
    network : TwoLayerNetwork
    task : Task
        Inputs (n, d) and targets (n, c).
    loss : {"squared", "logistic", "softmax"}
    weight_decay : float
        λ ≥ 0.
    dtype : {"float64", "float32"}
        Precision of the data and of every evaluation; particles of the other precision are converted.

    Raises
    ------
    ValueError
        For an unknown loss, a negative weight decay, targets invalid for the loss, or inconsistent dimensions.

    References
    ----------
    Mei, Montanari, Nguyen, arXiv:1804.06561; Chizat, Bach, arXiv:1805.09545; Chodron de Courcel, arXiv:2606.05326.

    Examples
    --------
    Of f = 0 for targets ±1 the squared loss is ½ for every sample.

    >>> task = meanfield.tasks.Task([[1.0], [-1.0]], [1.0, -1.0])
    >>> risk = meanfield.Risk(meanfield.TwoLayerNetwork(input_dim=1), task)
    >>> silent = np.array([[0.0, 1.0, 0.0], [0.0, 2.0, 0.0]])  # a = 0
    >>> risk.value(silent)
    0.5
    >>> risk.gradient(silent).shape
    (2, 3)
    """

    def __init__(
        self,
        network: TwoLayerNetwork,
        task: Task,
        loss: str = "squared",
        weight_decay: float = 0.0,
        dtype: DTypeLike = "float64",
    ) -> None:
        self.network = instance("network", network, TwoLayerNetwork, _ORDER)
        self.task = instance("task", task, Task, _ORDER)
        self.loss = choice("loss", loss, LOSSES)
        self.weight_decay = real("weight_decay", weight_decay, least=0)
        self.dtype = float_dtype("dtype", dtype)
        if task.inputs.shape[1] != network.input_dim:
            raise ValueError(
                f"task must have inputs of dimension input_dim={network.input_dim}, as the network, "
                f"got {task.inputs.shape[1]}"
            )
        if task.targets.shape[1] != network.output_dim:
            raise ValueError(
                f"task must have targets of dimension output_dim={network.output_dim}, as the network, "
                f"got {task.targets.shape[1]}"
            )
        self._loss = LOSSES[loss]
        self._loss.check_targets(task.targets)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.network!r},\n    {self.task!r},\n    loss={self.loss!r}, "
            f"weight_decay={self.weight_decay!r}, dtype={self.dtype.name!r})"
        )

    @cached_property
    def _data(self) -> Data:
        return Data.of(self.network.augment(self.task.inputs, self.dtype))

    @cached_property
    def _targets(self) -> Array:
        return np.ascontiguousarray(self.task.targets, dtype=self.dtype)

    def as_float64(self) -> Risk:
        """The same risk, evaluated in double precision."""
        twin = copy(self)
        twin.dtype = np.dtype(np.float64)
        for name in ("_data", "_targets"):  # stored in the other precision
            twin.__dict__.pop(name, None)
        return twin

    @property
    def samples(self) -> int:
        """n."""
        return self.task.n

    def batch(self, indices: ArrayLike) -> Risk:
        """The risk of some of the samples, (1/|B|) Σ_{k ∈ B} ℓ, with the same weight decay; a repeated index counts as often."""
        chosen = batch_indices(indices, self.samples)
        part = copy(self)
        part.task = replace(
            self.task, inputs=self.task.inputs[chosen], targets=self.task.targets[chosen]
        )
        part.__dict__["_data"] = Data.of(self._data.rows[chosen])
        part.__dict__["_targets"] = self._targets[chosen]
        return part

    def outputs(self, x: ArrayLike, weights: ArrayLike | None = None) -> Array:
        """f_ρ at the training inputs, (n, c)."""
        x = self._particles("x", x)
        return self._jet(x, self._weights(weights, x))[0]

    def value(self, x: ArrayLike, weights: ArrayLike | None = None) -> float:
        """R[ρ] of the particles x (N, D), of weights (N,)."""
        x = self._particles("x", x)
        p = self._weights(weights, x)
        return self._value_of(self._jet(x, p)[0], x, p)

    def gradient(
        self, x: ArrayLike, weights: ArrayLike | None = None, at: ArrayLike | None = None
    ) -> Array:
        """Mean-field gradient N ∂R/∂θ_i, (N, D); with `at` (M, D), ∇_θ R'[ρ] at those points, (M, D)."""
        x = self._particles("x", x)
        masses = self._weights(weights, x)
        if at is None:
            return self._output_and_gradient(x, masses)[1]
        points = self._particles("at", at)
        f = self._jet(x, masses)[0]
        gradient = self._gradient_jet(points, [self._loss.gradient(f, self._targets)])
        return self._decayed(gradient, points)

    def value_and_gradient(self, x: ArrayLike) -> tuple[float, Array]:
        """R at x and its mean-field gradient (N, D), with one forward pass: the same numbers as from `value` and `gradient`."""
        x = self._particles("x", x)
        f, gradient = self._output_and_gradient(x, None)
        return self._value_of(f, x, None), gradient

    def hvp(self, x: ArrayLike, v: ArrayLike, weights: ArrayLike | None = None) -> Array:
        """Mean-field Hessian times v: the derivative of the gradient when every particle moves along v, (N, D), for v (N, D).

        With equal weights, (Hess R · v)_i = N Σ_j ∂²R/∂θ_i∂θ_j v_j. Self-adjoint for ⟨u, v⟩ = Σ_i p_i u_i·v_i.
        """
        x, v = self._particles("x", x), self._direction("v", v, x)
        masses = self._weights(weights, x)
        with _memory(_OF_PRODUCTS, self, lasting=True) as memory:
            f, df = self._jet(x, masses, v, 1, memory)
            r = self._loss.gradient(f, self._targets)
            dr = self._loss.curvature(f, self._targets, df)
            return self._decayed(self._gradient_jet(x, [r, dr], v, memory), v)

    def third(self, x: ArrayLike, u: ArrayLike, weights: ArrayLike | None = None) -> Array:
        """∇³R[u, u], the second derivative of the mean-field gradient along u, (N, D), for u (N, D)."""
        x, u = self._particles("x", x), self._direction("u", u, x)
        masses = self._weights(weights, x)
        with _memory(_OF_PRODUCTS, self, lasting=True) as memory:
            f, df, ddf = self._jet(x, masses, u, 2, memory)
            r = self._loss.gradient(f, self._targets)
            dr = self._loss.curvature(f, self._targets, df)
            ddr = self._loss.curvature(f, self._targets, ddf)
            ddr = ddr + self._loss.third(f, self._targets, df)
            return self._gradient_jet(x, [r, dr, ddr], u, memory)

    def inner(self, u: ArrayLike, v: ArrayLike) -> float:
        """⟨u, v⟩ = (1/N) Σ_i u_i·v_i, summed in float64 in an order independent of the number of threads and ranks."""
        u, v = array("u", u), array("v", v)
        if u.ndim != 2 or u.shape != v.shape or u.size == 0:
            raise ValueError(f"u and v must have one shape (N, D), got {u.shape} and {v.shape}")
        sums = _evaluation.inner_sums(u, v, _evaluation.group_bounds(len(u)))
        return _evaluation.inner_of(sums, len(u))

    def _value_of(self, f: Array, x: Array, p: NDArray[np.float64] | None) -> float:
        """R of particles with these outputs f (n, c)."""
        losses = self._loss.value(f, self._targets)
        if not self.weight_decay:
            return float(losses.mean())
        second_moment = self.inner(x, x) if p is None else float(np.sum(p[:, None] * x * x))
        return float(losses.mean()) + 0.5 * self.weight_decay * second_moment

    def _output_and_gradient(
        self, x: Array, weights: NDArray[np.float64] | None
    ) -> tuple[Array, Array]:
        """f (n, c) of the particles, and their mean-field gradient (N, D)."""
        with _memory(_OF_GRADIENTS, self) as memory:
            f = self._jet(x, weights, memory=memory)[0]
            gradient = self._gradient_jet(x, [self._loss.gradient(f, self._targets)], None, memory)
        return f, self._decayed(gradient, x)

    def _jet(
        self,
        x: Array,
        weights: Array | None,
        direction: Array | None = None,
        order: int = 0,
        memory: _evaluation.Memory | None = None,
    ) -> Array:
        return _evaluation.network_jet(
            self.network.architecture, x, self._data, direction, order, weights, memory
        )

    def _gradient_jet(
        self,
        x: Array,
        residuals: list[Array],
        direction: Array | None = None,
        memory: _evaluation.Memory | None = None,
    ) -> Array:
        scaled = self._scaled(residuals)
        return _evaluation.gradient_jet(
            self.network.architecture, x, self._data, scaled, direction, memory=memory
        )

    def _scaled(self, residuals: list[Array]) -> Array:
        """ℓ' and its derivatives at the data, over n: (order + 1, n, c)."""
        return np.array(residuals, self.dtype) / self.dtype.type(len(self._data))

    def _decayed(self, derivative: Array, argument: Array) -> Array:
        """A derivative of the loss plus that of ∫ V dρ, which is λ times its argument."""
        if not self.weight_decay:
            return derivative
        return derivative + self.dtype.type(self.weight_decay) * argument

    def _particles(self, name: str, value: ArrayLike) -> Array:
        particles = array(name, value).astype(self.dtype, copy=False)
        # The kernels would be compiled again for read-only arrays.
        return self.network.check_particles(
            name, particles if particles.flags.writeable else particles.copy()
        )

    def _direction(self, name: str, value: ArrayLike, x: Array) -> Array:
        direction = self._particles(name, value)
        if direction.shape != x.shape:
            raise wrong_shape(name, f"{x.shape}, as x", direction.shape)
        return direction

    def _weights(self, value: ArrayLike | None, x: Array) -> NDArray[np.float64] | None:
        if value is None:
            return None
        return probabilities("weights", value, (len(x),), _WEIGHT_ROUNDING)
