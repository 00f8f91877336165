"""What a stabilised scheme moves: a vector made of parts, each with a size of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from solvers.integrators.base import RightHandSide
from solvers.objective import Array


class Motion(Protocol):
    """ẏ = f(t, y) for a vector y whose parts are measured apart, as center and fluctuation are."""

    def velocity(self, t: float, y: Array) -> Array:
        """f(t, y), a new array."""

    def parts(self, y: Array) -> Sequence[Array]:
        """Views of the parts of y, or of anything shaped like y."""

    def norms(self, y: Array) -> list[float]:
        """The norm of each part."""

    def units(self, y: Array) -> list[float]:
        """The size of each part of y to which its errors are compared."""

    def stiff(self, y: Array) -> list[bool]:
        """Whether perturbations of each part may decay fast."""

    def growths(self, y: Array, f: Array) -> list[float]:
        """The rate at which each part grows as a whole, ⟨y, f⟩/|y|²; zero where it is not measured by its logarithm."""


class Plain:
    """The motion of a vector of one part."""

    def __init__(self, f: RightHandSide) -> None:
        self.velocity = f

    def parts(self, y: Array) -> Sequence[Array]:
        return (y,)

    def norms(self, y: Array) -> list[float]:
        return [float(np.sqrt(np.mean(np.square(y, dtype=np.float64))))]

    def units(self, y: Array) -> list[float]:
        return self.norms(y)

    def stiff(self, y: Array) -> list[bool]:
        return [True]

    def growths(self, y: Array, f: Array) -> list[float]:
        return [0.0]


class Comoving:
    """The same motion in variables that move along with each part's growth, v = e^{−μτ} y, τ the time since t.

    v̇ = e^{−μτ} f(t + τ, e^{μτ} v) − μv. A part that grows or decays as a whole then stands still: its logarithm is right in steps
    far longer than the part's own time scale, and it may span any number of orders of magnitude.
    """

    # e^{μτ} within e^±20: it neither overflows nor takes v out of the range of float32
    _MOST = 20.0

    def __init__(self, motion: Motion, t: float, y: Array, f: Array, size: float) -> None:
        most = self._MOST / size
        self._motion, self._t = motion, t
        self._growths = [min(max(mu, -most), most) for mu in motion.growths(y, f)]
        self.fastest = max(0.0, *self._growths)

    def carried(self, y: Array, tau: float) -> Array:
        """e^{μτ} y: y at a time τ from v there, or v from y for −τ."""
        if not any(self._growths):
            return y
        carried = y.copy()
        for part, mu in zip(self._motion.parts(carried), self._growths, strict=True):
            if mu != 0.0:
                part *= part.dtype.type(math.exp(mu * tau))
        return carried

    def entered(self, f: Array, v: Array, tau: float) -> Array:
        """v̇ = e^{−μτ} f − μv, from the velocity f there."""
        return self._changed(f, v, lambda g, v, mu: math.exp(-mu * tau) * g - mu * v)

    def left(self, velocity: Array, v: Array, tau: float) -> Array:
        """f = e^{μτ} (v̇ + μv), from v̇ and v."""
        return self._changed(velocity, v, lambda g, v, mu: math.exp(mu * tau) * (g + mu * v))

    def _changed(self, f: Array, v: Array, change: Callable[..., Array]) -> Array:
        if not any(self._growths):
            return f
        changed = f.copy()
        parts = zip(self._motion.parts(changed), self._motion.parts(v), self._growths, strict=True)
        for part, still, mu in parts:
            if mu != 0.0:
                part[...] = change(part, still, mu)
        return changed

    def velocity(self, tau: float, v: Array) -> Array:
        """v̇ at a time τ from the beginning of the step."""
        return self.entered(self._motion.velocity(self._t + tau, self.carried(v, tau)), v, tau)
