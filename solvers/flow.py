"""Flows: the interface that ``solve`` integrates.

A flow's state is one array. Every flow, gradient descent included, has a *center* and a *fluctuation* (zero for
gradient flow), computed from its state, so any two runs can be compared. Time counts iterations of gradient descent.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, NamedTuple, Self

import numpy as np

from solvers._support.annotations import Interval
from solvers._support.arguments import finite_array, real, refusal, settle
from solvers._support.options import Option, check_options, options_of
from solvers._support.registry import snake_case
from solvers.integrators import RK4, Integrator
from solvers.objective import Array, inner, norm

# Seed of random numbers: the range of a Philox key.
Seed = Annotated[int, Interval(ge=0, le=2**128 - 1)]


def check_learning_rate(learning_rate: object) -> float:
    """A finite number above zero, as float."""
    if isinstance(learning_rate, Flow):
        raise refusal("learning_rate", "a number", learning_rate, "the flow has no model of it")
    return real("learning_rate", learning_rate, above=0)


class Tolerance(NamedTuple):
    """The tolerance of a diagnostic, and the message `otherwise`, followed by the size, if it is exceeded."""

    size: float
    otherwise: str
    #: whether the tolerance is relative to the free energy, where that is above one
    of_energy: bool = False


class Flow(ABC):
    """A model of gradient descent with a learning rate η.

    The fields of a flow that is a dataclass are its options: `learning_rate`, and others whose annotations declare the allowed
    values, as ``Annotated[int, Ge(1)]``. They are checked when the flow is created. Everything else that the packages need to
    know about a flow is in the class attributes below.

    Examples
    --------
    >>> issubclass(solvers.GradientDescent, solvers.Flow)
    True
    >>> list(solvers.GradientFlow.options()), solvers.GradientDescent(0.1).with_rate(0.2)
    (['delay'], GradientDescent(learning_rate=0.2))
    """

    learning_rate: float
    #: its name in configurations and files; by default the name of the class, in_lower_case
    name: ClassVar[str]
    #: methods of the objective that the flow calls
    needs: ClassVar[tuple[str, ...]] = ("value", "gradient")
    #: keys of `diagnostics`
    diagnostic_names: ClassVar[tuple[str, ...]] = ()
    #: tolerances of diagnostics that should be small
    tolerances: ClassVar[Mapping[str, Tolerance]] = {}
    #: whether particle i of the center corresponds to particle i of gradient descent
    labelled: ClassVar[bool] = True
    #: whether its arithmetic is particle by particle, apart from calls of the objective, `norm`, `peak` and
    #: `top_eigenpairs`: each rank then moves its own particles only
    particlewise: ClassVar[bool] = False
    #: whether its particles have independent noise, so that particle i of one run does not correspond to particle i of another
    is_random: ClassVar[bool] = False
    #: whether the sign of its fluctuation is that of gradient descent's, rather than arbitrary
    is_signed: ClassVar[bool] = True
    #: whether its learning rate may change during a run, see `solvers.Scheduled`
    can_change_rate: ClassVar[bool] = False
    #: number of arrays of the size of x in a step, for each array of its state
    step_arrays: ClassVar[int] = 6
    #: colour in figures: one of `meanfield.study.figures.palette`, or "#rrggbb"; by default a free colour
    colour: ClassVar[str] = ""
    #: solid "-", dashed "--" or dash-dotted "-."
    dashes: ClassVar[str] = "-"

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "name" not in cls.__dict__:
            cls.name = snake_case(cls.__name__)

    def __post_init__(self) -> None:
        """Check the options of a flow that is a dataclass."""
        if "learning_rate" in options_of(type(self)):
            settle(self, learning_rate=check_learning_rate(self.learning_rate))
        check_options(self)

    @classmethod
    def options(cls) -> dict[str, Option]:
        """The options by name, except the learning rate: the keys of a configuration."""
        return {key: made for key, made in options_of(cls).items() if key != "learning_rate"}

    @classmethod
    def summary(cls) -> str:
        """The first line of its docstring."""
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0]

    @classmethod
    def sources(cls) -> tuple[str, ...]:
        """The arXiv numbers among the references of its docstring."""
        references = (cls.__doc__ or "").partition("References\n")[2]
        return tuple(dict.fromkeys(re.findall(r"arXiv:(\d{4}\.\d{4,5})", references)))

    @classmethod
    def build(cls, objective: Any, x0: Array, learning_rate: float, **options: Any) -> Self:
        """The flow of a run from x0; most flows do not depend on objective and start."""
        make: Any = cls
        made: Self = make(learning_rate, **options)
        return made

    @classmethod
    def state_arrays(cls, options: Mapping[str, Any]) -> int:
        """The number of arrays of the size of x in a state, given the options."""
        return 2

    @classmethod
    def other_bytes(cls, options: Mapping[str, Any]) -> int:
        """Bytes of a step besides arrays of the size of x, given the options."""
        return 0

    def at(self, step: int) -> Flow:
        """The flow from a step to the next: itself, unless its learning rate changes."""
        return self

    def with_rate(self, learning_rate: float) -> Self:
        """The same flow with another learning rate; requires `can_change_rate`."""
        changed: Any = replace(self, learning_rate=learning_rate)  # type: ignore[type-var]
        found: Self = changed
        return found

    def carried(self, objective: Any, step: int, state: Array, ratio: float) -> Array:
        """The state of this flow that corresponds to one of the same flow whose learning rate was smaller by the ratio."""
        return state

    @property
    def balanced(self) -> bool:
        """Whether the time integration yields the dissipated energy."""
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
        """The iterate, for gradient descent; None for continuous models."""
        return None

    def begun(self, objective: Any, step: int, rule: Flow, pair: Array) -> Array | None:
        """The state at `step` of a model of an optimizer whose own is (z_k, z_{k+1}); None: it starts from the iterate."""
        return None

    def next_gradients(self, step: int, state: Array) -> Sequence[Array]:
        """Points at which the step from this state needs gradients, as far as they are known without an evaluation.

        Losses that are observed at these points are evaluated together with the gradients. None by default.
        """
        return ()

    def mirrored(self, state: Array) -> Array:
        """The state with the sign of its fluctuation changed, to start from an odd iterate x_k = w_k − u_k, if it has a sign."""
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

    @property
    def edge(self) -> float:
        """The threshold of the top eigenvalue of P⁻¹H, P the `preconditioner`: a quadratic oscillates above it. NaN: unknown."""
        return 2.0

    def preconditioner(self, step: int, state: Array) -> Any:
        """P of the step from this state, without momentum x_{k+1} = x_k − P⁻¹∇E(x_k): a number, or the diagonal (*x)."""
        return 1.0 / self.learning_rate

    def diagnostics(self, objective: Any, step: int, state: Array) -> dict[str, float]:
        """Numbers that measure how accurately the flow is solved at a state, e.g. residuals; evaluated on request only."""
        return {}


class WithoutFluctuation(Flow):
    """A flow whose state is the center alone.

    Examples
    --------
    >>> parabola = meanfield.landscapes.Landscape(lambda x: 2 * x[0] ** 2)
    >>> isinstance(solvers.GradientFlow(0.1), solvers.WithoutFluctuation)
    True
    >>> solvers.solve(solvers.GradientFlow(0.1), parabola, [1.0], steps=2).fluctuation_trace
    array([0., 0., 0.])
    """

    @classmethod
    def state_arrays(cls, options: Mapping[str, Any]) -> int:
        return 1

    def center(self, step: int, state: Array) -> Array:
        return state

    def fluctuation(self, step: int, state: Array) -> Array:
        return np.zeros_like(state)

    def predicted_loss(self, objective: Any, step: int, state: Array) -> float:
        return float(objective.value(state))


class ContinuousFlow(Flow):
    """A flow given by an ordinary differential equation ż(t) = V(z(t)), or by the delay equation ż(t) = V(z(t − ½)).

    Gradient descent, z_{k+1} − z_k = V(z_k), is the unit-step *midpoint* rule of the latter.

    Examples
    --------
    A flow with a constant velocity:

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Drift(solvers.WithoutFluctuation, solvers.ContinuousFlow):
    ...     learning_rate: float
    ...     def start(self, objective, x0):
    ...         return x0
    ...     def velocity(self, objective, time, state):
    ...         return self.learning_rate * np.ones_like(state)
    >>> parabola = meanfield.landscapes.Landscape(lambda x: 2 * x[0] ** 2)
    >>> solvers.solve(Drift(0.5), parabola, [1.0], steps=3).centers.ravel().round(12)
    array([1. , 1.5, 2. , 2.5])
    """

    delay: bool = False
    #: the integrator that ``solve`` uses if neither integrator nor dt is given
    default_integrator: ClassVar[Integrator] = RK4()
    few_integrator: ClassVar[Integrator | None] = None  #: for vectors of at most 100 numbers
    #: the default of version 0.1, by which runs that it began go on
    former_integrator: ClassVar[Integrator] = RK4()
    #: the parts of the state that grow and decay by orders of magnitude, and whose logarithm is to be accurate
    growing: ClassVar[slice] = slice(0, 0)
    #: the parts of the state whose perturbations decay fast, and determine the spectral radius
    stiff: ClassVar[slice] = slice(None)

    @property
    def balanced(self) -> bool:
        return self.knows_its_rate and not self.delay

    @property
    def knows_its_rate(self) -> bool:
        """Whether `rates` gives dF/dt; a flow that only defines `velocity` does not."""
        return type(self).rates is not ContinuousFlow.rates

    def rates(self, objective: Any, time: float, state: Array) -> tuple[Array, float]:
        """The state's velocity, per iteration, and the rate dF/dt at which the free energy changes along it.

        By default `velocity` and NaN: the balance of the free energy is then unknown.
        """
        return self.velocity(objective, time, state), math.nan

    def velocity(self, objective: Any, time: float, state: Array) -> Array:
        """The first of `rates` alone, which may be cheaper; sufficient for a flow that does not define `rates`."""
        if not self.knows_its_rate:
            raise NotImplementedError(f"{type(self).__name__} must define velocity or rates")
        return self.rates(objective, time, state)[0]

    def parts(self, state: Array) -> tuple[Array, ...]:
        """The parts of a state, as views, whose errors are measured each by itself: the arrays shaped like x that it has."""
        shape = self.center(0, state).shape
        is_stack = state.shape != shape and state.shape[state.ndim - len(shape) :] == shape
        return tuple(state.reshape(-1, *shape)) if is_stack else (state,)

    def units(self, objective: Any, state: Array) -> list[float]:
        """The sizes to which errors of the parts are compared: their norms."""
        return [norm(objective, part) for part in self.parts(state)]

    def horizon(self, objective: Any, state: Array) -> float:
        """Number of iterations, one or infinitely many, by which `constrain` and `disturb` may come late."""
        plain = ContinuousFlow.constrain, ContinuousFlow.disturb
        return math.inf if (type(self).constrain, type(self).disturb) == plain else 1.0

    def constrain(self, objective: Any, state: Array) -> Array:
        """The state projected onto the flow's constraints, after every time step."""
        return state

    def disturb(self, objective: Any, step: int, state: Array, iterations: int) -> Array:
        """The state at `step` with the noise accumulated over the last `iterations`; none for most flows."""
        return state


