"""The time loop: `solve`, its observations and its solution."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from solvers._support.arguments import count, flag
from solvers._support.arguments import function as checked_function
from solvers._support.partial import with_partial
from solvers._support.reprs import described
from solvers.evaluations import remembering
from solvers.flow import Flow
from solvers.integrators import Integrator, SchemeError
from solvers.objective import (
    Array,
    all_finite,
    inner,
    is_spread,
    require_same,
)
from solvers.overflow import overflow_reason
from solvers.progress import Progress, progress_bar
from solvers.recording import Recorder, Spectrum
from solvers.solution import Solution
from solvers.state import State, resume, start
from solvers.stepping import Advance, leap, prepared, stepper, stride

# From this number of steps on, compiling a gradient for seconds pays off.
_MANY_STEPS = 50_000
_MOST = 2**63 - 1


class Observation:
    """A run observed at an integer time. Quantities that need evaluations of the objective are computed on first access.

    Losses where the run goes on with a gradient are evaluated together with that, if `goes_on`.

    Arrays are read-only: the run continues with them.

    Examples
    --------
    >>> parabola = meanfield.landscapes.Landscape(lambda x: 2 * x[0] ** 2)
    >>> seen = []
    >>> def look(at):
    ...     seen.append((at.time, round(at.loss, 6)))
    >>> solution = solvers.solve(solvers.GradientDescent(0.25), parabola, [1.0], steps=1, observe=look)
    >>> seen  # E at the centers, (1 + 0)/2 and 0
    [(0.0, 0.5), (1.0, 0.0)]
    """

    def __init__(self, flow: Flow, objective: Any, state: State, goes_on: bool = False) -> None:
        self.flow = flow
        self._own = remembering(objective)
        self._state = state
        self._goes_on = goes_on
        self._values = state.values  # objectives need not accept read-only arrays

    def __repr__(self) -> str:
        return described("Observation", [("flow", self.flow), ("step", self.step)])

    @property
    def objective(self) -> Any:
        """The objective of the run."""
        return self._own.original

    @property
    def step(self) -> int:
        """Iterations done."""
        return self._state.step

    @property
    def time(self) -> float:
        """t, in iterations of gradient descent."""
        return float(self._state.step)

    @cached_property
    def state(self) -> State:
        """Where the run stands."""
        values, history = _read_only(self._state.values), _read_only(self._state.history)
        return replace(self._state, values=values, history=history)

    @cached_property
    def center(self) -> Array:
        """w (*x)."""
        return _read_only(self._center)

    @cached_property
    def _center(self) -> Array:
        return self.flow.center(self.step, self._values)

    @cached_property
    def fluctuation(self) -> Array:
        """u (*x), or (r, *x)."""
        return _read_only(self.flow.fluctuation(self.step, self._values))

    @cached_property
    def iterate(self) -> Array | None:
        """x_k (*x) of gradient descent; None for its models."""
        return _read_only(self.flow.iterate(self.step, self._values))

    @cached_property
    def loss(self) -> float:
        """E at the center."""
        self._look_ahead()
        return float(self._own.value(self._center))

    @cached_property
    def iterate_loss(self) -> float:
        """E at the iterate of gradient descent; NaN for its models."""
        self._look_ahead()
        iterate = self.flow.iterate(self.step, self._values)
        return math.nan if iterate is None else float(self._own.value(iterate))

    def _look_ahead(self) -> None:
        if self._goes_on:
            self._own.anticipate(self.flow.next_gradients(self.step, self._values))
        self._goes_on = False

    @cached_property
    def predicted_loss(self) -> float:
        """The loss averaged over the oscillation, by the flow's closure."""
        self._look_ahead()
        return self.flow.predicted_loss(self._own, self.step, self._values)

    @cached_property
    def fluctuation_trace(self) -> float:
        """tr Σ in the objective's inner product."""
        return self.flow.fluctuation_trace(self._own, self.step, self._values)

    @cached_property
    def free_energy(self) -> float:
        """F, for most flows predicted loss − tr Σ/η."""
        if type(self.flow).free_energy is Flow.free_energy:  # whose parts may be known already
            return self.predicted_loss - self.fluctuation_trace / self.flow.learning_rate
        return self.flow.free_energy(self._own, self.step, self._values)

    @cached_property
    def diagnostics(self) -> dict[str, float]:
        """Diagnostics of flow and scheme, by ``flow.diagnostic_names``; those of steps are missing at the start."""
        at_state = self.flow.diagnostics(self._own, self.step, self._values)
        return at_state | dict(self._state.report)

    @cached_property
    def gradient_norm_sq(self) -> float:
        """|∇E|² at the center, in the objective's inner product."""
        gradient = self._own.observed_gradient(self._center)
        return inner(self._own, gradient, gradient)

    @property
    def dissipated(self) -> float:
        """∫ (dF/dt) dt since the start, by the run's own integrator; F(t) − F(0) for the exact flow. NaN for maps."""
        return self._state.dissipated


