"""What moves: the interface that ``solve`` drives.

A flow's state is one array. Every flow, gradient descent included, reads a *center* and a *fluctuation* off its state (zero for
the gradient flow), so every run can be compared with every other. Time counts iterations of gradient descent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from solvers._support.arguments import finite_array, real
from solvers.integrators import RK4, Integrator
from solvers.objective import Array, inner


def check_learning_rate(learning_rate: object) -> float:
    """A finite number above zero, as float."""
    return real("learning_rate", learning_rate, above=0)


class Flow(ABC):
    """A model of gradient descent with a learning rate η."""

    learning_rate: float
    #: methods of the objective that the flow calls
    needs: ClassVar[tuple[str, ...]] = ("value", "gradient")
    #: keys of `diagnostics`
    diagnostic_names: ClassVar[tuple[str, ...]] = ()
    #: whether particle i of the center is the i-th of gradient descent
    labelled: ClassVar[bool] = True
    #: whether its arithmetic goes particle by particle, apart from what it asks of the objective, `norm`, `peak` and
    #: `top_eigenpairs`: each process then moves its own particles only
    particlewise: ClassVar[bool] = False

    @property
    def balanced(self) -> bool:
        """Whether the scheme in time tells the energy that is dissipated."""
        return False

    @abstractmethod
    def start(self, objective: Any, x0: Array) -> Array:
        """The state at t = 0 of a run from the iterate x0."""

    @abstractmethod
    def center(self, step: int, state: Array) -> Array:
        """w, shaped like x0."""

    @abstractmethod
    def fluctuation(self, step: int, state: Array) -> Array:
        """u, shaped like x0, or (r, *x) for r of them."""

    def iterate(self, step: int, state: Array) -> Array | None:
        """The iterate of gradient descent itself; None for its continuous models."""
        return None

    def mirrored(self, state: Array) -> Array:
        """The state with the sign of its fluctuation changed, as a start from an odd iterate x_k = w_k − u_k asks for.

        The state itself where that sign has no meaning.
        """
        return state

    def fluctuation_trace(self, objective: Any, step: int, state: Array) -> float:
        """tr Σ = Σ_r ⟨u_r, u_r⟩ in the objective's inner product."""
        fluctuation = self.fluctuation(step, state)
        if fluctuation.ndim == self.center(step, state).ndim:
            return inner(objective, fluctuation, fluctuation)
        return sum(inner(objective, u, u) for u in fluctuation)

    @abstractmethod
    def predicted_loss(self, objective: Any, step: int, state: Array) -> float:
        """The loss averaged over the oscillation."""

    def free_energy(self, objective: Any, step: int, state: Array) -> float:
        """F = predicted loss − tr Σ / η (arXiv:2606.05326)."""
        trace = self.fluctuation_trace(objective, step, state)
        return self.predicted_loss(objective, step, state) - trace / self.learning_rate

    def diagnostics(self, objective: Any, step: int, state: Array) -> dict[str, float]:
        """Numbers that tell how well the flow is solved at a state, e.g. residuals; evaluated only when asked for."""
        return {}


class WithoutFluctuation(Flow):
    """A flow whose state is the center, and nothing else."""

    def center(self, step: int, state: Array) -> Array:
        return state

    def fluctuation(self, step: int, state: Array) -> Array:
        return np.zeros_like(state)

    def predicted_loss(self, objective: Any, step: int, state: Array) -> float:
        return float(objective.value(state))


class ContinuousFlow(Flow):
    """A flow given by an ordinary differential equation ż(t) = V(z(t)), or by the delay equation ż(t) = V(z(t − ½)).

    Gradient descent, z_{k+1} − z_k = V(z_k), is the unit-step *midpoint* rule of the latter.
    """

    delay: bool = False

    @property
    def balanced(self) -> bool:
        return not self.delay

    @property
    def default_integrator(self) -> Integrator:
        """The scheme that ``solve`` takes where it is not given one."""
        return RK4()

    @abstractmethod
    def rates(self, objective: Any, time: float, state: Array) -> tuple[Array, float]:
        """The state's velocity, per iteration, and the rate dF/dt at which the free energy changes along it."""

    def velocity(self, objective: Any, time: float, state: Array) -> Array:
        """The first of `rates` alone, which may be less work."""
        return self.rates(objective, time, state)[0]

    def constrain(self, objective: Any, state: Array) -> Array:
        """The state put back where the flow's constraints hold, after every step in time."""
        return state

    def disturb(self, objective: Any, step: int, state: Array, iterations: int) -> Array:
        """The state at `step` with the noise that so many iterations before it have left; none, for most flows."""
        return state


class SteppedFlow(Flow):
    """A flow with a scheme in time of its own, of a declared order."""

    order: ClassVar[int]
    default_dt: ClassVar[float]

    def prepare(
        self, objective: Any, state: Array, dt: float
    ) -> tuple[Array, dict[str, float]] | None:
        """A state to start from, completed by what depends on dt, and numbers as of `advance_reporting`; None if it is complete.

        Raises
        ------
        ValueError
            For a state that is not the flow's.
        """
        return None

    @abstractmethod
    def advance(self, objective: Any, state: Array, dt: float) -> Array:
        """The state after a time dt, in iterations."""

    def advance_reporting(
        self, objective: Any, state: Array, dt: float
    ) -> tuple[Array, dict[str, float]]:
        """`advance`, and numbers that tell how well this step was solved, diagnostics of the new state.

        Of a flow that is `balanced` also what it "dissipated".
        """
        return self.advance(objective, state, dt), {}


class DiscreteFlow(Flow):
    """A map, applied once per iteration."""

    @abstractmethod
    def step(self, objective: Any, step: int, state: Array) -> Array:
        """The state at step + 1 from that at step."""

    def leap(self, objective: Any, state: Array, steps: int) -> tuple[Array, int]:
        """The state after as many of so many steps as can be taken at once, and how many those are: none, in general."""
        return state, 0


def as_iterate(x0: Any) -> Array:
    """x0 as a floating array of its own (float32 stays), finite, of at least one entry."""
    return finite_array("x0", x0).copy(order="K")
