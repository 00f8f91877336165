"""Recording of a solution in preallocated arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers._support.arguments import count
from solvers._support.memory import available_memory
from solvers.objective import Array, is_spread
from solvers.spectrum.eigenpairs import top_eigenpairs

# Below this, available memory is not checked.
_WORTH_ASKING = 64 * 2**20
_SCALARS = ("time", "fluctuation_trace", "loss", "predicted_loss", "free_energy", "dissipated")


class Recorder:
    """Keeps every `every`-th observation of a run between two steps, and the first and the last.

    stride : iterations between two observations.
    """

    def __init__(self, every: int, first: int, last: int, stride: int) -> None:
        self.every, self._stop, self._stride = every, last, stride
        after_first = min(last // every - first // every, math.ceil((last - first) / stride))
        self._most = 1 + after_first + (last % every > 0)
        self.rows = 0
        self._saved_step: int | None = None
        self._scalars = np.empty(0)
        self._arrays: dict[str, Array] = {}

    def record(self, observation: Any, is_last: bool) -> None:
        """Record an observation if it is due."""
        o = observation
        if o.step == self._saved_step or (o.step % self.every and not is_last and self.rows):
            return
        scalars = [getattr(o, name) for name in _SCALARS]
        found = {"centers": o.center, "fluctuations": o.fluctuation, "iterates": o.iterate}
        found = {name: np.asarray(array) for name, array in found.items() if array is not None}
        if not self.rows:
            self._allocate(o.objective, found)
        self._scalars[self.rows] = scalars
        for name, array in found.items():
            if array.dtype != self._arrays[name].dtype:  # the objective changed its precision
                common = np.result_type(array, self._arrays[name])
                self._arrays[name] = self._arrays[name].astype(common)
            self._arrays[name][self.rows] = array
        self.rows += 1
        self._saved_step = o.step

    def due(self, step: int) -> int:
        """The next step after this one to be recorded."""
        return min(self._stop, (step // self.every + 1) * self.every)

    def results(self) -> tuple[dict[str, Array], dict[str, NDArray[np.float64]]]:
        """Arrays (rows, …) by name, and scalars (rows,) by name."""
        for array in (self._scalars, *self._arrays.values()):
            if len(array) > self.rows:  # in place; from NumPy 2.5 on with a copy
                array.resize((self.rows, *array.shape[1:]), refcheck=False)
        scalars = self._scalars.T.copy()
        return self._arrays, dict(zip(_SCALARS, scalars, strict=True))

    def _allocate(self, objective: Any, found: dict[str, Array]) -> None:
        row = sum(array.nbytes for array in found.values()) + 8 * len(_SCALARS)
        self._require(objective, row)
        try:
            self._scalars = np.empty((self._most, len(_SCALARS)))
            self._arrays = {
                name: np.empty((self._most, *array.shape), array.dtype)
                for name, array in found.items()
            }
        except (MemoryError, ValueError) as error:  # ValueError: beyond the address space
            raise self._refusal(row, None) from error

    def _require(self, objective: Any, row: int) -> None:
        """Check that there is memory for all rows of this many bytes; on all ranks if the objective is distributed."""
        available = available_memory() if self._most * row > _WORTH_ASKING else None
        lacking = available is not None and self._most * row > available
        if is_spread(objective):
            lacking = objective.largest(float(lacking)) > 0
        if lacking:
            raise self._refusal(row, available)

    def _refusal(self, row: int, available: int | None) -> ValueError:
        there = "that much cannot be had"
        needed = self.every
        if available is not None:
            there = f"{available / 1e9:.3g} GB are available"
            fitting = max(available // row - 2, 1)
            needed = math.ceil((self._most - 2) * self.every / fitting)
        return ValueError(
            f"save_every must be larger, about {max(needed, self.every + 1)} or more, got {self.every}: "
            f"{self._most:,} states of {row / 1e6:.3g} MB are {self._most * row / 1e9:.3g} GB, {there}"
        )


class Spectrum:
    """Measures the largest eigenvalues of the Hessian at every `every`-th step, at the first and the last; none for k = 0."""

    def __init__(self, eigenvalues: int, every: int) -> None:
        self.k = count("eigenvalues", eigenvalues, 0)
        self.every = count("eigenvalues_every", every, 1)
        self._times: list[float] = []
        self._values: list[NDArray[np.float64]] = []
        self._start: Array | None = None

    def record(self, observation: Any, is_last: bool) -> None:
        """Measure them if it is time."""
        o = observation
        if not self.k or (o.step % self.every and not is_last and self._times):
            return
        pairs = top_eigenpairs(o.objective, np.array(o.center), k=self.k, start=self._start)
        self._start = pairs.vectors if pairs.converged else None
        self._times.append(o.time)
        self._values.append(pairs.values)

    def due(self, step: int, last: int) -> int:
        """The next step after this one at which they are measured."""
        return (step // self.every + 1) * self.every if self.k else last

    def results(self) -> dict[str, NDArray[np.float64] | None]:
        """The fields of a `Solution`."""
        if not self.k:
            return {"eigenvalues": None, "eigenvalue_times": None}
        values = np.array(self._values).reshape(-1, self.k)
        return {"eigenvalues": values, "eigenvalue_times": np.array(self._times)}
