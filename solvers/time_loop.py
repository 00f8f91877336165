"""The only time loop, and what comes out of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers._support.arguments import count, flag
from solvers._support.arguments import function as checked_function
from solvers._support.reprs import described
from solvers.flow import Flow
from solvers.integrators import Integrator, SchemeError
from solvers.objective import (
    Array,
    all_finite,
    inner,
    is_spread,
    require_same,
    with_own_results,
)
from solvers.overflow import overflow_reason
from solvers.progress import Progress, progress_bar
from solvers.recording import Recorder
from solvers.state import State, resume, start
from solvers.stepping import Advance, leap, prepared, stepper, stride

# From here on steps are worth seconds of compilation, where there is something to compile.
_MANY_STEPS = 50_000
_MOST = 2**63 - 1


class Observation:
    """A run seen at an integer time. Arrays are read off the state; what costs evaluations is computed when first asked for.

    Arrays are read-only: the run goes on with them.
    """

    def __init__(self, flow: Flow, objective: Any, state: State) -> None:
        self.flow = flow
        self._own = with_own_results(objective)
        self._state = state
        self._values = state.values  # objectives need not take arrays that are read-only

    def __repr__(self) -> str:
        return described("Observation", [("flow", self.flow), ("step", self.step)])

    @property
    def objective(self) -> Any:
        """What the flow moves on."""
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
        return float(self._own.value(self._center))

    @cached_property
    def predicted_loss(self) -> float:
        """The loss averaged over the oscillation, by the flow's closure."""
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
        """What flow and scheme tell of their own solution, by ``flow.diagnostic_names``; of steps there are none at the start."""
        at_state = self.flow.diagnostics(self._own, self.step, self._values)
        return at_state | dict(self._state.report)

    @cached_property
    def gradient_norm_sq(self) -> float:
        """|∇E|² at the center, in the objective's inner product."""
        gradient = self._own.gradient(self._center)
        return inner(self._own, gradient, gradient)

    @property
    def dissipated(self) -> float:
        """∫ (dF/dt) dt since the start, by the run's own scheme in time; F(t) − F(0) for the exact flow. NaN for maps."""
        return self._state.dissipated


