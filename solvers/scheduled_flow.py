"""A flow whose learning rate changes during a run, at given steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from solvers._support.arguments import instance, refusal, settle
from solvers.flow import Flow
from solvers.learning_rates import Schedule
from solvers.objective import Array


@dataclass(frozen=True)
class Scheduled(Flow):
    """A flow whose learning rate changes during the run.

    At a switch the flow goes on from where it stands with the next rate. Gradient descent does so exactly. Of its models the
    iterate that they stand for is kept, x_k = w + (−1)^k u, while u, which for gradient descent is (−1)^k (η/2) ∇E(x_k), changes
    in proportion to η; where the sign of u is free (rod and central flow) the center is kept in place of it. A delayed flow
    forgets its history there. The balance of the free energy ends at the first switch, where F itself changes.

    Parameters
    ----------
    flow : Flow
        One whose learning rate may change (`Flow.can_change_rate`); its own learning rate is not used.
    learning_rate : sequence of (int, float)
        Each rate with the step from which on it holds, the first from 0: ``[[0, 0.1], [100, 1.0]]``.

    Raises
    ------
    ValueError
        For another flow, or what is no such sequence.

    Examples
    --------
    On E = 2x² a step multiplies x by 1 − 4η, here by 0.6 once and by −0.6 afterwards.

    >>> parabola = meanfield.landscapes.Landscape(lambda x: 2 * x[0] ** 2)
    >>> warm_up = solvers.Scheduled(solvers.GradientDescent(0.4), [[0, 0.1], [1, 0.4]])
    >>> solvers.solve(warm_up, parabola, [1.0], steps=3).iterates.ravel().round(12)
    array([ 1.   ,  0.6  , -0.36 ,  0.216])
    """

    flow: Flow
    learning_rate: Any

    def __post_init__(self) -> None:
        flow = instance("flow", self.flow, Flow, "for instance GradientDescent(0.1)")
        if not flow.can_change_rate:
            raise refusal("flow", "one whose learning rate can change during a run", flow)
        settle(self, learning_rate=Schedule(self.learning_rate).learning_rate)
        same = ("needs", "diagnostic_names", "labelled", "particlewise", "is_random", "is_signed")
        settle(self, **{name: getattr(flow, name) for name in same})

    @cached_property
    def schedule(self) -> Schedule:
        """The learning rates by step."""
        return Schedule(self.learning_rate)

    @cached_property
    def flows(self) -> tuple[Flow, ...]:
        """The flow at each of its rates."""
        return tuple(self.flow.with_rate(rate) for rate in self.schedule.rates)

    def at(self, step: int) -> Flow:
        return self.flows[self.schedule.part(step)]

    @property
    def balanced(self) -> bool:
        return self.flow.balanced

    def start(self, objective: Any, x0: Array) -> Array:
        return self.flows[0].start(objective, x0)

    def center(self, step: int, state: Array) -> Array:
        return self.at(step).center(step, state)

    def fluctuation(self, step: int, state: Array) -> Array:
        return self.at(step).fluctuation(step, state)

    def iterate(self, step: int, state: Array) -> Array | None:
        return self.at(step).iterate(step, state)

    def next_gradients(self, step: int, state: Array) -> Sequence[Array]:
        return self.at(step).next_gradients(step, state)

    def mirrored(self, state: Array) -> Array:
        return self.flow.mirrored(state)

    def fluctuation_trace(self, objective: Any, step: int, state: Array) -> float:
        return self.at(step).fluctuation_trace(objective, step, state)

    def predicted_loss(self, objective: Any, step: int, state: Array) -> float:
        return self.at(step).predicted_loss(objective, step, state)

    def free_energy(self, objective: Any, step: int, state: Array) -> float:
        return self.at(step).free_energy(objective, step, state)

    def diagnostics(self, objective: Any, step: int, state: Array) -> dict[str, float]:
        return self.at(step).diagnostics(objective, step, state)

    @property
    def edge(self) -> float:
        return self.flow.edge

    def preconditioner(self, step: int, state: Array) -> Any:
        return self.at(step).preconditioner(step, state)
