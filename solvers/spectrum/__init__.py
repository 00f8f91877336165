"""The top of the Hessian's spectrum, from Hessian-vector products."""

from solvers.spectrum.complementarity import Complementarity, solve_complementarity
from solvers.spectrum.eigenpairs import Eigenpairs, top_eigenpairs

__all__ = ["Complementarity", "Eigenpairs", "solve_complementarity", "top_eigenpairs"]
