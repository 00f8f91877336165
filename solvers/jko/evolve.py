"""A Wasserstein gradient flow in one call."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from solvers._support.arguments import count, flag, real, refusal
from solvers._support.arguments import function as checked_function
from solvers.flow import check_learning_rate
from solvers.jko.evolution import Evolution
from solvers.jko.movers import Moved, Mover, Scheme, mover
from solvers.jko.proximal_result import JKOError
from solvers.measures.representations import (
    Grid,
    Measure,
    Particles,
    Quantiles,
    check_positions,
)
from solvers.progress import Progress, progress_bar

#: The first step of an adaptive run is a fraction of the time; bounds of the change of a step, and its safety factor.
_FIRST, _SHRINK, _GROW, _SAFETY = 0.02, 0.1, 1.5, 0.9
#: The shortest step, relative to the time, and the ticks of the progress bar where their number is not known.
_SHORTEST, _TICKS = 1e-9, 1000

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
        Called as ``observe(time, measure, step)`` at the start, with None for the step, and after every step with its result.

    Returns
    -------
    Evolution
        Complete, or up to the step that could not be solved: see its status.

    Raises
    ------
    ValueError
        For a parameter out of range, an energy that the kind of measure does not have, a start of infinite energy.

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
    t = real("t", t, above=0)
    order = count("order", order, 1, 2)
    save_every = count("save_every", save_every)
    rate = check_learning_rate(learning_rate)
    moving = mover(energy, measure, scheme, rate)
    if scheme is not None:
        rate = scheme.learning_rate
        if step_size is None and tolerance is None:
            step_size = scheme.step_size
    sizes = _sizes(t, step_size, tolerance)
    if observe is not None:
        checked_function("observe", observe)
    if not callable(progress):
        flag("progress", progress)
    start = moving.energy(measure)
    if not math.isfinite(start):
        raise ValueError(f"measure must have a finite energy, got {start}")
    run = _Run(moving, t, order, save_every, observe, measure, start)
    total = _TICKS if sizes is None else len(sizes)
    with progress_bar(progress, total) as report:
        report(0, total)
        try:
            if sizes is None:
                assert tolerance is not None
                run.adapt(tolerance, report)
            else:
                run.march(sizes, report)
        except KeyboardInterrupt:
            run.status, run.message = "interrupted", f"interrupted at t = {run.time:.6g}"
        except (JKOError, FloatingPointError) as error:
            run.status, run.message = "failed", f"failed at t = {run.time:.6g}: {error}"
    return run.result(rate)


def _measure(measure: Any) -> Measure:
    if isinstance(measure, Quantiles | Grid | Particles):
        return measure
    if isinstance(measure, list | tuple | np.ndarray):
        return Particles(check_positions("measure", measure))
    raise refusal("measure", "a Quantiles, Grid, Particles or positions (N, D)", measure)


def _sizes(t: float, step_size: float | None, tolerance: float | None) -> list[float] | None:
    """The sizes of all steps; None where they are chosen by a tolerance."""
    if (step_size is None) == (tolerance is None):
        raise ValueError(
            f"step_size must be given, or a tolerance but not both, got step_size = {step_size} and tolerance = {tolerance}"
        )
    if step_size is None:
        real("tolerance", tolerance, above=0)
        return None
    tau = real("step_size", step_size, above=0)
    if t / tau > 1e9:
        raise refusal("step_size", f"at least {t / 1e9:g}, a billionth of t", tau)
    whole = math.floor(t / tau * (1 + 1e-12))
    rest = t - whole * tau
    return [tau] * whole + ([rest] if rest > 1e-9 * tau else [])


@dataclass
class _Run:
    """What was done so far."""

    mover: Mover
    t: float
    order: int
    save_every: int
    observe: Observe | None
    measure: Measure
    start: float
    time: float = 0.0
    last: Moved | None = None
    rejected: int = 0
    status: str = "complete"
    message: str = ""
    times: list[float] = field(default_factory=list)
    energies: list[float] = field(default_factory=list)
    rows: list[tuple[float, float, float, float, int, float]] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    saved: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._begin = self.measure
        self._keep(self.start, None)

    def march(self, sizes: list[float], report: Progress) -> None:
        """Steps of given sizes."""
        for done, tau in enumerate(sizes, start=1):
            step = self.mover.move(self.measure, tau, self.last if self.order == 2 else None)
            self._accept(step, math.nan)
            report(done, len(sizes))

    def adapt(self, tolerance: float, report: Progress) -> None:
        """Steps whose two orders differ by at most the tolerance."""
        tau = _FIRST * self.t
        while self.time < self.t * (1 - 1e-12):
            rest = self.t - self.time
            tau = rest if tau > 0.999 * rest else min(tau, 0.5 * rest) if tau > 0.5 * rest else tau
            try:
                step, error = self._both(tau)
            except (JKOError, FloatingPointError):
                if tau <= _SHORTEST * self.t:
                    raise
                self.rejected += 1
                tau *= 0.5
                continue
            factor = _SAFETY * math.sqrt(tolerance / error) if error > 0 else _GROW
            if not self.rows:  # not compared with anything
                factor = 1.0
            if error > tolerance:
                self.rejected += 1
                if len(self.rows) == 1:  # the first step was not checked
                    self._again()
                tau *= max(factor, _SHRINK)
                continue
            self._accept(step, error)
            report(min(round(_TICKS * self.time / self.t), _TICKS), _TICKS)
            tau *= min(max(factor, _SHRINK), _GROW)

    def _both(self, tau: float) -> tuple[Moved, float]:
        first = self.mover.move(self.measure, tau, None)
        if self.last is None:
            return first, 0.0
        second = self.mover.move(self.measure, tau, self.last)
        return (second if self.order == 2 else first), self.mover.distance(first, second)

    def _again(self) -> None:
        """From the start."""
        self.time, self.last, self.measure = 0.0, None, self._begin
        for kept in (self.times, self.energies, self.measures, self.saved):
            del kept[1:]
        self.rows.clear()

    def _accept(self, step: Moved, error: float) -> None:
        self.last, self.measure = step, step.measure
        tau = step.step_size
        near = abs(self.time + tau - self.t) <= 1e-12 * self.t
        self.time = self.t if near else self.time + tau
        residual = float(step.result.residual)
        self.rows.append((tau, step.cost, step.excess, residual, step.iterations, error))
        self._keep(step.energy, step.result)

    def _keep(self, energy: float, result: Any) -> None:
        self.times.append(self.time)
        self.energies.append(energy)
        if len(self.rows) % self.save_every == 0:
            self.measures.append(self.measure)
            self.saved.append(len(self.rows))
        if self.observe is not None:
            self.observe(self.time, self.measure, result)

    def result(self, learning_rate: float) -> Evolution:
        if self.saved[-1] != len(self.rows):
            self.measures.append(self.measure)
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
            rejected=self.rejected,
            learning_rate=learning_rate,
            status=self.status,
            message=self.message,
        )
