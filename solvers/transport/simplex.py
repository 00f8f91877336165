"""The network simplex of POT."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from solvers.measures.quantile_functions import Float64
from solvers.transport.exact import SimplexSolution


def network_simplex(
    limit: int, costs: Float64, supplies: Float64, demands: Float64
) -> SimplexSolution:
    """Of at most `limit` iterations, between integer supplies and demands of equal sums; costs (n, m)."""
    from solvers.transport._pot import ot

    with _quiet():
        plan, log = ot.emd(
            supplies,
            demands,
            costs,
            numItermax=limit,
            log=True,
            center_dual=False,  # `certify` does
            check_marginals=False,  # the units have equal sums
        )
    masses = plan.ravel()
    pairs = np.flatnonzero(masses > 0)  # of booleans, four times faster
    rows, columns = np.divmod(pairs, plan.shape[1])
    return SimplexSolution(rows, columns, masses[pairs], log["u"], log["warning"], plan)


def lazy_simplex(
    limit: int, x: Float64, y: Float64, supplies: Float64, demands: Float64
) -> SimplexSolution:
    """The same for costs |x_i − y_j|², which are computed whenever they are used."""
    from scipy.sparse import coo_array

    from solvers.transport._pot import ot

    with _quiet():
        _, log = ot.emd2_lazy(
            x, y, supplies, demands, numItermax=limit, log=True, return_matrix=True
        )
    plan = coo_array(log["G"])
    return SimplexSolution(plan.row, plan.col, plan.data, log["u"], log["warning"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence POT's warnings, which are also in its log and are read there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
