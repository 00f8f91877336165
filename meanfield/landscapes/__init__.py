"""Finite-dimensional objectives with known behaviour at the edge of stability, each with a reference experiment.

Each has ``value(x)``, ``gradient(x)``, ``hvp(x, v)`` and ``third(x, u)`` = ∇³E(x)[u, u] of flat arrays, in closed form, and
attributes ``dimension``, ``parameter_names``, ``start`` and ``minimum``. `Landscape` makes one from any Python function.
"""

from __future__ import annotations

from meanfield.landscapes.base import FiniteDimensional, Reference, Scaled, Shifted, Sum
from meanfield.landscapes.classics import Quartic, Rosenbrock, VaryingTrough
from meanfield.landscapes.function import Landscape
from meanfield.landscapes.neurons import LinearNeurons
from meanfield.landscapes.products import (
    DegreeFour,
    LogCoshProduct,
    MatrixFactorization,
    ScalarFactorization,
)
from meanfield.landscapes.valleys import RiverValley, Valley

__all__ = [
    "LANDSCAPES",
    "DegreeFour",
    "FiniteDimensional",
    "Landscape",
    "LinearNeurons",
    "LogCoshProduct",
    "MatrixFactorization",
    "Quartic",
    "Reference",
    "RiverValley",
    "Rosenbrock",
    "ScalarFactorization",
    "Scaled",
    "Shifted",
    "Sum",
    "Valley",
    "VaryingTrough",
]

#: The landscapes with a reference experiment, by the name a configuration gives them.
LANDSCAPES: dict[str, type[Reference]] = {
    "valley": Valley,
    "river_valley": RiverValley,
    "degree_four": DegreeFour,
    "quartic": Quartic,
    "scalar_factorization": ScalarFactorization,
    "matrix_factorization": MatrixFactorization,
    "linear_neurons": LinearNeurons,
    "varying_trough": VaryingTrough,
    "log_cosh_product": LogCoshProduct,
    "rosenbrock": Rosenbrock,
}
