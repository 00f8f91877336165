"""Modes at the edge of stability, and how the Hessian on them changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers._support.threads import one_blas_thread
from solvers.objective import Array, third


class Modes(NamedTuple):
    """The tracked modes at the start of a step."""

    values: NDArray[np.float64]
    vectors: Array  #: and the next one below
    slack: NDArray[np.float64]  #: how far they are below the edge
    turns: Array  #: ∇³E[v_i, v_j] of those that the complementarity problem is about
    fastest: float  #: the largest norm of ∇³E[v_i, v_i]
    active: int  #: the number of those that could reach the edge within the step


def pushed(x: NDArray[np.float64], turns: Array) -> Array:
    """½ Σ_ij X_ij ∇³E[v_i, v_j]."""
    with one_blas_thread():  # the last digits then do not depend on the number of threads
        push: Array = 0.5 * np.tensordot(x, turns, axes=2).astype(turns.dtype)
    return push


def principal(x: NDArray[np.float64], vectors: Array) -> tuple[NDArray[np.float64], Array]:
    """√x_r, largest first, and V q_r, from the eigenpairs of X."""
    variances, q = np.linalg.eigh(x)
    with one_blas_thread():
        turned = np.tensordot(q.T[::-1], vectors, axes=1).astype(vectors.dtype)
    return np.sqrt(np.maximum(variances[::-1], 0.0)), turned


def third_derivatives(
    objective: Any, w: Array, vectors: Array, squares: Sequence[Array] | None = None
) -> Array:
    """∇³E(w)[v_i, v_j], (k, k, *x), by polarisation; `squares` are the known ∇³E[v_i, v_i]."""
    k = len(vectors)
    turns = np.empty((k, k, *w.shape), w.dtype)
    for i in range(k):
        turns[i, i] = third(objective, w, vectors[i]) if squares is None else squares[i]
    for i in range(k):
        for j in range(i):
            both = third(objective, w, vectors[i] + vectors[j])
            turns[i, j] = turns[j, i] = 0.5 * (both - turns[i, i] - turns[j, j])
    return turns
