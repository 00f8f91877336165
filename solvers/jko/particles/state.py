"""Particles as the user gives them, and as the steps of a minimising movement use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers._support.arguments import array, probabilities, wrong_shape
from solvers.objective import Array

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ParticleState:
    """positions (N, D), or (w, u) side by side, (N, 2D), float64; weights (N,) > 0; and the user's shape and precision."""

    positions: Float64
    weights: Float64
    dtype: np.dtype[Any]
    single: bool
    saddle: bool

    @classmethod
    def of(
        cls, name: str, value: ArrayLike, weights_name: str, weights: ArrayLike | None, saddle: bool
    ) -> ParticleState:
        """From (N, D), or (D,) for a single particle; with saddle (2, N, D) or (2, D).

        Raises
        ------
        ValueError
            For arrays of other shapes, empty or not finite; weights that are no probabilities or include zeros.
        """
        given = array(name, value)
        dtype, x = given.dtype, np.array(given, dtype=np.float64)
        axes = x.ndim - saddle
        if axes not in (1, 2) or x.size == 0 or (saddle and len(x) != 2):
            needed = "(2, N, D) or (2, D)" if saddle else "(N, D) or (D,)"
            raise wrong_shape(name, f"{needed} with N, D ≥ 1", x.shape)
        if not np.all(np.isfinite(x)):
            raise ValueError(f"{name} must be finite, got positions that are not")
        if axes == 1:
            x = x[..., None, :]
        if saddle:
            x = np.concatenate([x[0], x[1]], axis=1)
        p = probabilities(weights_name, weights, (len(x),))
        massless = int(np.sum(p < np.finfo(np.float64).eps))
        if massless:
            raise ValueError(
                f"{weights_name} must be above 0, got {massless} that are 0 to rounding; leave out particles without mass"
            )
        return cls(x, p, dtype, axes == 1, saddle)

    def check_fits(self, guess: ParticleState) -> None:
        """Raise a ValueError where the guess has particles of another dimension."""
        if guess.single != self.single or guess.positions.shape[1] != self.positions.shape[1]:
            dimension = self.positions.shape[1] // (1 + self.saddle)
            raise ValueError(
                f"guess must have particles of {dimension} coordinates, as the state, got another shape"
            )

    def shaped(self, positions: Float64) -> Array:
        """Positions (M, D) or (M, 2D) in the user's shape and precision."""
        x: Array = positions.astype(self.dtype)
        if self.saddle:
            x = np.stack(np.split(x, 2, axis=1))
        return x[..., 0, :] if self.single else x
