"""Rod flow, with its covariance in low-rank form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers._support.annotations import Ge
from solvers._support.threads import one_blas_thread
from solvers.endpoints import endpoint_gradients
from solvers.flow import SteppedFlow
from solvers.free_energy import FreeEnergy
from solvers.integrators.rkc import RKC, rkc_stages
from solvers.objective import Array, all_finite, inner
from solvers.optimizer import of_optimizers
from solvers.spectrum.eigenpairs import top_eigenpairs

# By how much a measured rate is enlarged, as it may grow within a step, and the tolerance of the sharpness for it.
_MARGIN, LOOSE = 1.2, 0.1
# Beyond the reach of the largest number of stages a step is halved, into at most this many parts; a run beyond them diverges.
_MOST_PARTS = 16


@of_optimizers(lambda rule, *arguments, **options: rule.rod_flow(*arguments, **options))
@dataclass(frozen=True)
class RodFlow(SteppedFlow):
    """A rod of center w and half-extent u, the leading axis of a covariance Σ:

        ẇ = −(η/2)(g₊ + g₋) − (η²/8)(H₊ + H₋)(g₊ + g₋),    g± = ∇E(w ± u), H± = ∇²E(w ± u)
        Σ̇ = (η²/4)(g₊g₊* + g₋g₋*) − 2Σ,    u = √λ₁ v₁ of Σ,

    in iterations, from w_0 = x_0 − u_0, Σ_0 = u_0u_0*, u_0 = (η/2)∇E(x_0). The fluctuation is u; tr Σ is that of the whole Σ.

    Σ is kept as Σ_r s_r s_r*, in r ≤ rank orthogonal factors: never a matrix of the size of x squared. The scheme is the
    Runge–Kutta–Chebyshev one of order two, as of `RKC`, with steps of equal size. Each of its stages adds the two vectors g₊ + g₋
    and g₊ − g₋, and every Σ of a step is a combination of their squares and those of the first factors; at its end all but the
    largest `rank` are dropped. Two gradients and two Hessian-vector products per evaluation, and as many evaluations as stages:
    six, and more where the sharpness of the center needs them, which takes a few products more in every step: along a mode of
    sharpness S the center relaxes at the rate ηS + (ηS)²/2.

    Parameters
    ----------
    learning_rate : float or Optimizer
        η > 0. Of a `HeavyBall` or `Nesterov` the rod flow on weights and momenta: see `solvers.flows.optimizer_rod_flow`; of
        `ScalarRMSProp`, `RMSProp` and `Adam` with ν beside the rod: `solvers.flows.adaptive_rod_flow`.
    rank : int
        Largest number of factors kept. Σ decays like e^{−2t}; with sixteen, what is dropped is below its rounding where x is not
        so small that none is dropped.

    Raises
    ------
    ValueError
        For a parameter out of range.

    References
    ----------
    Regis, Chewi, arXiv:2602.01480; taking u from Σ is this package's interpretation.

    Examples
    --------
    On E = 2x² with η = 0.5, the edge of stability, gradient descent alternates between 1 and −1: a rod of center 0 that keeps
    its length.

    >>> parabola = meanfield.landscapes.Landscape(lambda x: 2 * x[0] ** 2)
    >>> solution = solvers.solve(solvers.RodFlow(0.5), parabola, [1.0], steps=10)
    >>> abs(solution.centers).max() < 1e-12, solution.fluctuation_trace[[0, -1]].round(9)
    (np.True_, array([1., 1.]))
    """

    learning_rate: float
    rank: Annotated[int, Ge(1)] = 16
    needs: ClassVar[tuple[str, ...]] = ("value", "gradient", "hvp")
    order: ClassVar[int] = 2
    default_dt: ClassVar[float] = 1.0
    #: Rate times dt for which a step is always stable.
    least_reach: ClassVar[float] = 16.0
    is_signed: ClassVar[bool] = False
    can_change_rate: ClassVar[bool] = True
    colour: ClassVar[str] = "green"
    dashes: ClassVar[str] = "--"

    @classmethod
    def state_arrays(cls, options: Mapping[str, Any]) -> int:
        return 1 + int(options["rank"])

    def start(self, objective: Any, x0: Array) -> Array:
        """The center and the factors of Σ, largest first, shape (1 + r, *x) with r = min(rank, x.size)."""
        u = x0.dtype.type(0.5 * self.learning_rate) * objective.gradient(x0)
        state = np.zeros((1 + min(self.rank, x0.size), *x0.shape), x0.dtype)
        state[0], state[1] = x0 - u, u
        return state

    def advance(self, objective: Any, state: Array, dt: float) -> Array:
        rates = self._rates(objective, state[0], state[1])
        fastest = max(rates.fastest, self._relaxation(objective, state[0], rates.velocity, dt))
        reach = dt * _MARGIN * fastest
        if RKC.reach < reach <= _MOST_PARTS * RKC.reach:
            return self.advance(objective, self.advance(objective, state, 0.5 * dt), 0.5 * dt)
        others = rkc_stages(max(self.least_reach, reach))
        span = _Span(state[1:], 2 * (1 + len(others[1])))
        f0 = rates.velocity, span.fed(rates.feeds) - 2.0 * span.first
        y0 = state[0], span.first
        before, last, f = y0, _sum((1.0, y0), (dt * others[0], f0)), f0
        for c in others[1]:
            u = span.factors(last[1], 1)[0]
            rates = self._rates(objective, last[0], u)
            f = rates.velocity, span.fed(rates.feeds) - 2.0 * last[1]
            terms = (1.0 - c.mu - c.nu, y0), (c.mu, last), (c.nu, before)
            before, last = last, _sum(*terms, (dt * c.mu_f, f), (dt * c.gamma_f, f0))
        return np.concatenate([last[0][None], span.factors(last[1], len(state) - 1)])

    def _relaxation(self, objective: Any, w: Array, velocity: Array, dt: float) -> float:
        """The largest rate ηS + (ηS)²/2 at which the center relaxes along a mode; 0 if every step is stable for it.

        An evaluation shows it too late: an instability of the center feeds Σ, and looks like an oscillation.
        """
        if not (all_finite(objective, w) and all_finite(objective, velocity)):
            return 0.0  # the run ends here
        stable = math.sqrt(1.0 + 2.0 * self.least_reach / (_MARGIN * dt)) - 1.0
        above = stable / self.learning_rate
        z = self.learning_rate * float(
            top_eigenpairs(objective, w, 1, LOOSE, above=above).values[0]
        )
        return z + 0.5 * z**2 if z > stable else 0.0

    def center(self, step: int, state: Array) -> Array:
        return state[0]

    def fluctuation(self, step: int, state: Array) -> Array:
        return state[1]

    def fluctuation_trace(self, objective: Any, step: int, state: Array) -> float:
        return sum(inner(objective, s, s) for s in state[1:])

    def mirrored(self, state: Array) -> Array:
        return np.concatenate([state[:1], -state[1:]])

    def carried(self, objective: Any, step: int, state: Array, ratio: float) -> Array:
        """From the same center, as the sign of u is free, with factors in proportion to η."""
        return np.concatenate([state[:1], state.dtype.type(ratio) * state[1:]])

    def predicted_loss(self, objective: Any, step: int, state: Array) -> float:
        return FreeEnergy(objective, self.learning_rate).mean_loss(state[0], state[1])

    def _rates(self, objective: Any, w: Array, u: Array) -> Rates:
        """g₊g₊* + g₋g₋* = 2(mm* + dd*) for mean and half difference m, d of the gradients."""
        eta = self.learning_rate
        mean, difference = endpoint_gradients(objective, w, u)
        total = 2 * mean
        curved = objective.hvp(w + u, total) + objective.hvp(w - u, total)
        half = w.dtype.type(0.5 * eta)
        feeds = w.dtype.type(eta * 0.5**0.5) * np.array([mean, difference])
        return Rates.of(-half * total, w.dtype.type(0.5) * half * half * curved, feeds)


class Rates(NamedTuple):
    """ẇ, the two vectors whose squares feed Σ, and a lower bound of the rate at which perturbations of w decay."""

    velocity: Array
    feeds: Array
    fastest: float

    @classmethod
    def of(cls, mean: Array, correction: Array, feeds: Array) -> Rates:
        """From the mean V of the map's steps at both ends and ½ DV V.

        |DV V|/|V| is at most the largest |λ| of a symmetric DV, and near it wherever w is about to become unstable.
        """
        scale = float(np.max(np.abs(mean)))
        if not 0.0 < scale < math.inf:
            return cls(mean - correction, feeds, 0.0)
        with one_blas_thread():
            sizes = [float(np.linalg.norm(z / mean.dtype.type(scale))) for z in (mean, correction)]
        largest = 2.0 * sizes[1] / sizes[0]
        rate = largest + 0.5 * largest**2
        return cls(mean - correction, feeds, rate if math.isfinite(rate) else 0.0)


def largest_factors(factors: Array) -> Array:
    """Orthogonal factors of the same Σ, largest first, as many."""
    span = _Span(factors, 0)
    return span.factors(span.first, len(factors))


def _sum(*terms: tuple[float, tuple[Array, NDArray[np.float64]]]) -> tuple[Array, Any]:
    """A combination of pairs of w and the coefficients of Σ."""
    scalar = terms[0][1][0].dtype.type
    return sum(scalar(c) * w for c, (w, _) in terms), sum(c * s for c, (_, s) in terms)  # type: ignore[return-value]


class _Span:
    """The vectors z_i of which the Σ of every stage of a step is a combination Σ_i c_i z_i z_i*, with c_i of both signs."""

    def __init__(self, factors: Array, more: int) -> None:
        self.count = len(factors)
        self._vectors = np.zeros((self.count + more, factors[0].size), factors.dtype)
        self._vectors[: self.count] = factors.reshape(self.count, -1)
        self._shape = factors.shape[1:]
        self.first = np.zeros(len(self._vectors))  #: the coefficients of Σ at the start
        self.first[: self.count] = 1.0

    def fed(self, feeds: Array) -> NDArray[np.float64]:
        """The coefficients of the squares of these vectors, which are added."""
        coefficients = np.zeros(len(self._vectors))
        begin, self.count = self.count, self.count + len(feeds)
        self._vectors[begin : self.count] = feeds.reshape(len(feeds), -1)
        coefficients[begin : self.count] = 1.0
        return coefficients

    def factors(self, coefficients: NDArray[np.float64], most: int) -> Array:
        """The largest orthogonal factors of Σ, largest first, the first one along the first given.

        From the eigenpairs of G^{1/2} diag(c) G^{1/2}, G the vectors' Gram matrix: the error is below the rounding of Σ, though
        not of its square root.
        """
        vectors, c = self._vectors[: self.count], coefficients[: self.count]
        found = np.zeros((most, vectors.shape[1]), vectors.dtype)
        scale = np.max(np.abs(vectors))
        if not np.isfinite(scale):
            return np.full((most, *self._shape), np.nan, vectors.dtype)
        if scale > 0.0:
            unit = vectors / scale
            with one_blas_thread():
                values, q = np.linalg.eigh((unit @ unit.T).astype(np.float64))
                root = (q * np.sqrt(np.maximum(values, 0.0))) @ q.T
                variances, y = np.linalg.eigh((root * c) @ root)
                variances, y = variances[::-1][:most], y[:, ::-1][:, :most]
                kept = variances > len(c) * np.finfo(vectors.dtype).eps * max(variances[0], 0.0)
                mixing = c[:, None] * (root @ y[:, kept]) / np.sqrt(variances[kept])
                found[: np.count_nonzero(kept)] = mixing.T.astype(vectors.dtype) @ vectors
            if (
                np.dot(found[0], unit[0]) < 0
            ):  # the sign of u is arbitrary; keep it continuous in time
                found[0] *= -1
        return found.reshape(most, *self._shape)
