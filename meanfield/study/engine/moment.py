"""A step of a process, where its observables are measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

import solvers
from meanfield.study.engine.meter import Meter
from meanfield.study.storage.observables import Observable


class Moment:
    """What the functions of `meanfield.study.storage.observables` measure: the eigenpairs are found when they are asked for.

    Parameters
    ----------
    observation : solvers.Observation
    readings : mapping
        Counts and seconds of the meter before this step is measured.
    meter : Meter
    eigenvalues : int
        How many.
    start : array or None
        Eigenvectors of the time before.
    """

    def __init__(
        self,
        observation: solvers.Observation,
        readings: Mapping[str, float],
        meter: Meter,
        eigenvalues: int,
        start: Any,
    ) -> None:
        self.observation, self.readings = observation, readings
        self._meter, self._eigenvalues, self._start = meter, eigenvalues, start

    def row(self, observables: Iterable[Observable], when: str) -> dict[str, Any]:
        """Those of the observables that are measured then."""
        return {one.name: one.measure(self) for one in observables if one.when == when}

    @property
    def wall_time(self) -> float:
        """Seconds since the process started, measurements included."""
        return self._meter.wall_time

    @cached_property
    def pairs(self) -> solvers.Eigenpairs:
        """Top of the Hessian's spectrum at the center, from the eigenvectors of the time before."""
        at = self.observation
        return solvers.top_eigenpairs(
            at.objective, at.center, k=self._eigenvalues, start=self._start
        )

    @property
    def vectors(self) -> Any:
        """Eigenvectors to start from the next time; None where they are none."""
        # the order of its sums, too, is to be the same in a run that goes on from a checkpoint
        return np.ascontiguousarray(self.pairs.vectors) if self.pairs.converged else None

    @cached_property
    def iterate_pair(self) -> solvers.Eigenpairs:
        """The top of the spectrum at the iterate, from that at the center, which a run that is resumed has as well."""
        at, vectors = self.observation, self.vectors
        start = None if vectors is None else vectors[:1]
        assert at.iterate is not None, (
            "an observable of iterates is measured of flows that have them"
        )
        return solvers.top_eigenpairs(at.objective, at.iterate, k=1, start=start)