def _read_only(array: Any) -> Any:
    """A read-only view; None for None."""
    if array is None:
        return None
    view = array.view()
    view.flags.writeable = False
    return view


def solve(
    flow: Flow,
    objective: Any,
    x0: Array | State,
    steps: int = 1000,
    save_every: int = 1,
    dt: float | None = None,
    integrator: Integrator | str | None = None,
    progress: bool | Progress = False,
    observe: Callable[[Observation], None] | None = None,
    eigenvalues: int = 0,
    eigenvalues_every: int = 1,
) -> Solution:
    """Integrate `flow` on `objective` from x0 for a number of iterations.

    Parameters
    ----------
    flow : Flow
        For example ``FreeEnergyFlow(learning_rate)``.
    objective : Objective
        The function to minimise, see `Objective`.
    x0 : array or State
        The iterate to start from, or a ``Solution.state`` to continue; steps are then counted from there. A state of this
        flow, with the same parameters, is continued bit for bit. One of another flow stands for its iterate x_k = w + (−1)^k u,
        from which this flow starts as from any other iterate: a state of gradient descent of any kind (also of another
        learning rate) or of a flow without fluctuation, for every flow; a state with one fluctuation, for gradient descent.
        A state of an optimizer has its memory too, with which its own models go on.
        Others raise: a state of one model of the oscillation does not determine one of another.
    steps : int
        Iterations of gradient descent to cover, at least 0.
    save_every : int
        Keep every save_every-th iteration, and the last.
    dt : float, optional
        Time step of a continuous flow, 1/m for an integer m, or an integer that divides `steps` (for slow flows, which are
        then observed only every dt iterations); by default that of the scheme. Not for maps and adaptive schemes.
    integrator : Integrator or {"euler", "midpoint", "rk4", "adaptive", "rkc", "rock4", "chebyshev"}, optional
        Time integrator of a flow given by an ordinary differential equation; by default `RK4` where dt is given, else the
        flow's own.
    progress : bool or callable
        True: a bar with rate and remaining time, on stderr in a terminal, in a notebook with ipywidgets. A
        callable receives (iterations done, total) after each iteration, or after many where an objective's `compiled_gradient`
        lets gradient descent take many at once.
    observe : callable, optional
        Called with an `Observation` at every iteration, the start included, for any save_every. Its arrays are read-only.
    eigenvalues : int
        Number of the largest eigenvalues of the Hessian at the center that are measured, into ``Solution.eigenvalues``; the
        first is the sharpness. The objective then needs `hvp`.
    eigenvalues_every : int
        Measure them every eigenvalues_every-th iteration, at the start and at the end.

    Returns
    -------
    Solution
        Complete, or up to the point where the run ended: see its status.

    Raises
    ------
    ValueError
        For a start that is empty or not finite, an objective without what the flow needs (or with a Hessian that is not
        symmetric), a solution larger than the available memory, or a parameter out of range; on every
        rank, where ranks that share an objective pass different arguments.
    Exception
        Of the objective, of `observe` or `progress`, as they raise it; its attribute ``partial`` is the `Solution` with what was
        saved up to there, and the state to continue from.

    Examples
    --------
    On E = 2x² gradient descent with η = 0.4 multiplies x by 1 − ηE'' = −0.6:

    >>> parabola = meanfield.landscapes.Landscape(lambda x: 2 * x[0] ** 2)
    >>> solution = solvers.solve(solvers.GradientDescent(0.4), parabola, [1.0], steps=3, eigenvalues=1)
    >>> solution.iterates.ravel().round(12)
    array([ 1.   , -0.6  ,  0.36 , -0.216])
    >>> solution.eigenvalues[-1].round(6)
    array([4.])

    Wrong arguments are named:

    >>> solvers.solve(solvers.GradientDescent(0.4), parabola, [1.0], steps=-1)
    Traceback (most recent call last):
    ...
    ValueError: steps must be an integer from 0 to 9223372036854775807, got -1
    """
    timing = {"steps": steps, "save_every": save_every, "dt": dt, "integrator": integrator}
    timing |= {"eigenvalues": eigenvalues, "eigenvalues_every": eigenvalues_every}
    require_same(objective, _agreed(flow, x0, timing))
    steps, save_every = count("steps", steps, 0, _MOST), count("save_every", save_every, 1, _MOST)
    spectrum = Spectrum(eigenvalues, eigenvalues_every)
    _check_listeners(progress, observe)

    def steps_on(objective: Any) -> Advance:
        return stepper(flow, objective, dt, integrator, steps)

    observed = remembering(objective)
    advance = steps_on(observed)
    status, message = "complete", ""
    with np.errstate(over="ignore", invalid="ignore"), progress_bar(progress, steps) as report:
        state, message = _begun(flow, objective, x0)
        last = state.step + steps
        recorder = Recorder(save_every, state.step, last, stride(dt))
        try:
            state = prepared(flow, observed, state, dt, steps)
            while True:
                observation = Observation(flow, observed, state, goes_on=state.step < last)
                if observe is not None:
                    observe(observation)
                recorder.record(observation, is_last=state.step == last)
                spectrum.record(observation, is_last=state.step == last)
                report(state.step - last + steps, steps)
                if state.step == last:
                    break
                # steps that are not observed may be taken in one call
                if observe is None and steps >= _MANY_STEPS:
                    due = min(recorder.due(state.step), spectrum.due(state.step, last))
                    state = leap(flow, objective, state, due - 1)
                following = advance(state)
                if not all_finite(objective, following.values):
                    raise FloatingPointError(overflow_reason(objective, state, steps_on))
                state = following
        except (FloatingPointError, SchemeError, MemoryError, KeyboardInterrupt) as error:
            if isinstance(error, MemoryError) and is_spread(objective):
                raise  # the other ranks are waiting in the middle of a step
            status, message = _ending(error, state.step)
            recorder.record(Observation(flow, observed, state), is_last=True)
        except Exception as error:  # of the objective, or of what observes
            _keep_in(error, recorder, spectrum, state)
            raise
    return _solution(recorder, spectrum, state, status, message)


