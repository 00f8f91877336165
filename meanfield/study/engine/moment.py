"""Measuring the observables of a process at a step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

import solvers
from meanfield.study.engine.counting import CountingObjective
from meanfield.study.storage.observables import Observable


class Moment:
    """The argument of the functions of `meanfield.study.storage.observables`; eigenpairs are computed on first use.

    Parameters
    ----------
    observation : solvers.Observation
    readings : mapping
        Counts and seconds before this step is measured.
    counting : CountingObjective
    eigenvalues : int
        Number of eigenvalues.
    start : array or None
        Eigenvectors of the previous measurement.
    """

    def __init__(
        self,
        observation: solvers.Observation,
        readings: Mapping[str, float],
        counting: CountingObjective,
        eigenvalues: int,
        start: Any,
    ) -> None:
        self.observation, self.readings = observation, readings
        self._counting, self._eigenvalues, self._start = counting, eigenvalues, start

    def row(self, observables: Iterable[Observable], when: str) -> dict[str, Any]:
        """The values of the observables measured at these times."""
        return {one.name: one.measure(self) for one in observables if one.when == when}

    @property
    def wall_time(self) -> float:
        """Seconds since the process started, measurements included."""
        return self._counting.wall_time

    @cached_property
    def pairs(self) -> solvers.Eigenpairs:
        """Top of the Hessian's spectrum at the center, starting from the previous eigenvectors."""
        at = self.observation
        return solvers.top_eigenpairs(
            at.objective, at.center, k=self._eigenvalues, start=self._start
        )

    @property
    def vectors(self) -> Any:
        """Eigenvectors for the next start; None if they did not converge."""
        # contiguous, so that the order of sums is the same in a resumed run
        return np.ascontiguousarray(self.pairs.vectors) if self.pairs.converged else None

    @property
    def effective_sharpness(self) -> float:
        """λ₁(P⁻¹H) at the center over the flow's threshold."""
        at = self.observation
        return solvers.effective_sharpness(at.flow, at.objective, at.state, self.pairs)

    @property
    def batch_sharpness(self) -> float:
        """That of the batches from the next step on."""
        at = self.observation
        flow: Any = at.flow.at(at.step)
        return solvers.batch_sharpness(flow, at.objective, at.state)

    @cached_property
    def iterate_pair(self) -> solvers.Eigenpairs:
        """The top of the spectrum at the iterate, starting from that at the center, which a resumed run has as well."""
        at, vectors = self.observation, self.vectors
        start = None if vectors is None else vectors[:1]
        assert at.iterate is not None, (
            "an observable of iterates is measured of flows that have them"
        )
        return solvers.top_eigenpairs(at.objective, at.iterate, k=1, start=start)
