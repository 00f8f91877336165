"""The network simplex of POT."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from solvers._support.interruptible import interruptible
from solvers.measures.quantile_functions import Float64
from solvers.transport.exact import Indices, SimplexSolution

#: From so many pairs on the simplex may take long, and ends by Ctrl-C.
_LONG = 2**18


def network_simplex(
    limit: int, costs: Float64, supplies: Float64, demands: Float64
) -> SimplexSolution:
    """Of at most `limit` iterations, between integer supplies and demands of equal sums; costs (n, m)."""
    from solvers.transport._pot import ot

    with _quiet():
        plan, log = _run(
            costs.size,
            partial(
                ot.emd,
                supplies,
                demands,
                costs,
                numItermax=limit,
                log=True,
                center_dual=False,  # `certify` does
                check_marginals=False,  # the units have equal sums
            ),
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
        options = {"numItermax": limit, "log": True, "return_matrix": True}
        _, log = _run(len(x) * len(y), partial(ot.emd2_lazy, x, y, supplies, demands, **options))
    plan = coo_array(log["G"])
    return SimplexSolution(plan.row, plan.col, plan.data, log["u"], log["warning"])


class SparseSolution(NamedTuple):
    """Masses of pairs, potentials of the rows and of the columns, and a warning if the simplex did not finish."""

    rows: Indices
    columns: Indices
    masses: Float64
    u: Float64
    v: Float64
    warning: str | None


def sparse_simplex(
    limit: int,
    costs: Float64,
    rows: Indices,
    columns: Indices,
    supplies: Float64,
    demands: Float64,
) -> SparseSolution:
    """The same where only the pairs (rows, columns) may be used, with costs (pairs,)."""
    from scipy.sparse import coo_array

    from solvers.transport._pot import ot

    # A cost of 0 would be a pair that is not there.
    given = coo_array((costs + 1.0, (rows, columns)), shape=(len(supplies), len(demands)))
    with _quiet():
        found, log = _run(
            len(costs),
            partial(
                ot.emd,
                supplies,
                demands,
                given,
                numItermax=limit,
                log=True,
                center_dual=False,
                check_marginals=False,
            ),
        )
    plan = coo_array(found)
    used = plan.data > 0
    u, v = np.asarray(log["u"]), np.asarray(log["v"]) - 1.0
    return SparseSolution(plan.row[used], plan.col[used], plan.data[used], u, v, log["warning"])


def _run(pairs: int, solve: Callable[[], Any]) -> Any:
    return interruptible(solve) if pairs >= _LONG else solve()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence POT's warnings, which are also in its log and are read there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