def _begun(flow: Flow, objective: Any, x0: Any) -> tuple[State, str]:
    if isinstance(x0, State):
        return resume(flow, objective, x0)
    return start(flow, objective, x0)


def _check_listeners(progress: object, observe: object) -> None:
    if observe is not None:
        checked_function("observe", observe)
    if not callable(progress):
        flag("progress", progress)


def _ending(error: BaseException, step: int) -> tuple[str, str]:
    """Status and message of a run that an error ended after so many steps."""
    match error:
        case KeyboardInterrupt():
            return "interrupted", f"interrupted after step {step}"
        case FloatingPointError():
            return "diverged", f"diverged at step {step + 1}: {error}"
        case MemoryError():
            return "failed", f"failed at step {step + 1}: out of memory: {error}"
        case _:
            return "failed", f"failed at step {step + 1}: {error}"


def _keep_in(error: Exception, recorder: Recorder, spectrum: Spectrum, state: State) -> None:
    """Give an error what was recorded before it, if anything was."""
    if recorder.rows:
        message = f"failed at step {state.step + 1}: {error}"
        with_partial(error, _solution(recorder, spectrum, state, "failed", message))


def _solution(
    recorder: Recorder, spectrum: Spectrum, state: State, status: str, message: str
) -> Solution:
    """What was recorded; a loss that is not finite is a divergence."""
    arrays, scalars = recorder.results()
    finite = np.isfinite(scalars["loss"]) & np.isfinite(scalars["predicted_loss"])
    if status == "complete" and not finite.all():
        step = scalars["time"][np.argmin(finite)]
        status = "diverged"
        message = f"diverged at step {step:.0f}: the loss there is not finite, though the state is"
    return Solution(
        times=scalars["time"],
        centers=arrays["centers"],
        fluctuations=arrays["fluctuations"],
        fluctuation_trace=scalars["fluctuation_trace"],
        losses=scalars["loss"],
        predicted_losses=scalars["predicted_loss"],
        free_energies=scalars["free_energy"],
        dissipated=scalars["dissipated"],
        iterates=arrays.get("iterates"),
        status=status,
        message=message,
        state=state,
        **spectrum.results(),
    )


def _agreed(flow: Flow, x0: Any, timing: Mapping[str, object]) -> str:
    """What ranks that share an objective must agree on; an object whose repr is only its address is described by its class."""
    begun: dict[str, object] = {"begun_at": x0.step} if isinstance(x0, State) else {}
    shown = [repr(flow), *(f"{name}={value!r}" for name, value in {**begun, **timing}.items())]
    return ", ".join(re.sub(r" at 0x[0-9a-f]+", "", text) for text in shown)
