"""Exact transport with proved optimality: plans of a network simplex, checked by dual potentials and refined if necessary.

A network simplex considers a plan optimal when no reduced cost is below about −1e-15 times its potentials, and these are as large
as the largest cost times the number of points. One distant particle thus hides the costs of all others. Therefore

- every plan P is checked: with potentials u_i + v_j ≤ C_ij no plan costs less than Σ a u + Σ b v, so the cost of P is above the
  optimum by no more than Σ P_ij (C_ij − u_i − v_j) plus rounding (`certify`);
- where this is not small relative to the cost of P, the problem is solved again with min(C_ij − u_i − v_j, K) in place of C_ij.
  As these are no larger, a plan that is optimal for them and uses no pair above K is optimal; and as no pair of mass w has a
  reduced cost above the excess over w, K can be small (`ExactTransport.again`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.measures.quantile_functions import Float64
from solvers.transport.positions import squared_distances

#: Tolerated excess, as a fraction of the cost of the plan.
TOLERANCE = 1e-10
#: The same for the excess due to the rounding of weights.
DATA_TOLERANCE = 1e-4
#: Largest number of restarts of the simplex. Each decreases the excess by several orders of magnitude.
ROUNDS = 12
#: Scale of the costs: a simplex adds 1 to the largest of them.
LARGEST_COST = 2.0**20
#: Growth factor of the cut-off of costs, where a plan needs larger ones.
GROWTH = 2.0**12
#: Pairs processed together, 0.5 MB.
BLOCK = 2**16
#: Up to so many, differences are taken by NumPy: SciPy's module of distances takes longer to import.
FEW_DIFFERENCES = 2**17
#: So many particles tell whether all may be nearest to their own.
FIRST = 8
#: Masses are multiples of it, so that their sums have no rounding.
UNIT = 2.0**-52
EPS, TINY = float(np.finfo(np.float64).eps), float(np.finfo(np.float64).tiny)
#: Weights with smaller relative differences are considered equal.
SAME_WEIGHT = 8.0 * EPS
#: Up to this many units, and this fraction of two weights, may be due to their rounding.
FEW_UNITS, FEW = 64.0, 2.0**-20

Indices = NDArray[np.intp]


class SimplexSolution(NamedTuple):
    """The result of a simplex: masses of pairs, potentials of the rows, and a warning if it did not finish.

    memory : an array (n, m) that may be overwritten, if the simplex has left one.
    """

    rows: Indices
    columns: Indices
    masses: Float64
    u: Float64
    warning: str | None
    memory: Float64 | None = None


class OptimalityBound(NamedTuple):
    """Cost Σ P_ij C_ij of a plan, by how much it may exceed the optimum, and the potentials that prove it."""

    cost: float
    excess: float
    rounding: float  #: the part of the excess due to rounding of potentials
    of_data: float  #: error of the cost in either direction, by rounding of weights and underflow of squares
    u: Float64
    v: Float64

    @property
    def is_optimal(self) -> bool:
        """Whether the excess is negligible relative to the cost."""
        return self.excess <= TOLERANCE * self.cost


@dataclass(frozen=True)
class ExactPlan:
    """An optimal plan. distance : W2. gap : bound of its error, proved by `certificate`. memory : of the `SimplexSolution`."""

    rows: Indices
    columns: Indices
    masses: Float64
    distance: float
    gap: float
    certificate: OptimalityBound
    warning: str | None
    memory: Float64 | None = None

    @property
    def proved(self) -> bool:
        """Whether the gap is negligible relative to the distance."""
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
    """The plan of minimal Σ P_ij |x_i − y_j|² between weights a (n,) and b (m,), and a bound of its error.

    Parameters
    ----------
    simplex : function (costs (n, m), supplies, demands) -> SimplexSolution
    lazy : function (x, y, supplies, demands) -> SimplexSolution, optional
        Tried first.
    may_be_dense : bool
        Whether costs may be stored if the lazy solution is not proved.
    """
    from_x, from_y = np.flatnonzero(a), np.flatnonzero(b)
    x, y, a, b = x[from_x], y[from_y], a[from_x], b[from_y]
    exponent = _exponent(x, y)
    problem = ExactTransport.of(np.ldexp(x, exponent), np.ldexp(y, exponent), a, b)
    flow, found = problem.lazily(lazy) if lazy else problem.first(simplex)
    if flow.warning is None and not found.is_optimal and found.cost > 0 and may_be_dense:
        flow, found = problem.again(simplex, flow, found)
    distance = float(np.sqrt(found.cost))
    either_way = found.of_data + (x.shape[1] + 4) * EPS * found.cost  # costs are rounded too
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
        flow.memory,
    )


def whole_units(a: Float64, b: Float64) -> tuple[Float64, Float64]:
    """Integers in proportion to positive weights, with equal sums: a simplex adds and subtracts them without rounding.

    Equal weights stay equal exactly, others to 2⁻⁵² of the mass, and at least one unit. The deficit of one sum is distributed,
    unit by unit, to the weights that were rounded down most.
    """
    n, m = len(a), len(b)
    if (a == a[0]).all() and (b == b[0]).all():
        common = math.gcd(n, m)
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
    """A bound of a plan's distance to the optimum, by the best potentials for u (n,).

    Parameters
    ----------
    costs : function
        Slice of rows -> C (k, m).
    on_plan : (k,)
        C on the pairs of the flow.
    b : (m,)
        Column sums of the plan, up to rounding.
    """
    size = max(1, BLOCK // len(b))
    blocks = [slice(start, start + size) for start in range(0, len(u), size)]
    v = np.full(len(b), np.inf)
    for rows in blocks:
        np.minimum(v, np.min(costs(rows) - u[rows, None], axis=0), out=v)
    # Small potentials have smaller rounding errors.
    shift = np.partition(v, len(v) // 2)[len(v) // 2]
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
    # A computed C_ij − u_i − v_j ≥ 0 is at least −2ε (|u_i| + |v_j|) exactly.
    rounding = 2.0 * EPS * float(flow.masses @ np.abs(u[flow.rows]) + b @ np.abs(v))
    cost, excess = float(flow.masses @ on_plan), float(flow.masses @ reduced) + rounding
    return OptimalityBound(cost, min(excess, cost), rounding, 0.0, u, v)


@dataclass(frozen=True)
class ExactTransport:
    """Points and weights of two measures, and the weights in integer units."""

    x: Float64
    y: Float64
    a: Float64
    b: Float64
    supplies: Float64
    demands: Float64

    @classmethod
    def of(cls, x: Float64, y: Float64, a: Float64, b: Float64) -> ExactTransport:
        """The problem with the units of `whole_units`."""
        return cls(x, y, a, b, *whole_units(a, b))

    def costs(self, rows: slice = slice(None)) -> Float64:
        """|x_i − y_j|² (n, m), by differences, as |x|² − 2 x·y + |y|² loses digits far from the origin."""
        return squared_distances(self.x[rows], self.y)

    def _unmoved(self, costs: Float64) -> tuple[SimplexSolution, OptimalityBound] | None:
        """The plan of the i-th of equal particles to the i-th, where simple potentials prove it. It needs no simplex."""
        own = _own_potential(costs)
        if own is None:
            return None
        each = np.arange(len(self.a))
        flow = SimplexSolution(each, each, self.supplies, own, None)
        return self._certify(flow, costs.__getitem__, own)

    def _first_stay(self) -> bool:
        """Whether the first few particles are nearest to their own, as all are in `_unmoved`: most often all are or none."""
        for few in (1, FIRST):  # the very first is nearly always enough to tell that they do not
            x, y = self.x[:few], self.y[:few]
            own = np.sum((x - y) ** 2, axis=1)
            of_rows = np.sum((x[:, None] - self.y) ** 2, axis=2)
            if not (of_rows.min(axis=1) < own).any():
                continue
            of_columns = np.sum((self.x[:, None] - y) ** 2, axis=2)
            if (of_columns.min(axis=0) < own).any():
                return False
        return True

    def lazily(self, simplex: LazySimplex) -> tuple[SimplexSolution, OptimalityBound]:
        """Solve by a simplex that stores no costs."""
        flow = simplex(self.x, self.y, self.supplies, self.demands)
        return self._certify(flow, self.costs, flow.u)

    def first(self, simplex: Simplex) -> tuple[SimplexSolution, OptimalityBound]:
        """Solve with the costs, cut off above the range of an optimal plan."""
        cap = self._bound()
        if cap == 0:
            each = np.arange(len(self.a))
            flow = SimplexSolution(each, each, self.supplies, np.zeros(len(each)), None)
            return self._certify(flow, self.costs, flow.u)
        may_stay = cap < np.inf and self._first_stay()
        if may_stay and self.x.size * len(self.y) <= FEW_DIFFERENCES:
            stay = self._unmoved(np.sum((self.x[:, None] - self.y) ** 2, axis=2))
            if stay is not None:
                return stay
        costs, scale = self.costs(), 1.0
        if may_stay and (stay := self._unmoved(costs)) is not None:
            return stay
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
        """Solve with reduced costs, cut off above K, until the excess is small."""
        growth, most = 1.0, max(len(self.a), len(self.b))
        for _ in range(ROUNDS):
            known, bound = (found.u, found.v), found.excess
            if found.rounding > TOLERANCE * found.cost:  # uninformative potentials
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
            del costs  # free the memory before they are computed again
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
        """Remove the few units transported between large masses, which result from the rounding of weights.

        They are negligible where points are close, and matter where they are far apart. What the plan then lacks of the
        weights b is either their rounding or counted by `_of_weights`.
        """
        whole = np.minimum(self.supplies[flow.rows], self.demands[flow.columns])
        kept = (flow.masses > FEW_UNITS) | (flow.masses > FEW * whole)
        if kept.all():
            return flow
        return flow._replace(
            rows=flow.rows[kept], columns=flow.columns[kept], masses=flow.masses[kept]
        )

    def _bound(self) -> float:
        """Bound of costs in an optimal plan between equally many particles of weight 1/n: n times the cost of any plan."""
        if (self.supplies != 1.0).any() or (self.demands != 1.0).any():
            return np.inf
        return float(np.sum((self.x - self.y) ** 2))

    def _certify(
        self, flow: SimplexSolution, costs: Callable[[slice], Float64], u: Float64
    ) -> tuple[SimplexSolution, OptimalityBound]:
        flow = self._without_rounding(flow)
        plan = flow._replace(masses=self.masses(flow))
        apart = self.x[flow.rows] - self.y[flow.columns]
        found = certify(costs, plan, np.sum(apart**2, axis=1), u, self.b)
        of_data = self._of_weights(plan, found.v) + self._underflow(apart, found.cost)
        return flow, found._replace(of_data=of_data)

    def _underflow(self, apart: Float64, cost: float) -> float:
        """Bound of the error of a mean of squares that underflow; 0 if it is below the rounding of most positions."""
        bound = apart.shape[1] * TINY
        if cost < bound / EPS:
            rounding = EPS * float(np.median(np.abs(self.x).max(axis=1)))
            return bound if np.any(apart) and rounding**2 < bound else 0.0
        return bound

    def _of_weights(self, plan: SimplexSolution, v: Float64) -> float:
        """Bound of the cost of correcting the column sums of the plan."""
        missing = np.abs(np.bincount(plan.columns, plan.masses, len(self.b)) - self.b)
        lacking = np.flatnonzero(missing > SAME_WEIGHT * self.b)
        if not len(lacking):
            return 0.0
        amid = np.partition(self.y, len(self.y) // 2, axis=0)[len(self.y) // 2]
        squares = np.sum((self.y[lacking] - amid) ** 2, axis=1)
        return float(missing[lacking] @ (4.0 * squares + np.abs(v[lacking])))


def _own_potential(costs: Float64) -> Float64 | None:
    """Potentials u_i that prove the identity optimal, if each particle is nearest to its own: mostly, those that began together.

    They are C_ii where it is the least of its row, so that u_i ≤ C_ij, and zero where it is the least of its column, whose own
    potential is v_j = C_jj then.
    """
    own = np.diagonal(costs)
    if np.all(costs.min(axis=1) >= own):
        return own.copy()
    return np.zeros(len(own)) if np.all(costs.min(axis=0) >= own) else None


def _scale(cap: float) -> float:
    """The power of two that scales the largest cost to about 2²⁰."""
    return float(np.ldexp(LARGEST_COST, min(-math.frexp(cap)[1], 1000)))


def _exponent(x: Float64, y: Float64) -> int:
    """Exponent of the power of two that scales positions so that the largest cost is about 2²⁰."""
    both = np.ascontiguousarray(np.concatenate([x, y]).T)
    largest, least = both.max(axis=1), both.min(axis=1)
    # Halves do not overflow, and lose the smallest numbers.
    half = float(np.max(0.5 * largest - 0.5 * least))
    if half == 0:
        extent = float(np.max(largest - least))
        return 0 if extent == 0 else 11 - math.frexp(extent)[1]
    return 10 - math.frexp(half)[1]
