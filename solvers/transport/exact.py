"""Exact transport whose optimality is proved: plans of a network simplex, checked by dual potentials, solved again where need be.

A network simplex takes a plan for optimal when no reduced cost is below about −1e-15 times its potentials, and these are as large
as the largest cost times the number of points. One far particle thus hides the costs of all others. Therefore

- every plan P is checked: with potentials u_i + v_j ≤ C_ij no plan costs less than Σ a u + Σ b v, so the cost of P is above the
  least one by no more than Σ P_ij (C_ij − u_i − v_j), and what rounding adds (`certify`);
- where this is not small beside the cost of P itself, the problem is solved again with min(C_ij − u_i − v_j, K) in place of C_ij.
  As these are no larger, a plan that is optimal with them and uses no pair above K is optimal; and as no pair of mass w has a
  reduced cost above the excess over w, K can be small (`ExactTransport.again`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from solvers.measures.line import Float64

#: Of the cost of a plan, what its excess may be.
TOLERANCE = 1e-10
#: The same of what the rounding of weights may make of it.
DATA_TOLERANCE = 1e-4
#: Times the simplex is started again, at most. Each time the excess falls by several orders of magnitude.
ROUNDS = 12
#: Where costs are brought: a simplex adds 1 to the largest of them.
LARGEST_COST = 2.0**20
#: By which the largest cost allowed grows, where a plan needs larger ones.
GROWTH = 2.0**12
#: Pairs that are looked at together, 0.5 MB.
BLOCK = 2**16
#: Masses are multiples of it, so that their sums have no rounding.
UNIT = 2.0**-52
EPS, TINY = float(np.finfo(np.float64).eps), float(np.finfo(np.float64).tiny)
#: Weights that differ by no more, relatively, are taken for equal.
SAME_WEIGHT = 8.0 * EPS
#: So many units, and so small a share of two weights, may be their rounding.
FEW_UNITS, FEW = 64.0, 2.0**-20

Indices = NDArray[np.intp]


class SimplexSolution(NamedTuple):
    """What a simplex found: masses of pairs, potentials of the rows, and a warning where it did not come to its end."""

    rows: Indices
    columns: Indices
    masses: Float64
    u: Float64
    warning: str | None


class OptimalityBound(NamedTuple):
    """Cost Σ P_ij C_ij of a plan, by how much it may be above the least one, and the potentials that prove it."""

    cost: float
    excess: float
    rounding: float  #: the part of the excess that is rounding of potentials
    of_data: float  #: by how much the cost may be off in either direction as weights are rounded and squares underflow
    u: Float64
    v: Float64

    @property
    def is_optimal(self) -> bool:
        """Whether the excess does not matter beside the cost."""
        return self.excess <= TOLERANCE * self.cost


@dataclass(frozen=True)
class ExactPlan:
    """An optimal plan. distance : W2. gap : how far it may be from the exact one, `certificate` tells why."""

    rows: Indices
    columns: Indices
    masses: Float64
    distance: float
    gap: float
    certificate: OptimalityBound
    warning: str | None

    @property
    def proved(self) -> bool:
        """Whether the gap does not matter beside the distance."""
        found = self.certificate
        return found.is_optimal and found.of_data <= DATA_TOLERANCE * found.cost


Simplex = Callable[[Float64, Float64, Float64], SimplexSolution]
LazySimplex = Callable[[Float64, Float64, Float64, Float64], SimplexSolution]


def solve(
    x: Float64,
    y: Float64,
    a: Float64,
    b: Float64,
    simplex: Simplex,
    lazy: LazySimplex | None = None,
    may_be_dense: bool = True,
) -> ExactPlan:
    """The plan of least Σ P_ij |x_i − y_j|² between weights a (n,) and b (m,), and how sure that is.

    Parameters
    ----------
    simplex : function (costs (n, m), supplies, demands) -> SimplexSolution
    lazy : function (x, y, supplies, demands) -> SimplexSolution, optional
        Tried first, in its place.
    may_be_dense : bool
        Whether costs may be kept where the lazy one was not enough.
    """
    from_x, from_y = np.flatnonzero(a), np.flatnonzero(b)
    x, y, a, b = x[from_x], y[from_y], a[from_x], b[from_y]
    exponent = _exponent(x, y)
    problem = ExactTransport.of(np.ldexp(x, exponent), np.ldexp(y, exponent), a, b)
    flow, found = problem.lazily(lazy) if lazy else problem.first(simplex)
    if flow.warning is None and not found.is_optimal and found.cost > 0 and may_be_dense:
        flow, found = problem.again(simplex, flow, found)
    distance = float(np.sqrt(found.cost))
    either_way = found.of_data + (x.shape[1] + 4) * EPS * found.cost  # costs are rounded, too
    least, most = max(found.cost - found.excess - either_way, 0.0), found.cost + either_way
    gap = max(distance - float(np.sqrt(least)), float(np.sqrt(most)) - distance)
    return ExactPlan(
        from_x[flow.rows],
        from_y[flow.columns],
        problem.masses(flow),
        float(np.ldexp(distance, -exponent)),
        float(np.ldexp(gap, -exponent)),
        found,
        flow.warning,
    )


def whole_units(a: Float64, b: Float64) -> tuple[Float64, Float64]:
    """Whole numbers in proportion to positive weights, of one sum: a simplex adds and subtracts them without rounding.

    Equal weights are so exactly, others to 2⁻⁵² of the mass, and at least one such unit. What one sum then lacks goes, unit by
    unit, to the weights that were rounded down most.
    """
    n, m = len(a), len(b)
    if np.all(a == a[0]) and np.all(b == b[0]):
        common = np.gcd(n, m)
        return np.full(n, float(m // common)), np.full(m, float(n // common))
    both = np.concatenate([a, b])
    order = np.argsort(both, kind="stable")
    values = both[order]
    first = np.concatenate([[True], np.diff(values) > SAME_WEIGHT * values[1:]])
    both[order] = values[np.flatnonzero(first)[np.cumsum(first) - 1]]
    units = np.maximum(np.rint(both / UNIT), 1.0)
    supplies, demands = units[:n], units[n:]
    lacking = supplies.sum() - demands.sum()
    side = demands if lacking > 0 else supplies
    share, rest = divmod(int(abs(lacking)), len(side))
    rounded = side - (both[n:] if lacking > 0 else both[:n]) / UNIT
    side += share
    side[np.argsort(rounded, kind="stable")[:rest]] += 1.0
    return supplies, demands


def certify(
    costs: Callable[[slice], Float64],
    flow: SimplexSolution,
    on_plan: Float64,
    u: Float64,
    b: Float64,
) -> OptimalityBound:
    """How far a plan is from the optimum, by the best potentials that go with u (n,).

    Parameters
    ----------
    costs : function
        C (k, m) of some rows.
    on_plan : (k,)
        C of the flow's pairs.
    b : (m,)
        The column sums of the plan, but for rounding.
    """
    size = max(1, BLOCK // len(b))
    blocks = [slice(start, start + size) for start in range(0, len(u), size)]
    v = np.full(len(b), np.inf)
    for rows in blocks:
        np.minimum(v, np.min(costs(rows) - u[rows, None], axis=0), out=v)
    shift = np.partition(v, len(v) // 2)[len(v) // 2]  # small potentials are rounded less
    u, v = u + shift, v - shift
    found = _excess(flow, on_plan, u, v, b)
    if not found.is_optimal:
        u = np.concatenate([np.min(costs(rows) - v, axis=1) for rows in blocks])
        found = _excess(flow, on_plan, u, v, b)
    return found


def _excess(
    flow: SimplexSolution, on_plan: Float64, u: Float64, v: Float64, b: Float64
) -> OptimalityBound:
    reduced = np.maximum(on_plan - u[flow.rows] - v[flow.columns], 0.0)
    # C_ij − u_i − v_j ≥ 0 as computed means that it is at least −2ε (|u_i| + |v_j|).
    rounding = 2.0 * EPS * float(flow.masses @ np.abs(u[flow.rows]) + b @ np.abs(v))
    cost, excess = float(flow.masses @ on_plan), float(flow.masses @ reduced) + rounding
    return OptimalityBound(cost, min(excess, cost), rounding, 0.0, u, v)


@dataclass(frozen=True)
class ExactTransport:
    """Points and weights of two measures, and the weights in whole units."""

    x: Float64
    y: Float64
    a: Float64
    b: Float64
    supplies: Float64
    demands: Float64

    @classmethod
    def of(cls, x: Float64, y: Float64, a: Float64, b: Float64) -> ExactTransport:
        """With the units of `whole_units`."""
        return cls(x, y, a, b, *whole_units(a, b))

    def costs(self, rows: slice = slice(None)) -> Float64:
        """|x_i − y_j|² (n, m), by differences, as |x|² − 2 x·y + |y|² loses digits far from the origin."""
        return np.asarray(cdist(self.x[rows], self.y, "sqeuclidean"))

    def lazily(self, simplex: LazySimplex) -> tuple[SimplexSolution, OptimalityBound]:
        """By a simplex that keeps no costs."""
        flow = simplex(self.x, self.y, self.supplies, self.demands)
        return self._certify(flow, self.costs, flow.u)

    def first(self, simplex: Simplex) -> tuple[SimplexSolution, OptimalityBound]:
        """With the costs themselves, cut off where no pair of an optimal plan can be."""
        cap = self._bound()
        if cap == 0:
            each = np.arange(len(self.a))
            flow = SimplexSolution(each, each, self.supplies, np.zeros(len(each)), None)
            return self._certify(flow, self.costs, flow.u)
        costs, scale = self.costs(), 1.0
        if cap < np.max(costs):
            scale = _scale(cap)
            np.minimum(costs, cap, out=costs)
            costs *= scale
        flow = simplex(costs, self.supplies, self.demands)
        if scale != 1.0:
            costs /= scale
        return self._certify(flow, costs.__getitem__, flow.u / scale)

    def again(
        self, simplex: Simplex, flow: SimplexSolution, found: OptimalityBound
    ) -> tuple[SimplexSolution, OptimalityBound]:
        """With reduced costs, the largest of them cut off, until the excess is small."""
        growth, most = 1.0, max(len(self.a), len(self.b))
        for _ in range(ROUNDS):
            known, bound = (found.u, found.v), found.excess
            if found.rounding > TOLERANCE * found.cost:  # potentials that tell nothing
                known, bound = (0.0 * found.u, 0.0 * found.v), found.cost
            cap = growth * most * bound
            scale = _scale(cap)
            costs = self.costs()
            costs -= known[1]
            costs -= known[0][:, None]
            np.minimum(costs, cap, out=costs)
            costs *= scale
            other = simplex(costs, self.supplies, self.demands)
            if other.warning is not None:
                return other, found
            if np.max(costs[other.rows, other.columns]) >= scale * cap:
                growth *= GROWTH
            del costs  # before they are computed anew
            fresh = self.costs()
            other, certificate = self._certify(other, fresh.__getitem__, known[0] + other.u / scale)
            if certificate.excess < found.excess:
                flow, found = other, certificate
            if found.is_optimal:
                break
        return flow, found

    def masses(self, flow: SimplexSolution) -> Float64:
        """P_ij of a flow of units, its row sums the weights a."""
        sums = np.bincount(flow.rows, flow.masses, len(self.a))
        return np.asarray(flow.masses / sums[flow.rows] * self.a[flow.rows])

    def _without_rounding(self, flow: SimplexSolution) -> SimplexSolution:
        """Without the few units that go from large masses to large masses, as they do because weights are rounded.

        They are nothing where points are near each other, and very much where they are far. What the plan then lacks of the
        weights b is either their rounding or counted by `_of_weights`.
        """
        whole = np.minimum(self.supplies[flow.rows], self.demands[flow.columns])
        kept = (flow.masses > FEW_UNITS) | (flow.masses > FEW * whole)
        return SimplexSolution(
            flow.rows[kept], flow.columns[kept], flow.masses[kept], flow.u, flow.warning
        )

    def _bound(self) -> float:
        """Of costs in an optimal plan between equally many particles of weight 1/n: n times the cost of any plan."""
        if np.any(self.supplies != 1.0) or np.any(self.demands != 1.0):
            return np.inf
        return float(np.sum((self.x - self.y) ** 2))

    def _certify(
        self, flow: SimplexSolution, costs: Callable[[slice], Float64], u: Float64
    ) -> tuple[SimplexSolution, OptimalityBound]:
        flow = self._without_rounding(flow)
        plan = flow._replace(masses=self.masses(flow))
        apart = self.x[flow.rows] - self.y[flow.columns]
        found = certify(costs, plan, np.sum(apart**2, axis=1), u, self.b)
        underflow = apart.shape[1] * TINY if np.any(apart) else 0.0
        return flow, found._replace(of_data=self._of_weights(plan, found.v) + underflow)

    def _of_weights(self, plan: SimplexSolution, v: Float64) -> float:
        """What it may cost to bring to the columns what they lack, or away what they have too much."""
        missing = np.abs(np.bincount(plan.columns, plan.masses, len(self.b)) - self.b)
        lacking = np.flatnonzero(missing > SAME_WEIGHT * self.b)
        if not len(lacking):
            return 0.0
        squares = np.sum((self.y[lacking] - np.median(self.y, axis=0)) ** 2, axis=1)
        return float(missing[lacking] @ (4.0 * squares + np.abs(v[lacking])))


def _scale(cap: float) -> float:
    """The power of two that brings the largest cost to about 2²⁰."""
    return float(np.ldexp(LARGEST_COST, min(-int(np.frexp(cap)[1]), 1000)))


def _exponent(x: Float64, y: Float64) -> int:
    """Of the power of two by which positions are multiplied, so that the largest cost is about 2²⁰."""
    least = np.minimum(x.min(axis=0), y.min(axis=0))
    largest = np.maximum(x.max(axis=0), y.max(axis=0))
    extent = float(np.max(0.5 * largest - 0.5 * least))
    return 0 if extent == 0 else 10 - int(np.frexp(extent)[1])
