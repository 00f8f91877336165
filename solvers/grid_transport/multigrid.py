"""A multigrid cycle as a preconditioner of κ + stiffness."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from solvers._kernels import multigrid as kernels
from solvers.measures.quantile_functions import Float64

#: Gauss–Seidel sweeps before and after the correction by coarser cells.
_SWEEPS = 1


class _Level(NamedTuple):
    diagonal: Float64
    w: tuple[Float64, Float64, Float64]
    b: Float64
    x: Float64


class Multigrid:
    """r ↦ z ≈ (κ + L)⁻¹ r, symmetric and positive: a V-cycle with red–black Gauss–Seidel sweeps and blocks of two cells per axis.

    κ, and per axis the couplings to the next cell, shaped like the grid of one to three axes.
    """

    def __init__(self, kappa: Float64, couplings: list[Float64]) -> None:
        self._shape = kappa.shape
        shape = (*kappa.shape, *(1,) * (3 - kappa.ndim))
        given = [_writable(part.reshape(shape)) for part in (kappa, *couplings)]
        given += [np.zeros(shape)] * (4 - len(given))
        self._levels: list[_Level] = []
        while True:
            diagonal = np.empty(shape)
            kernels.diagonal_of(*given, diagonal)
            w = (given[1], given[2], given[3])
            self._levels.append(_Level(diagonal, w, np.zeros(shape), np.zeros(shape)))
            if max(shape) == 1:
                break
            shape = tuple((n + 1) // 2 for n in shape)
            coarse = [np.empty(shape) for _ in given]
            for axis, (fine, sums) in enumerate(zip(given, coarse, strict=True), start=-1):
                kernels.coarsen(fine, axis, sums)
            given = coarse

    def __call__(self, r: Float64) -> Float64:
        """z, shaped like r."""
        first = self._levels[0]
        first.b[:] = r.reshape(first.b.shape)
        self._cycle(0)
        return first.x.reshape(self._shape).copy()

    def _cycle(self, depth: int) -> None:
        level = self._levels[depth]
        level.x[:] = 0.0
        for _ in range(_SWEEPS):
            for color in (0, 1):
                kernels.relax(level.diagonal, *level.w, level.b, level.x, color)
        if depth + 1 < len(self._levels):
            coarse = self._levels[depth + 1]
            kernels.restrict(level.diagonal, *level.w, level.b, level.x, coarse.b)
            self._cycle(depth + 1)
            kernels.prolong(coarse.x, level.diagonal, level.x)
        for _ in range(_SWEEPS):
            for color in (1, 0):
                kernels.relax(level.diagonal, *level.w, level.b, level.x, color)


def _writable(values: Float64) -> Float64:
    return np.require(values, dtype=np.float64, requirements=["C", "W"])
