"""The optimal plan between the particles before and after a step."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array

from solvers.jko.particles.identity_plan import identity_is_optimal, position_rounding
from solvers.measures.quantile_functions import aligned, cumulated

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Plan:
    """Masses P_ij ≥ 0 transported from the old particle y_j to the new one x_i, P 1 = p and Pᵀ 1 = q.

    weights : p (m,). matrix : P (m, n); None: the identity, x_i from y_i alone.
    """

    weights: Float64
    matrix: csr_array | None = None

    @property
    def is_identity(self) -> bool:
        """Whether every particle is transported from the old one of the same index."""
        return self.matrix is None

    def project(self, y: Float64) -> Float64:
        """Barycentric projection ȳ_i = Σ_j P_ij y_j / p_i (m, D) of old positions y (n, D)."""
        if self.matrix is None:
            return y
        projected: Float64 = (self.matrix @ y) / self.matrix.sum(axis=1)[:, None]
        return projected

    def cost(self, x: Float64, y: Float64) -> float:
        """Σ_ij P_ij |x_i − y_j|² of new positions x (m, D) and old ones y (n, D)."""
        if self.matrix is None:
            return float(self.weights @ np.sum((x - y) ** 2, axis=1))
        entries = self.matrix.tocoo()
        squared = np.sum((x[entries.row] - y[entries.col]) ** 2, axis=1)
        return float(entries.data @ squared)

    def after(self, earlier: Plan) -> Plan:
        """The composition of two plans, glued at their common marginal: P_ij = Σ_k P_ik P'_kj / p'_k."""
        if self.matrix is None:
            return earlier
        if earlier.matrix is None:
            return self
        return Plan(
            self.weights,
            csr_array(self.matrix @ diags_array(1.0 / earlier.weights) @ earlier.matrix),
        )


def optimal_plan(x: Float64, y: Float64, p: Float64, q: Float64, max_iterations: int) -> Plan:
    """A plan P of minimal cost Σ_ij P_ij |x_i − y_j|² between Σ_i p_i δ_{x_i} and Σ_j q_j δ_{y_j}.

    The identity wherever it is optimal; on the line the monotone plan. Exact transport (`solvers.transport.w2`) is called only
    otherwise.

    Raises
    ------
    TransportError
        When the network simplex reaches max_iterations, or its plan is not proved optimal.
    """
    can_be_identity = len(p) == len(q) and np.array_equal(p, q)
    if can_be_identity and identity_is_optimal(x, y):
        return Plan(p)
    if x.shape[1] == 1:
        return Plan(p, _monotone(x[:, 0], y[:, 0], p, q))
    plan = _exact(x, y, p, q, max_iterations)
    if can_be_identity and _is_identity_but_for_rounding(plan, x, y):
        return Plan(p)
    return plan


def _is_identity_but_for_rounding(plan: Plan, x: Float64, y: Float64) -> bool:
    """Whether an optimal plan saves no more than the rounding of positions, over the particles not mapped by the identity.

    The others, which may be much farther apart, are left out.
    """
    assert plan.matrix is not None
    p = plan.weights
    sent = np.flatnonzero(plan.matrix.diagonal() < p)
    rows = plan.matrix[sent].tocoo()
    least = rows.data @ np.sum((x[sent][rows.row] - y[rows.col]) ** 2, axis=1)
    of_identity = p[sent] @ np.sum((x[sent] - y[sent]) ** 2, axis=1)
    rounding = np.sqrt(p[sent] @ position_rounding(x[sent], y[sent]) ** 2)
    return bool(np.sqrt(of_identity) <= np.sqrt(least) + rounding)


def _monotone(x: Float64, y: Float64, p: Float64, q: Float64) -> csr_array:
    """On the line masses are transported in order: both measures are split at the cumulative masses of either."""
    of_x, of_y = np.argsort(x, kind="stable"), np.argsort(y, kind="stable")
    ends_x, ends_y = (np.minimum(cumulated(w), 1.0) for w in (p[of_x], q[of_y]))
    ends_x[-1] = ends_y[-1] = 1.0
    ends_y = aligned(ends_y, np.concatenate([[0.0], ends_x]))
    cuts = np.union1d(ends_x, ends_y)
    rows, columns = of_x[np.searchsorted(ends_x, cuts)], of_y[np.searchsorted(ends_y, cuts)]
    masses = np.diff(cuts, prepend=0.0)
    return csr_array((masses, (rows, columns)), shape=(len(p), len(q)))


def _exact(x: Float64, y: Float64, p: Float64, q: Float64, max_iterations: int) -> Plan:
    from solvers import transport

    try:
        # A running step takes the memory it needs.
        result = transport.w2(x, y, a=p, b=q, max_iterations=max_iterations, max_bytes=sys.maxsize)
    except transport.TransportError as error:
        remedy = "give a larger max_plan_iterations, fewer particles or a shorter step"
        raise transport.TransportError(error.text, remedy) from error
    return Plan(p, csr_array(result.plan))
