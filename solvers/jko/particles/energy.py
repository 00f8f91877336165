"""An energy of weighted particles, as used by the steps of a minimising movement."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from solvers._support.arguments import wrong_shape
from solvers.objective import Array

Float64 = NDArray[np.float64]


class ParticleEnergy:
    """E + T Ent on particles x (N, D) of weights p (N,), with its Wasserstein gradient and Hessian.

        inner(u, v) = Σ_i p_i u_i·v_i,    d/dε E[x + εv] = inner(gradient(x), v),    d/dε gradient(x + εv) = hvp(x, v)

    All arrays are float64; the objective is called in the precision of the state, with the weights if the user gave any,
    and with arrays (D,) if it is an objective of a single point.

    Parameters
    ----------
    objective, entropy : objects with ``value``, ``gradient`` and, where they can, ``hvp``
        Without an hvp the Hessian is a central difference of gradients. The entropy is not called at temperature 0.
    weights : (N,), of sum one
    pass_weights, single : bool
    dtype : the state's
    """

    def __init__(
        self,
        objective: Any,
        weights: Float64,
        pass_weights: bool = False,
        single: bool = False,
        dtype: DTypeLike = np.float64,
        temperature: float = 0.0,
        entropy: Any = None,
    ) -> None:
        self.weights = weights
        self._objective = objective
        self._keywords = {"weights": weights} if pass_weights else {}
        self._single = single
        self._dtype = np.dtype(dtype)
        self._temperature = temperature
        self._entropy = entropy

    @property
    def has_hvp(self) -> bool:
        """Whether the Hessian is exact."""
        parts = [self._objective] + [self._entropy] * (self._temperature > 0)
        return all(callable(getattr(part, "hvp", None)) for part in parts)

    @property
    def eps(self) -> float:
        """Unit roundoff of the state, at least that of float64."""
        return float(np.finfo(self._dtype).eps)

    def value(self, x: Array) -> float:
        """E + T Ent, possibly ∞."""
        value = float(self._objective.value(self._plain(x), **self._keywords))
        if self._temperature > 0:
            value += self._temperature * float(self._entropy.value(x, weights=self.weights))
        return value

    def gradient(self, x: Array) -> Float64:
        """∇(δ/δμ)(E + T Ent) at the particles, (N, D)."""
        gradient = self._shaped(self._objective.gradient(self._plain(x), **self._keywords), x)
        if self._temperature > 0:
            try:
                entropic = self._entropy.gradient(x, weights=self.weights)
            except ValueError as error:  # coinciding particles have no gradient
                raise FloatingPointError(str(error)) from error
            gradient = gradient + self._temperature * entropic
        return gradient

    def hvp(self, x: Array, v: Array) -> Float64:
        """The derivative of the gradient along v, (N, D); a FloatingPointError for one that is not finite."""
        if not np.all(np.isfinite(v)):
            raise FloatingPointError("the direction of a product with the Hessian is not finite")
        if not self.has_hvp:
            return self._difference(x, v)
        image = self._objective.hvp(self._plain(x), self._plain(v), **self._keywords)
        product = self._shaped(image, x)
        if self._temperature > 0:
            product = product + self._temperature * self._entropy.hvp(x, v, weights=self.weights)
        return product

    def rounded(self, x: Float64) -> Float64:
        """x rounded to the state's precision."""
        return x.astype(self._dtype).astype(np.float64)

    def inner(self, u: Array, v: Array) -> float:
        """Σ_i p_i u_i·v_i."""
        return float(self.weights @ np.sum(u * v, axis=1))

    def norm(self, u: Array) -> float:
        """√inner(u, u), safe from underflow."""
        largest = float(np.max(np.abs(u), initial=0.0))
        if largest == 0.0 or not np.isfinite(largest):
            return largest
        return largest * float(np.sqrt(self.inner(u / largest, u / largest)))

    def _plain(self, x: Array) -> Array:
        """x in the shape and precision that the objective expects."""
        plain: Array = x.astype(self._dtype, copy=False)
        return plain[0] if self._single else plain

    def _shaped(self, values: Any, x: Array) -> Float64:
        """The objective's result as (N, D) in float64."""
        array = np.array(values, dtype=np.float64)  # a copy: the objective may reuse the array
        if self._single:
            array = array[None]
        if array.shape != x.shape:
            line = "a state (D,) is one particle, N on a line are (N, 1)" if self._single else ""
            raise wrong_shape("objective.gradient and objective.hvp", x.shape, array.shape, line)
        return array

    def _difference(self, x: Array, v: Array) -> Float64:
        """(∇E(x + hv) − ∇E(x − hv)) / 2h.

        Positions are rounded by ε|x|, the derivatives of E may change over lengths of one: truncation (h|v|)² and rounding
        ε|x|/h|v| balance at h|v| of order (ε|x|)^(1/3), for distant particles as for the others.
        """
        size = self.norm(v)
        if size == 0.0:
            return np.zeros_like(x)
        h = (self.eps * (1.0 + float(np.max(np.abs(x))))) ** (1 / 3) / size
        return (self.gradient(x + h * v) - self.gradient(x - h * v)) / (2.0 * h)
