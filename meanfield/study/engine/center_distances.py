"""Distances of the centers of a run's processes to those of gradient descent."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

import solvers
from meanfield.study.engine.build import Problem
from meanfield.study.storage.schema import EXACT_W2_PARTICLES, Floats


class Distances:
    """The `COMPARISONS` of two sets of particles (N, D) of a problem."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._problem = problem
        self._n = len(problem.particles(problem.start))
        self._seed = seed

    def between(self, x: Floats, y: Floats, labelled: bool, with_w2: bool) -> dict[str, float]:
        """Distances between particles of equal index, between functions, and between measures.

        The first only where particles are `labelled` alike, the last for many particles only on request.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # the end of a divergence
            distances = {"function_distance": self._problem.function_distance(x, y)}
            if labelled:
                distances["center_distance"] = solvers.transport.coupled_distance(x, y)
        if self._n == 1:  # there is only one coupling
            return distances | {"w2": distances["center_distance"]}
        if with_w2 or self._n <= EXACT_W2_PARTICLES:
            chosen = self._chosen()
            with suppress(solvers.transport.TransportError):  # in the last steps of a divergence
                distances["w2"] = solvers.transport.w2(x[chosen], y[chosen]).distance
        return distances

    def _chosen(self) -> NDArray[np.integer[Any]]:
        """All particles, or the same random `EXACT_W2_PARTICLES` of them for every process."""
        if self._n <= EXACT_W2_PARTICLES:
            return np.arange(self._n)
        rng = np.random.default_rng(self._seed)
        return np.sort(rng.choice(self._n, EXACT_W2_PARTICLES, replace=False))

    @property
    def w2_note(self) -> str:
        """How `w2` was computed."""
        if self._n <= EXACT_W2_PARTICLES:
            return "exact, all particles"
        return f"exact, {EXACT_W2_PARTICLES} random particles, last common time only"
