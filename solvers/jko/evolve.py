"""A Wasserstein gradient flow in one call."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from solvers._support.arguments import count, flag, refusal
from solvers._support.arguments import function as checked_function
from solvers._support.partial import with_partial
from solvers.flow import check_learning_rate
from solvers.jko.evolution import Evolution
from solvers.jko.march import March, Pace, Taken, array_of, with_array
from solvers.jko.movers import Scheme, mover
from solvers.jko.proximal_result import JKOError
from solvers.measures.representations import (
    Grid,
    Measure,
    Particles,
    Quantiles,
    check_positions,
)
from solvers.progress import TICKS, Progress, progress_bar

Observe = Callable[[float, Measure, Any], None]


def evolve(
    energy: Any,
    measure: Measure | ArrayLike,
    t: float,
    step_size: float | None = None,
    order: int = 1,
    tolerance: float | None = None,
    learning_rate: float = 1.0,
    scheme: Scheme | None = None,
    save_every: int = 1,
    progress: bool | Progress = False,
    observe: Observe | None = None,
) -> Evolution:
    """Move a measure along the Wasserstein gradient flow ∂_t μ = η ∇·(μ ∇E'[μ]) by minimising movements over a time t.

    Parameters
    ----------
    energy : Energy, or for particles any objective
        Terms of `solvers.energies`. On particles an `Entropy` is estimated, by default with one bandwidth for all steps, that of
        the start; `PowerEntropy` and the others need a density.
    measure : Quantiles, Grid, Particles or (N, D) positions
        Its kind decides on the scheme: `QuantileJKO`, `GridJKO` or `JKO`.
    t : float
        The time to cover, above 0.
    step_size : float, optional
        τ; the last step is shorter where t is no multiple of it. Either this or `tolerance`.
    order : {1, 2}
        Of the error in τ. Steps of order 2 continue the one before, at the same cost; the first is of order 1.
    tolerance : float, optional
        Choose τ such that W2 between a step of first and one of second order is at most this: twice the work per step, and with
        order=2 a global error about proportional to it.
    learning_rate : float
        η, where no scheme is given.
    scheme : QuantileJKO, GridJKO or JKO, optional
        Its settings, but for the step size, in place of the defaults; with neither step_size nor tolerance, its step size too.
    save_every : int
        Keep the measures of every save_every-th step, of the start and the end.
    progress : bool or callable
        True: a bar with rate and remaining time, on stderr in a terminal; a callable receives (done, total).
    observe : callable, optional
        Called as ``observe(time, measure, step)`` at the start, with None for the step, and after every step with its result;
        the measure is a copy.

    Returns
    -------
    Evolution
        Complete, or up to the step that could not be solved, for which memory did not suffice, or before which Ctrl-C was
        pressed: see its status.

    Raises
    ------
    ValueError
        For a parameter out of range, an energy that the kind of measure does not have, a start of infinite energy.
    Exception
        Of the energy's own functions, of `observe` or `progress`, as they raise it; its attribute ``partial`` is the `Evolution`
        up to there.

    References
    ----------
    Jordan, Kinderlehrer & Otto 1998; Matthes & Plazotta, arXiv:1711.02935 (order 2).

    Examples
    --------
    In the potential ½x² every quantile decays like e^(−t); with steps of order 2 to 4 digits at τ = 0.02:

    >>> bowl = solvers.energies.Potential(lambda x: 0.5 * x[:, 0] ** 2)
    >>> result = solvers.evolve(bowl, solvers.Quantiles([1.0, 2.0]), 1.0, step_size=0.02, order=2)
    >>> result.measures[-1].values.round(3), np.exp(-1.0).round(3)
    (array([0.368, 0.736]), np.float64(0.368))

    Step sizes by a tolerance:

    >>> result = solvers.evolve(bowl, solvers.Quantiles([1.0, 2.0]), 1.0, tolerance=1e-4, order=2)
    >>> result.status, bool(result.errors[1:].max() <= 1e-4)
    ('complete', True)
    """
    measure = _measure(measure)
    save_every = count("save_every", save_every)
    rate = check_learning_rate(learning_rate)
    moving = mover(energy, measure, scheme, rate)
    if scheme is not None:
        rate = scheme.learning_rate
        if step_size is None and tolerance is None:
            step_size = scheme.step_size
    pace = Pace(t, step_size, tolerance, order)
    moving.check(pace.order, pace.tolerance)
    if observe is not None:
        checked_function("observe", observe)
    if not callable(progress):
        flag("progress", progress)
    march = March(moving, measure, pace)
    kept = _Kept(save_every, observe)
    begun = start_energy(moving.energy(measure))
    try:
        kept.begin(measure, begun)
        with progress_bar(progress, pace.steps or TICKS) as report:
            kept.follow(march, report)
    except Exception as error:  # of the energy, or of what observes
        kept.status, kept.message = "failed", failure(kept.times[-1], error)
        with_partial(error, kept.result(march, rate))
        raise
    return kept.result(march, rate)


def start_energy(energy: float) -> float:
    """The energy of a start; a ValueError unless it is finite."""
    if not math.isfinite(energy):
        raise ValueError(f"measure must have a finite energy, got {energy}")
    return energy


def ticks(march: March) -> tuple[int, int]:
    """How much of the way is covered, and the whole, for a progress bar."""
    pace, here = march.pace, march.here
    if pace.steps is not None:
        return here.done, pace.steps
    return min(round(TICKS * here.time / pace.t), TICKS), TICKS


def _measure(measure: Any) -> Measure:
    if isinstance(measure, Quantiles | Grid | Particles):
        return measure
    if isinstance(measure, list | tuple | np.ndarray):
        return Particles(check_positions("measure", measure))
    raise refusal("measure", "a Quantiles, Grid, Particles or positions (N, D)", measure)


@dataclass
class _Kept:
    """What was done so far."""

    save_every: int
    observe: Observe | None
    status: str = "complete"
    message: str = ""
    times: list[float] = field(default_factory=list)
    energies: list[float] = field(default_factory=list)
    rows: list[tuple[float, ...]] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    saved: list[int] = field(default_factory=list)

    def begin(self, measure: Measure, energy: float) -> None:
        self._keep(0.0, measure, energy, None)

    def follow(self, march: March, report: Progress) -> None:
        """Keep the steps until the end, one that cannot be solved, or Ctrl-C."""
        report(*ticks(march))
        try:
            for step in march.steps():
                self.rows.append(numbers(step))
                self._keep(step.time, step.measure, step.energy, step.result)
                report(*ticks(march))
        except KeyboardInterrupt:
            self.status, self.message = "interrupted", f"interrupted at t = {self.times[-1]:.6g}"
        except (JKOError, FloatingPointError, MemoryError) as error:
            self.status, self.message = "failed", failure(self.times[-1], error)

    def _keep(self, time: float, measure: Measure, energy: float, result: Any) -> None:
        self.times.append(time)
        self.energies.append(energy)
        self._last = measure
        if len(self.rows) % self.save_every == 0:
            self.measures.append(measure)
            self.saved.append(len(self.rows))
        if self.observe is not None:
            given = with_array(measure, array_of(measure).copy())
            self.observe(time, given, None if result is None else _ending_in(result, given))

    def result(self, march: March, learning_rate: float) -> Evolution:
        if self.saved[-1] != len(self.rows):
            self.measures.append(self._last)
            self.saved.append(len(self.rows))
        columns = np.array(self.rows, dtype=np.float64).reshape(-1, 6).T.copy()
        return Evolution(
            times=np.array(self.times),
            energies=np.array(self.energies),
            measures=tuple(self.measures),
            saved=np.array(self.saved, dtype=np.intp),
            step_sizes=columns[0],
            transport_costs=columns[1],
            excesses=columns[2],
            residuals=columns[3],
            iterations=columns[4].astype(np.intp),
            errors=columns[5],
            rejected=march.here.rejected,
            learning_rate=learning_rate,
            status=self.status,
            message=self.message,
        )


def _ending_in(result: Any, measure: Measure) -> Any:
    """The result of a step whose state is another copy of the measure."""
    is_measure = isinstance(result.state, Grid | Quantiles)
    return replace(result, state=measure if is_measure else array_of(measure))


def numbers(step: Taken) -> tuple[float, ...]:
    """τ, W2², excess, residual, iterations, and the distance of the two orders."""
    return step[3:9]


def failure(time: float, error: Exception) -> str:
    """The message of an evolution that ended before its time."""
    reason = "out of memory: " if isinstance(error, MemoryError) else ""
    return f"failed at t = {time:.6g}: {reason}{error}"
