"""Time integrators for ẏ = f(t, y), y a vector. Each declares its order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from solvers._support.arguments import choice, refusal
from solvers.integrators.adaptive import Adaptive
from solvers.integrators.base import Integrator, RightHandSide, SchemeError
from solvers.integrators.chebyshev import Chebyshev
from solvers.integrators.fixed_step import RK4, Euler, Midpoint
from solvers.integrators.rkc import RKC
from solvers.integrators.rock4 import ROCK4
from solvers.integrators.stabilized import Stabilized

__all__ = [
    "INTEGRATORS",
    "RK4",
    "RKC",
    "ROCK4",
    "Adaptive",
    "Chebyshev",
    "Euler",
    "Integrator",
    "Midpoint",
    "RightHandSide",
    "SchemeError",
    "Stabilized",
    "as_integrator",
]

#: Integrators by their names in configurations and ``solve``.
INTEGRATORS: dict[str, Callable[..., Integrator]] = {
    "euler": Euler,
    "midpoint": Midpoint,
    "rk4": RK4,
    "adaptive": Adaptive,
    "rkc": RKC,
    "rock4": ROCK4,
    "chebyshev": Chebyshev,
}


def as_integrator(value: object) -> Integrator:
    """An integrator, given as an object or by name.

    Raises
    ------
    ValueError
        For an unknown name or an object that is not an integrator.
    """
    if isinstance(value, str):
        return INTEGRATORS[choice("integrator", value, INTEGRATORS)]()
    if isinstance(value, type):
        raise refusal("integrator", "an object", value, f"call the class: {value.__name__}()")
    scheme: Any = value
    missing = [name for name in ("default_dt", "entrywise") if not hasattr(value, name)]
    if missing or not callable(getattr(value, "advance", None)):
        names = ", ".join(INTEGRATORS)
        raise refusal("integrator", f"an Integrator, for instance RK4(), or one of {names}", value)
    result: Integrator = scheme
    return result
