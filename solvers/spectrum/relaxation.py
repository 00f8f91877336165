"""Motion along eigenvectors of the Hessian that is too fast for an explicit step: integrated exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers._support.threads import one_blas_thread
from solvers.objective import Array, inner


class Relaxation:
    """ẏ = −Λy with Λ = Σ_i λ_i v_i v_i*, of orthonormal v_i (k, *x) and rates λ_i > 0 (k)."""

    def __init__(self, objective: Any, vectors: Array, rates: NDArray[np.float64]) -> None:
        self._objective, self._vectors, self._rates = objective, vectors, rates

    def mean(self, z: Array, time: float) -> Array:
        """The mean of e^{−Λt} z over 0 < t < `time`."""
        s = self._rates * time
        return self._along(z, -np.expm1(-s) / s - 1.0, z)

    def product(self, z: Array) -> Array:
        """Λz."""
        return self._along(z, self._rates, np.zeros_like(z))

    def _along(self, z: Array, factors: NDArray[np.float64], beside: Array) -> Array:
        for factor, v in zip(factors, self._vectors, strict=True):
            beside = beside + z.dtype.type(factor * inner(self._objective, v, z)) * v
        return beside


def transported(objective: Any, vectors: Array, before: Array) -> Array:
    """The orthonormal basis of the span of `vectors` that is closest to the one `before`: the parallel transport of that one."""
    overlaps = np.array([[inner(objective, b, v) for v in vectors] for b in before])
    left, _, right = np.linalg.svd(overlaps.reshape(len(before), len(vectors)))
    with one_blas_thread():
        moved: Array = np.tensordot((left @ right).astype(vectors.dtype), vectors, axes=1)
    return moved
