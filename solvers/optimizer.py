"""Optimizers: update rules with a memory, read as a center and a fluctuation like gradient descent."""

from __future__ import annotations

import inspect
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np

from solvers._support.arguments import refusal
from solvers.flow import DiscreteFlow, Flow
from solvers.objective import Array

FlowClass = TypeVar("FlowClass", bound=type[Flow])
_MODEL = "model_of_optimizers"


class Optimizer(DiscreteFlow):
    """A map z_{k+1} = Φ_k(z_k) of z = (x, memory), an array (1 + memories, *x), with one gradient per step.

    As for gradient descent, consecutive states are read as a center and an alternating fluctuation,

        z_k = c_k + (−1)^k u_k,    z_{k+1} = c_k − (−1)^k u_k,

    so that with V_k(z) = Φ_k(z) − z, and nothing approximated,

        c_{k+1} = c_k + ½[V_k(z_k) + V_{k+1}(z_{k+1})],    u_{k+1} = −u_k − (−1)^k ½[V_k(z_k) − V_{k+1}(z_{k+1})].

    `center` and `fluctuation` are those of x; the flow's state is the pair (z_k, z_{k+1}), an array (2, 1 + memories, *x).

    Examples
    --------
    Steps of the length η in the direction of a running sum of gradients, which is the memory:

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Running(solvers.Optimizer):
    ...     learning_rate: float
    ...     memories = 1
    ...     def change(self, objective, step, z):
    ...         gradient = objective.gradient(z[0])
    ...         return np.stack([-self.learning_rate * np.sign(z[1] + gradient), gradient])
    >>> parabola = meanfield.landscapes.Landscape(lambda x: 0.5 * x[0] ** 2)
    >>> solvers.solve(Running(0.5), parabola, [1.0], steps=4).iterates.ravel()
    array([ 1. ,  0.5,  0. , -0.5, -1. ])
    """

    #: number of arrays of the size of x that the rule remembers
    memories: ClassVar[int]
    #: whether the last of them is a mean of squares
    has_squares: ClassVar[bool] = False
    #: whether V depends on x through the gradient only, and is linear in gradient and memory
    is_linear: ClassVar[bool] = False
    particlewise: ClassVar[bool] = True
    can_change_rate: ClassVar[bool] = True

    @classmethod
    def state_arrays(cls, options: Any) -> int:
        return 2 * (1 + cls.memories)

    def memory(self, x0: Array) -> Sequence[Array]:
        """The memory at step 0: zeros."""
        return [np.zeros_like(x0) for _ in range(self.memories)]

    @abstractmethod
    def change(self, objective: Any, step: float, z: Array) -> Array:
        """V_k(z) = Φ_k(z) − z (1 + memories, *x); a model of the rule asks for it at steps between two integers, too."""

    def update(self, objective: Any, step: int, z: Array) -> Array:
        """z_{k+1} = Φ_k(z_k) (1 + memories, *x)."""
        updated: Array = z + self.change(objective, step, z)
        return updated

    def start(self, objective: Any, x0: Array) -> Array:
        """The pair (z_0, z_1)."""
        z = np.stack([x0, *self.memory(x0)])
        return np.stack([z, self.update(objective, 0, z)])

    def step(self, objective: Any, step: int, state: Array) -> Array:
        return np.stack([state[1], self.update(objective, step + 1, state[1])])

    def carried(self, objective: Any, step: int, state: Array, ratio: float) -> Array:
        """From the same iterate and memory another step."""
        return np.stack([state[0], self.update(objective, step, state[0])])

    def center(self, step: int, state: Array) -> Array:
        return 0.5 * (state[0, 0] + state[1, 0])

    def fluctuation(self, step: int, state: Array) -> Array:
        return (0.5 if step % 2 == 0 else -0.5) * (state[0, 0] - state[1, 0])

    def iterate(self, step: int, state: Array) -> Array:
        return state[0, 0]

    def predicted_loss(self, objective: Any, step: int, state: Array) -> float:
        """The mean of E over x_k and x_{k+1}."""
        return 0.5 * float(objective.value(state[0, 0]) + objective.value(state[1, 0]))

    def free_energy(self, objective: Any, step: int, state: Array) -> float:
        """NaN: the map is not descent–ascent on a free energy of x alone."""
        return math.nan

    def central_flow(self, *arguments: Any, **options: Any) -> Flow:
        """The central flow of the rule, with the options of `solvers.CentralFlow`; refused where none is known."""
        raise refusal(
            "learning_rate",
            "a number, or a HeavyBall, Nesterov, ScalarRMSProp, RMSProp or Adam, whose central flows are known",
            self,
        )

    def rod_flow(self, *arguments: Any, **options: Any) -> Flow:
        """The rod flow of the rule, with the options of `solvers.RodFlow`; refused where there is none."""
        raise refusal(
            "learning_rate",
            "a number, or a HeavyBall, Nesterov, ScalarRMSProp, RMSProp or Adam, whose rod flows are known",
            self,
        )


def of_optimizers(model: Callable[..., Flow]) -> Callable[[FlowClass], FlowClass]:
    """Let a class of flows take an optimizer in place of the learning rate: what is made is then ``model(optimizer, …)``.

    A subclass takes numbers only.
    """

    def extended(flow: FlowClass) -> FlowClass:
        signature = inspect.signature(flow)  # which a `__new__` would hide

        def made(cls: type, *arguments: Any, **options: Any) -> Any:
            rule = arguments[0] if arguments else options.get("learning_rate")
            if cls is not flow or not isinstance(rule, Optimizer):
                return object.__new__(cls)
            options.pop("learning_rate", None)
            return model(rule, *arguments[1:], **options)

        changed: Any = flow
        changed.__new__ = made
        changed.__signature__ = signature
        setattr(changed, _MODEL, staticmethod(model))
        return flow

    return extended


def model_of(flow: type[Flow], rule: Optimizer, options: Mapping[str, Any]) -> Flow:
    """The model of an optimizer that a class of flows makes, given values of all options of the class.

    Raises
    ------
    ValueError
        The class models gradient descent only, or no optimizer of this kind; an option that models of optimizers do not have is
        not at its default.
    """
    if _MODEL not in vars(flow):
        raise ValueError(
            f"optimizer must be gradient descent for {flow.name}, which models no other rule, got {rule!r}"
        )
    model = getattr(flow, _MODEL)
    parameters = inspect.signature(model).parameters
    if all(p.kind is not inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        known = flow.options()
        for name in options.keys() - parameters.keys():
            if options[name] != known[name].default:
                what = f"{known[name].default!r} for a model of {rule.name}"
                raise refusal(name, what, options[name])
        options = {name: value for name, value in options.items() if name in parameters}
    made: Flow = model(rule, **options)
    return made
