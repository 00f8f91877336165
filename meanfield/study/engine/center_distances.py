"""Distances of the centers of a study's processes to those of gradient descent."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

import solvers
from meanfield.study.engine.build import Problem
from meanfield.study.storage.layout import EXACT_W2_PARTICLES, Floats


class Distances:
    """The `COMPARISONS` of two sets of particles (N, D) of a problem."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._problem = problem
        self._n = len(problem.particles(problem.start))
        self._seed = seed

    def between(self, x: Floats, y: Floats, labelled: bool, with_w2: bool) -> dict[str, float]:
        """Distance particle by particle, of functions, and of measures.

        The first where particles are `labelled` alike, the last for many particles only if it is asked for.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # the end of a divergence
            distances = {"function_distance": self._problem.function_distance(x, y)}
            if labelled:
                distances["center_distance"] = solvers.transport.coupled_distance(x, y)
        if self._n == 1:  # there is one way to couple them
            return distances | {"w2": distances["center_distance"]}
        if with_w2 or self._n <= EXACT_W2_PARTICLES:
            chosen = self._chosen()
            with suppress(solvers.transport.TransportError):  # of a divergence's last steps
                distances["w2"] = solvers.transport.w2(x[chosen], y[chosen]).distance
        return distances

    def _chosen(self) -> NDArray[np.integer[Any]]:
        """All particles, or the same random `EXACT_W2_PARTICLES` of them in every process."""
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