class SteppedFlow(Flow):
    """A flow with its own time integration.

    Examples
    --------
    Exact exponential decay, in steps of its own:

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Decay(solvers.WithoutFluctuation, solvers.SteppedFlow):
    ...     learning_rate: float
    ...     default_dt = 0.5
    ...     def start(self, objective, x0):
    ...         return x0
    ...     def advance(self, objective, state, dt):
    ...         return np.exp(-self.learning_rate * dt) * state
    >>> parabola = meanfield.landscapes.Landscape(lambda x: 2 * x[0] ** 2)
    >>> solution = solvers.solve(Decay(0.5), parabola, [1.0], steps=2)
    >>> solution.centers.ravel().round(6), np.exp([0, -0.5, -1]).round(6)
    (array([1.      , 0.606531, 0.367879]), array([1.      , 0.606531, 0.367879]))
    """

    order: ClassVar[int]
    default_dt: ClassVar[float]
    #: whether dt is a parameter of the model, given in the configuration, and may be above 1
    dt_is_parameter: ClassVar[bool] = False

    def prepare(
        self, objective: Any, state: Array, dt: float
    ) -> tuple[Array, dict[str, float]] | None:
        """A start state completed by what depends on dt, and numbers as from `advance_reporting`; None if it is complete.

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
        """`advance`, and diagnostics of the new state that measure how accurately this step was solved.

        For a `balanced` flow also the energy "dissipated".
        """
        return self.advance(objective, state, dt), {}


class DiscreteFlow(Flow):
    """A map, applied once per iteration.

    Examples
    --------
    A map that halves:

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Halving(solvers.WithoutFluctuation, solvers.DiscreteFlow):
    ...     learning_rate: float
    ...     def start(self, objective, x0):
    ...         return x0
    ...     def step(self, objective, step, state):
    ...         return state / 2
    >>> parabola = meanfield.landscapes.Landscape(lambda x: 2 * x[0] ** 2)
    >>> solvers.solve(Halving(0.5), parabola, [1.0], steps=3).centers.ravel()
    array([1.   , 0.5  , 0.25 , 0.125])
    """

    @abstractmethod
    def step(self, objective: Any, step: int, state: Array) -> Array:
        """The state at step + 1 from that at step."""

    def leap(self, objective: Any, state: Array, steps: int) -> tuple[Array, int]:
        """The state after as many of `steps` steps as can be taken at once, and their number: 0 in general."""
        return state, 0


def as_iterate(x0: Any) -> Array:
    """A copy of x0 as a floating-point array (float32 is kept), finite, with at least one entry."""
    return finite_array("x0", x0).copy(order="K")
