"""What a solver may ask of an objective."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


@runtime_checkable
class Objective(Protocol):
    """A function E to be minimised, of arrays x of one fixed shape.

    ``gradient(x)`` and ``hvp(x, v)``, the Hessian times v, return arrays shaped like x. Optional: ``third(x, u)`` = ∇³E(x)[u, u]
    (else a central difference of gradients), ``inner(u, v)``, the inner product in which gradient and Hessian are taken (else
    the dot product), and ``minimum``, the infimum of E.
    """

    def value(self, x: Array) -> float: ...
    def gradient(self, x: Array) -> Array: ...
    def hvp(self, x: Array, v: Array) -> Array: ...


def inner(objective: Any, u: Array, v: Array) -> float:
    """⟨u, v⟩ of the objective; the dot product where it has none, summed in an order that no thread count changes."""
    if hasattr(objective, "inner"):
        return float(objective.inner(u, v))
    return float(np.sum(np.multiply(u, v), dtype=np.float64))


def norm(objective: Any, u: Array) -> float:
    """√⟨u, u⟩, safe from underflow and overflow of the squares."""
    scale = float(np.max(np.abs(u), initial=0.0))
    if scale == 0.0 or not np.isfinite(scale):
        return scale
    scaled = u / u.dtype.type(scale)
    return scale * float(np.sqrt(inner(objective, scaled, scaled)))


def third(objective: Any, x: Array, u: Array) -> Array:
    """∇³E(x)[u, u]: the objective's own, else the second central difference of its gradient.

    The step balances truncation h²|u|⁴∇⁵E and rounding ε∇E/h²: h = ε^(1/4) |x| / |u| leaves a relative error of order √ε.
    """
    if hasattr(objective, "third"):
        result: Array = objective.third(x, u)
        return result
    size = norm(objective, u)
    if size == 0.0:
        return np.zeros_like(x)
    h = np.finfo(x.dtype).eps ** 0.25 * (1.0 + norm(objective, x)) / size
    step = x.dtype.type(h) * u
    outer = objective.gradient(x + step) + objective.gradient(x - step)
    difference: Array = (outer - 2 * objective.gradient(x)) / x.dtype.type(h * h)
    return difference
