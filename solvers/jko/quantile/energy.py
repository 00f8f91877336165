"""An energy as a function of quantiles, and its sum with a transport cost, which a minimising movement decreases."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.special import roots_jacobi

from solvers._support.arguments import instance, refusal
from solvers._support.memory import fitting
from solvers.measures.energies import Energy, Entropy, Interaction, Potential, PowerEntropy
from solvers.measures.quantile_functions import Float64
from solvers.measures.representations import unit_gauss
from solvers.measures.scalar_field import ScalarField

#: Gauss nodes per cell: for a potential, for an interaction between two cells, for one within a cell.
_NODES, _PAIR_NODES, _OWN_NODES = 4, 2, 8
#: Arrays of all pairs of nodes that an interaction takes at once.
_ARRAYS_OF_PAIRS = 8


@dataclass(frozen=True)
class Cells:
    """Value of a sum over cells, and per cell its derivatives with respect to the left and right ends, each (n,)."""

    value: float
    left: Float64
    right: Float64
    left_left: Float64
    left_right: Float64
    right_right: Float64

    @classmethod
    def of_widths(cls, value: float, slopes: Float64, curvatures: Float64) -> Cells:
        """For a function of the widths alone."""
        return cls(value, -slopes, slopes, curvatures, -curvatures, curvatures)


@dataclass(frozen=True)
class Derivatives:
    """Value, gradient (k,) and Hessian, which is tridiagonal (bands, (2, k), diagonal first) plus an optional dense matrix.

    sizes (k,) : the sums of the absolute values of the terms of each entry of the gradient.
    """

    value: float
    gradient: Float64
    sizes: Float64
    bands: Float64
    dense: Float64 | None

    @property
    def residual(self) -> float:
        """The largest entry of the gradient over the largest of the sizes."""
        return float(np.abs(self.gradient).max() / max(self.sizes.max(), np.finfo(float).tiny))


class QuantileEnergy:
    """E as a function of quantiles q (n + 1,), with cells of mass 1/n and widths w_i = q_{i+1} − q_i:

        T Ent = −(T/n) Σ_i log(n w_i),    c/(m − 1) ∫ ρ^m = c/(m − 1) (1/n) Σ_i (n w_i)^(1−m)    exactly,

    potentials by Gauss quadrature (exact to degree 7 in each cell), interactions too (degree 3 in either variable; within a cell,
    where W may have a kink or a logarithm, in |x − y|).

    Raises
    ------
    ValueError
        For a term that is not defined on quantiles.
    """

    def __init__(self, energy: Energy) -> None:
        instance("energy", energy, Energy, "for instance Potential(function)")
        self._terms: list[Callable[[Float64], Cells]] = []
        self._interactions: list[_Interactions] = []
        self.keeps_order = False
        for term in energy.terms:
            if isinstance(term, Potential):
                self._terms.append(_PotentialCells(term.field))
            elif isinstance(term, Entropy):
                self._terms.append(EntropyCells(term.temperature))
                self.keeps_order = True
            elif isinstance(term, PowerEntropy):
                self._terms.append(_PowerCells(term.exponent, term.coefficient))
                self.keeps_order = True
            elif isinstance(term, Interaction):
                term.check_even(np.array([[0.5], [1.0], [2.0]]))
                self._terms.append(_OwnCells(term.field))
                self._interactions.append(_Interactions(term.field))
            else:
                raise refusal(
                    "energy", "a sum of energies known to QuantileJKO", term, "take a Grid"
                )

    def value(self, q: Float64) -> float:
        """E; ∞ for an atom of infinite energy."""
        return self.derivatives(q).value

    def derivatives(self, q: Float64, *others: Callable[[Float64], Cells]) -> Derivatives:
        """Derivatives of E plus other sums over cells."""
        value, sizes = 0.0, np.zeros_like(q)
        gradient, bands = np.zeros_like(q), np.zeros((2, len(q)))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            for term in (*self._terms, *others):
                cells = term(q)
                value += cells.value
                for ends, slopes in ((slice(None, -1), cells.left), (slice(1, None), cells.right)):
                    gradient[ends] += slopes
                    sizes[ends] += np.abs(slopes)
                bands[0, :-1] += cells.left_left
                bands[0, 1:] += cells.right_right
                bands[1, :-1] += cells.left_right
        dense: Float64 | None = None
        for interaction in self._interactions:
            pair_value, slopes, slope_sizes, curvature = interaction(q)
            value, gradient, sizes = value + pair_value, gradient + slopes, sizes + slope_sizes
            dense = curvature if dense is None else dense + curvature
        return Derivatives(
            value if not math.isnan(value) else math.inf, gradient, sizes, bands, dense
        )


@dataclass(frozen=True)
class TransportCells:
    """W2²(q, old)/(2 pace): Σ (1/n) (l² + l r + r²)/3 of the displacements l, r of the ends, over 2 pace."""

    old: Float64
    pace: float

    def __call__(self, q: Float64) -> Cells:
        """At q (n + 1,)."""
        unit = 1.0 / (6.0 * self.pace * (len(q) - 1))
        left, right = (q - self.old)[:-1], (q - self.old)[1:]
        ones = np.full_like(left, unit)
        return Cells(
            unit * float(np.sum(left**2 + left * right + right**2)),
            unit * (2 * left + right),
            unit * (left + 2 * right),
            2 * ones,
            ones,
            2 * ones,
        )


@dataclass(frozen=True)
class EntropyCells:
    """−(T/n) Σ log(n w)."""

    temperature: float

    def __call__(self, q: Float64) -> Cells:
        """At q (n + 1,)."""
        w, n = np.diff(q), len(q) - 1
        share = self.temperature / n
        return Cells.of_widths(-share * float(np.sum(np.log(n * w))), -share / w, share / w**2)


@dataclass(frozen=True)
class _PowerCells:
    exponent: float
    coefficient: float

    def __call__(self, q: Float64) -> Cells:
        w, n = np.diff(q), len(q) - 1
        c, m = self.coefficient, self.exponent
        powers = (n * w) ** -m
        value = c / (m - 1) * float(np.sum(w * powers))
        return Cells.of_widths(value, -c * powers, c * m * powers / w)


@dataclass(frozen=True)
class _PotentialCells:
    field: ScalarField

    def __call__(self, q: Float64) -> Cells:
        n, (s, weights) = len(q) - 1, unit_gauss(_NODES)
        x = (q[:-1, None] + s * np.diff(q)[:, None]).reshape(-1, 1)
        value, slope = self.field.values(x).reshape(n, -1), self.field.gradients(x).reshape(n, -1)
        curvature = self.field.hessians(x).reshape(n, -1)
        p = weights / n
        return Cells(
            float(np.sum(value @ p)),
            slope @ (p * (1 - s)),
            slope @ (p * s),
            curvature @ (p * (1 - s) ** 2),
            curvature @ (p * s * (1 - s)),
            curvature @ (p * s**2),
        )


@dataclass(frozen=True)
class _OwnCells:
    """½ ∬ W within each cell: (1/n²) ∫_0^1 (1 − s) W(s w) ds."""

    field: ScalarField

    def __call__(self, q: Float64) -> Cells:
        w, n = np.diff(q), len(q) - 1
        x, weights = roots_jacobi(_OWN_NODES, 1.0, 0.0)
        s, p = 0.5 * (x + 1.0), 0.25 * weights / n**2
        r = (s * w[:, None]).reshape(-1, 1)
        value = self.field.values(r).reshape(n, -1) @ p
        slope = self.field.gradients(r).reshape(n, -1) @ (p * s)
        curvature = self.field.hessians(r).reshape(n, -1) @ (p * s**2)
        return Cells.of_widths(float(np.sum(value)), slope, curvature)


@dataclass(frozen=True)
class _Interactions:
    """½ ∬ W between different cells; the Hessian is dense, and memory about 8 times the square of 2n float64."""

    field: ScalarField

    def __call__(self, q: Float64) -> tuple[float, Float64, Float64, Float64]:
        """Value, gradient, its sizes and Hessian."""
        n, (s, weights) = len(q) - 1, unit_gauss(_PAIR_NODES)
        nodes = n * _PAIR_NODES
        fitting("quantiles", f"{n} cells with an Interaction", nodes, nodes, _ARRAYS_OF_PAIRS // 4)
        cell = np.repeat(np.arange(n), _PAIR_NODES)
        rows, shares = np.arange(n * _PAIR_NODES), np.tile(s, n)
        basis = csr_array(
            (np.r_[1 - shares, shares], (np.r_[rows, rows], np.r_[cell, cell + 1])),
            shape=(len(rows), n + 1),
        )
        p, x = np.tile(weights / n, n), basis @ q
        r, apart = (x[:, None] - x).reshape(-1, 1), cell[:, None] != cell
        pairs = np.where(apart, np.multiply.outer(p, p), 0.0)

        def of_pairs(values: Float64) -> Float64:
            return np.where(apart, values.reshape(apart.shape), 0.0) * pairs

        forces, curvature = of_pairs(self.field.gradients(r)), of_pairs(self.field.hessians(r))
        inner = np.diag(curvature.sum(axis=1)) - curvature
        value = 0.5 * float(of_pairs(self.field.values(r)).sum())
        hessian = (basis.T @ (basis.T @ inner).T).T
        return (
            value,
            basis.T @ forces.sum(axis=1),
            basis.T @ np.abs(forces).sum(axis=1),
            hessian,
        )