def _read_only(array: Any) -> Any:
    """A view that cannot be written through; None for None."""
    if array is None:
        return None
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass
class Solution:
    """What `solve` returns. Arrays have the saved times as first axis.

    status : "complete", "diverged" (stopped at the first state that is not finite; or all states are, not all losses), "failed"
    (the scheme in time could not go on, or memory ran out) or "interrupted" (Ctrl-C); message says at which step.
    """

    times: NDArray[np.float64]
    centers: Array  #: (s, *x)
    fluctuations: Array  #: (s, *x) or (s, r, *x)
    fluctuation_trace: NDArray[np.float64]  #: tr Σ
    losses: NDArray[np.float64]  #: E at the center
    predicted_losses: NDArray[np.float64]  #: the loss averaged over the oscillation
    free_energies: NDArray[np.float64]  #: F = predicted loss − tr Σ/η
    dissipated: NDArray[np.float64]  #: ∫ (dF/dt) dt, by the scheme in time; NaN for maps
    iterates: Array | None  #: (s, *x), gradient descent only
    status: str
    message: str
    #: to go on from: ``solve(flow, objective, solution.state, …)``
    state: State = field(repr=False)

    def __repr__(self) -> str:
        """Status and message first, the arrays by their shapes."""
        names = ("status", "message", *(f.name for f in fields(self) if f.repr))
        shown = {name: getattr(self, name) for name in names}
        return described("Solution", shown.items())


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
) -> Solution:
    """Move `flow` on `objective` from x0 for a number of iterations.

    Parameters
    ----------
    flow : Flow
        What moves, e.g. ``FreeEnergyFlow(learning_rate)``.
    objective : Objective
        What it moves on.
    x0 : array or State
        The iterate to start from, or a ``Solution.state`` to go on from; steps are then counted from there. A state of this
        very flow, of the same parameters, goes on bit for bit. Of another one it stands for its iterate x_k = w + (−1)^k u,
        from which this flow starts as from any other iterate: a state of gradient descent of any kind (also of another
        learning rate) or of a flow without fluctuation, for every flow; a state with one fluctuation, for gradient descent.
        Others are refused: between two models of the oscillation there is no such reading.
    steps : int
        Iterations of gradient descent to cover, at least 0.
    save_every : int
        The solution keeps every save_every-th iteration, and the last.
    dt : float, optional
        Step in time of a continuous flow, 1/m for an integer m, or an integer that divides `steps` (for slow flows, which are
        then seen only that often); by default the scheme's. Not for maps and adaptive schemes.
    integrator : Integrator or {"euler", "midpoint", "rk4", "adaptive"}, optional
        Scheme in time of a flow given by an ordinary differential equation; by default `RK4` where dt is given, else the
        flow's own.
    progress : bool or callable
        True: a bar with rate and time left, on stderr where that is a terminal, in a notebook where ipywidgets is installed. A
        callable gets (iterations done, iterations in all) after each, or after many where an objective's `compiled_gradient`
        lets gradient descent take them at once.
    observe : callable, optional
        Called with an `Observation` at every iteration, the start included, whatever save_every is. Its arrays are read-only.

    Returns
    -------
    Solution
        Complete, or up to where it ended: see its status.

    Raises
    ------
    ValueError
        For a start that is empty or not finite, an objective without what the flow needs (or with a Hessian that is not
        symmetric), a solution that is larger than the memory that is available, and arguments outside what is listed; on every
        process, where those that share an objective pass different ones.
    """
    timing = {"steps": steps, "save_every": save_every, "dt": dt, "integrator": integrator}
    require_same(objective, _agreed(flow, x0, timing))
    steps, save_every = count("steps", steps, 0, _MOST), count("save_every", save_every, 1, _MOST)
    if observe is not None:
        checked_function("observe", observe)
    if not callable(progress):
        flag("progress", progress)

    def steps_on(objective: Any) -> Advance:
        return stepper(flow, objective, dt, integrator, steps)

    advance = steps_on(objective)
    observed = with_own_results(objective)
    status, message = "complete", ""
    with np.errstate(over="ignore", invalid="ignore"), progress_bar(progress, steps) as report:
        if isinstance(x0, State):
            state, message = resume(flow, objective, x0)
        else:
            state, message = start(flow, objective, x0)
        last = state.step + steps
        recorder = Recorder(save_every, state.step, last, stride(dt))
        try:
            state = prepared(flow, observed, state, dt, steps)
            while True:
                observation = Observation(flow, observed, state)
                if observe is not None:
                    observe(observation)
                recorder.record(observation, is_last=state.step == last)
                report(state.step - last + steps, steps)
                if state.step == last:
                    break
                # what nobody looks at may pass at once
                if observe is None and steps >= _MANY_STEPS:
                    state = leap(flow, objective, state, recorder.due(state.step) - 1)
                following = advance(state)
                if not all_finite(objective, following.values):
                    raise FloatingPointError(overflow_reason(objective, state, steps_on))
                state = following
        except FloatingPointError as error:
            status, message = "diverged", f"diverged at step {state.step + 1}: {error}"
        except SchemeError as error:
            status, message = "failed", f"failed at step {state.step + 1}: {error}"
        except MemoryError as error:
            if is_spread(objective):  # the other processes are waiting in the middle of a step
                raise
            status, message = "failed", f"failed at step {state.step + 1}: out of memory: {error}"
        except KeyboardInterrupt:
            status, message = "interrupted", f"interrupted after step {state.step}"
        if status != "complete":
            recorder.record(Observation(flow, objective, state), is_last=True)
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
    )


def _agreed(flow: Flow, x0: Any, timing: Mapping[str, object]) -> str:
    """What processes that share an objective must agree about; an object that shows its address only is known by its class."""
    begun: dict[str, object] = {"begun_at": x0.step} if isinstance(x0, State) else {}
    shown = [repr(flow), *(f"{name}={value!r}" for name, value in {**begun, **timing}.items())]
    return ", ".join(re.sub(r" at 0x[0-9a-f]+", "", text) for text in shown)
