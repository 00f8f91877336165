"""Newton's method with a Krylov solver, for the equations of an implicit step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, cg, gmres

Vector = NDArray[np.float64]

# Products with J per Newton step. The equations of an implicit step are the identity plus a contribution of the forces.
_PRODUCTS, _KRYLOV_SIZE = 400, 40
_HALVINGS = 10


def newton_krylov(
    residual: Callable[[Vector], Vector],
    product: Callable[[Vector, Vector], Vector],
    z: Vector,
    symmetric: bool,
    max_iterations: int,
) -> tuple[Vector, float, int]:
    """A point z with |r(z)| ≤ 1, by z ← z + s d with J(z) d = −r(z), solved to a tolerance that decreases with |r|.

    s is 1, or the first of its halvings that decreases |r|.

    Parameters
    ----------
    residual : z (k,) -> r (k,), in units of the tolerance; FloatingPointError where it does not exist.
    product : z, v -> J(z) v.
    symmetric : bool
        Whether J is symmetric and positive (conjugate gradients) or not (GMRES).
    max_iterations : int

    Returns
    -------
    z, |r(z)|, iterations
        Where no halving decreases |r|, the last z, with |r| above 1.
    """
    r = residual(z)
    start = here = float(np.linalg.norm(r))
    for iteration in range(max_iterations):
        if not here > 1.0:
            return z, here, iteration
        # No more accurate than Newton's next |r| can be, which decreases by a tenth at first and quadratically later.
        tolerance = max(0.1 / here, min(0.1, here / start * 1e-3))
        direction = _solve(product, z, -r, tolerance, symmetric)
        found = _descend(residual, z, direction, here)
        if found is None:
            return z, here, iteration
        z, r = found
        here = float(np.linalg.norm(r))
    return z, here, max_iterations


def _solve(
    product: Callable[[Vector, Vector], Vector],
    z: Vector,
    right: Vector,
    tolerance: float,
    symmetric: bool,
) -> Vector:
    operator = LinearOperator((z.size, z.size), matvec=lambda v: product(z, v), dtype=np.float64)
    # The result at the iteration limit is still a direction: the residual shows whether it is one of descent.
    if symmetric:
        solution, _ = cg(operator, right, rtol=tolerance, maxiter=_PRODUCTS)
    else:
        solution, _ = gmres(
            operator,
            right,
            rtol=tolerance,
            restart=min(_KRYLOV_SIZE, z.size),
            maxiter=_PRODUCTS // _KRYLOV_SIZE,
        )
    vector: Vector = solution
    return vector


def _descend(
    residual: Callable[[Vector], Vector], z: Vector, direction: Vector, here: float
) -> tuple[Vector, Vector] | None:
    """z + s d and its residual, for the first s = 1, ½, ¼, … that decreases it by a fraction of s."""
    s = 1.0
    for _ in range(_HALVINGS):
        candidate = z + s * direction
        try:
            r = residual(candidate)
        except FloatingPointError:
            r = np.full_like(z, np.inf)
        if np.linalg.norm(r) < (1.0 - 1e-3 * s) * here:
            return candidate, r
        s *= 0.5
    return None
