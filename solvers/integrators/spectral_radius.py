"""The spectral radius of a velocity's Jacobian, by a nonlinear power iteration."""

from __future__ import annotations

import math

import numpy as np

from solvers.integrators.motion import Motion
from solvers.objective import Array

_TOLERANCE = 0.02


def spectral_radius(
    motion: Motion, t: float, y: Array, f: Array, direction: Array, rounds: int
) -> tuple[float, Array]:
    """An estimate of max |λ| of ∂f/∂y, and the direction from which the next one starts.

    z ← [f(y + δz/|z|) − f(y)]/δ over the stiff parts, in the norm that measures each part in its own unit, until two estimates
    |z| agree or the evaluations, one for each of the `rounds`, are used up. The estimate converges from below where the
    Jacobian is nearly symmetric; the schemes leave a margin above it.

    Parameters
    ----------
    motion : Motion
    t, y, f : float, arrays (m,)
        A time, the vector then, and its velocity.
    direction : array (m,)
        z; the velocity is taken where it is zero.
    rounds : int
    """
    delta = math.sqrt(float(np.finfo(y.dtype).eps))
    units = [unit if unit > 0.0 else 1.0 for unit in motion.units(y)]
    stiff = motion.stiff(y)

    def length(z: Array) -> float:
        sizes = zip(motion.norms(z), units, stiff, strict=True)
        return math.hypot(*(norm / unit for norm, unit, counts in sizes if counts))

    z, size, estimate = direction, length(direction), 0.0
    if size == 0.0:
        z, size = f, length(f)
    for turn in range(rounds):
        if not 0.0 < size < math.inf:
            break
        moved = y.copy()
        for part, along, counts in zip(motion.parts(moved), motion.parts(z), stiff, strict=True):
            if counts:
                part += along * part.dtype.type(delta / size)
        z = (motion.velocity(t, moved) - f) * y.dtype.type(1.0 / delta)
        before, estimate = estimate, length(z)
        size = estimate
        if turn > 0 and abs(estimate - before) <= _TOLERANCE * estimate:
            break
    return estimate, z
