"""Discrete flows on a part of the samples at each step."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from solvers._support.annotations import Ge
from solvers._support.arguments import count, instance, methods, refusal, settle
from solvers._support.options import check_options
from solvers.flow import DiscreteFlow, Seed
from solvers.objective import Array, inner
from solvers.state import State

Indices = NDArray[np.intp]
_MOST_BATCHES = 1024


@dataclass(frozen=True)
class MiniBatch(DiscreteFlow):
    """A discrete flow whose step k is taken on a batch B_k of the samples: x_{k+1} is that of E_{B_k} in place of E.

    Center and fluctuation are read from consecutive iterates as without batches; losses, spectrum and gradients that are
    measured are those of all samples.

    Parameters
    ----------
    flow : DiscreteFlow
        `GradientDescent`, or an optimizer.
    batch_size : int
        Number of samples of a batch.
    seed : int
        Seed of the draws. Batch k depends on seed and k only, so that a run can be resumed.
    replacement : bool
        False: the samples are shuffled once per epoch and taken in turns, the last batch of an epoch is smaller where the number
        does not divide. True: every batch is drawn anew, with replacement.

    Raises
    ------
    ValueError
        For another flow, or a parameter out of range. On use: the objective has no samples (the method ``batch(indices)``, which
        returns the objective of these, and their number, ``samples``), or fewer than `batch_size`.

    Examples
    --------
    >>> task = meanfield.tasks.digits(100)
    >>> network = meanfield.TwoLayerNetwork(input_dim=64)
    >>> risk, x0 = meanfield.Risk(network, task), network.initialize(20, seed=0)
    >>> sgd = solvers.MiniBatch(solvers.GradientDescent(0.1), batch_size=25)
    >>> solvers.solve(sgd, risk, x0, steps=8).status
    'complete'
    """

    flow: DiscreteFlow
    batch_size: Annotated[int, Ge(1)]
    seed: Seed = 0
    replacement: bool = False

    def __post_init__(self) -> None:
        flow = instance("flow", self.flow, DiscreteFlow, "for instance GradientDescent(0.1)")
        check_options(self)
        settle(self, learning_rate=flow.learning_rate)
        same = (
            "needs",
            "diagnostic_names",
            "labelled",
            "particlewise",
            "can_change_rate",
            "is_signed",
        )
        settle(self, **{name: getattr(flow, name) for name in same})

    def batch(self, objective: Any, step: int) -> Any:
        """The objective of the samples of batch `step`."""
        methods("objective", getattr(objective, "original", objective), ["batch"], "MiniBatch")
        n = count("objective.samples", objective.samples, 1)
        if self.batch_size > n:
            raise refusal("batch_size", f"at most the number of samples, {n}", self.batch_size)
        return objective.batch(self.indices(n, step))

    def indices(self, n: int, step: int) -> Indices:
        """The samples of batch `step` among n."""
        if self.replacement:
            return np.random.default_rng([self.seed, step]).integers(n, size=self.batch_size)
        epoch, turn = divmod(step, -(-n // self.batch_size))
        return _order(n, self.seed, epoch)[turn * self.batch_size :][: self.batch_size]

    @property
    def edge(self) -> float:
        return self.flow.edge

    def preconditioner(self, step: int, state: Array) -> Any:
        return self.flow.preconditioner(step, state)

    def with_rate(self, learning_rate: float) -> MiniBatch:
        return replace(self, flow=self.flow.with_rate(learning_rate))

    def start(self, objective: Any, x0: Array) -> Array:
        return self.flow.start(self.batch(objective, 0), x0)

    def step(self, objective: Any, step: int, state: Array) -> Array:
        """A flow's state at `step` is (x_k, x_{k+1}), so that the step from x_{k+1} is due."""
        return self.flow.step(self.batch(objective, step + 1), step, state)

    def carried(self, objective: Any, step: int, state: Array, ratio: float) -> Array:
        return self.flow.carried(self.batch(objective, step), step, state, ratio)

    def center(self, step: int, state: Array) -> Array:
        return self.flow.center(step, state)

    def fluctuation(self, step: int, state: Array) -> Array:
        return self.flow.fluctuation(step, state)

    def iterate(self, step: int, state: Array) -> Array | None:
        return self.flow.iterate(step, state)

    def predicted_loss(self, objective: Any, step: int, state: Array) -> float:
        return self.flow.predicted_loss(objective, step, state)

    def free_energy(self, objective: Any, step: int, state: Array) -> float:
        """NaN: a step on a batch is not descent–ascent on the free energy of all samples."""
        return math.nan


@lru_cache(maxsize=4)
def _order(n: int, seed: int, epoch: int) -> Indices:
    order = np.random.default_rng([seed, epoch]).permutation(n)
    order.flags.writeable = False
    return order


def batch_sharpness(flow: MiniBatch, objective: Any, state: State, batches: int = 16) -> float:
    """The curvature of batches along their own gradients, E_B[⟨g_B, H_B g_B⟩]/E_B[|g_B|²] at the iterate.

    Gradient descent on batches oscillates where this, rather than the sharpness of all samples, exceeds 2/η.

    Parameters
    ----------
    flow : MiniBatch
    objective : Objective
        With `batch`, `samples` and `hvp`.
    state : State
        ``Solution.state``, or ``Observation.state``.
    batches : int
        Number of batches in the means, at most 1,024, from that of the next step on; an epoch of them is all samples.

    Raises
    ------
    ValueError
        For arguments of other kinds.

    References
    ----------
    Andreyev, Beneventano, arXiv:2412.20553.

    Examples
    --------
    With all samples in the batch it is the curvature along the gradient:

    >>> class Samples:
    ...     samples = 1
    ...     def batch(self, indices): return self
    ...     def value(self, x): return 1.5 * float(x @ x)
    ...     def gradient(self, x): return 3.0 * x
    ...     def hvp(self, x, v): return 3.0 * v
    >>> sgd = solvers.MiniBatch(solvers.GradientDescent(0.1), batch_size=1)
    >>> state = solvers.solve(sgd, Samples(), np.array([1.0]), steps=1).state
    >>> solvers.batch_sharpness(sgd, Samples(), state)
    3.0
    """
    flow = instance("flow", flow, MiniBatch, "MiniBatch(GradientDescent(0.1), batch_size=32)")
    state = instance("state", state, State, "for instance solution.state")
    x = flow.iterate(state.step, state.values)
    curvatures = squares = 0.0
    for step in range(state.step, state.step + count("batches", batches, 1, _MOST_BATCHES)):
        part = flow.batch(objective, step)
        gradient = np.array(part.gradient(x))
        curvatures += inner(part, gradient, part.hvp(x, gradient))
        squares += inner(part, gradient, gradient)
    return curvatures / squares if squares > 0 else math.nan
