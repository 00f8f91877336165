"""Minimising movements on the line, exact in the transport."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from solvers._support.arguments import instance, refusal, wrong_shape
from solvers._support.reprs import compact_repr
from solvers.jko.proximal_result import JKOError, ProximalResult, settle_settings
from solvers.jko.quantile.energy import Derivatives, QuantileEnergy, TransportCells
from solvers.jko.quantile.monotone_newton import Minimum, interior_point, newton
from solvers.jko.two_steps import TwoSteps
from solvers.measures.energies import Energy
from solvers.measures.quantile_functions import Float64
from solvers.measures.representations import Quantiles

#: Newton steps before the ordering constraint is assumed to be active.
_TRIES = 30


@dataclass(frozen=True, eq=False)
class QuantileStep(ProximalResult):
    """A step of `QuantileJKO`.

    Attributes
    ----------
    energy_before, energy : float
        E before and after.
    transport_cost : float
        W2² between the states.
    excess : float
        E after + D/(2 η τ) − E before with D the transport cost: at most 0 in exact arithmetic. From two states E + A D − B D'
        at the new state less its value at the old one, D' being W2² to the earlier state: at most 0 likewise.
    residual : float
        Of the gradient, relative.
    iterations : int
        Of the inner solver.
    converged : bool
        Whether the residual is within the tolerance.
    state : Quantiles
        The new ones.

    Examples
    --------
    Of a translation by −¼ the cost is 1/16:

    >>> slope = solvers.energies.Potential(lambda x: x[:, 0])
    >>> step = solvers.QuantileJKO(step_size=0.25).step(slope, solvers.Quantiles([0.0, 1.0, 2.0]))
    >>> round(step.transport_cost, 6), step.excess <= 1e-12
    (0.0625, True)
    """

    state: Quantiles

    __repr__ = compact_repr


@dataclass(frozen=True)
class QuantileJKO:
    """Jordan–Kinderlehrer–Otto scheme on the line, for measures whose quantile function is linear in n cells of mass 1/n:

        q_{k+1} = argmin E[q] + W2²(q, q_k)/(2 η τ) over non-decreasing q_0 ≤ … ≤ q_n,
        W2² = Σ_i (1/n) (d_i² + d_i d_{i+1} + d_{i+1}²)/3,    d = q − q_k

    In these variables W2 is Euclidean, entropies are sums of convex functions of the cells' widths, and everything except the
    class of measures is exact; the minimiser is found by Newton's method to rounding.

    Parameters
    ----------
    step_size : float
        τ, in units of time; the error of the scheme is first order in it, with steps from two states second order.
    learning_rate : float
        η.
    tolerance : float
        Tolerance of the gradient, relative to the largest sum of the sizes of its terms. The iterations continue beyond it while
        they improve.
    max_iterations : int
        Limit of Newton steps.
    require_convergence : bool
        False: return what was reached, marked ``converged=False``, in place of raising.

    Raises
    ------
    ValueError
        For a parameter out of range.

    Notes
    -----
    *Order.* `Entropy` and `PowerEntropy` are infinite, or infinitely steep, at cells of zero width, and so keep the quantiles in
    order. Other energies need not: where Newton's method violates it, the order becomes a constraint, and a primal–dual
    interior-point method takes over. Mass may then concentrate in atoms, cells of (almost) zero width, and separate again.

    *Smoothness.* V must be twice differentiable, W too except at 0.

    *Second order.* A step from two states, ``step(energy, quantiles, earlier=…)``, minimises

        E[q] + A W2²(q, q_k) − B W2²(q, q_{k−1}),    A = 1/(η τ), B = 1/(4 η τ) for equal steps,

    the variational BDF2 scheme. Then E + A D/4 is smaller than before by at least A D/4, D = W2² of the step. One step of first
    order to start with leaves the error of second order.

    *Energies that are not convex* in q, such as wells, have several minimisers; the one reached by descent from q_k is taken.

    *Cost.* O(n) per Newton step, of which a few are needed; with an `Interaction` O(n³), and memory of some 30 n² float64.

    References
    ----------
    Jordan, Kinderlehrer & Otto 1998; Kinderlehrer & Walkington 1999; Blanchet, Calvez & Carrillo 2008 (quantiles); Matthes &
    Plazotta, arXiv:1711.02935 (BDF2).

    Examples
    --------
    A translation: in the potential x every quantile moves by −τ.

    >>> slope = solvers.energies.Potential(lambda x: x[:, 0])
    >>> solvers.QuantileJKO(step_size=0.25).step(slope, solvers.Quantiles([0.0, 1.0, 2.0])).state.values.round(6)
    array([-0.25,  0.75,  1.75])
    """

    step_size: float
    learning_rate: float = 1.0
    tolerance: float = 1e-10
    max_iterations: int = 200
    require_convergence: bool = True

    def __post_init__(self) -> None:
        settle_settings(self)

    def step(
        self,
        energy: Energy,
        quantiles: Quantiles,
        earlier: Quantiles | None = None,
        earlier_step_size: float | None = None,
    ) -> QuantileStep:
        """One step of the energy's flow from q_k, over a time τ.

        Parameters
        ----------
        energy : Energy
        quantiles : Quantiles
            q_k.
        earlier : Quantiles, optional
            q_{k−1}, of as many cells: the step is then of second order.
        earlier_step_size : float, optional
            The time between the two, by default τ; at least τ/2.

        Raises
        ------
        ValueError
            For an energy not available on quantiles.
        JKOError
            When the residual is above the tolerance after max_iterations.
        FloatingPointError
            Where the energy or its derivatives are not finite.
        """
        instance("quantiles", quantiles, Quantiles)
        transport = self._transport(quantiles, earlier, earlier_step_size)
        of_quantiles, old = QuantileEnergy(energy), quantiles.values
        end = self._minimise(of_quantiles, transport, old)
        state = Quantiles(end.q)
        before, after = of_quantiles.value(old), of_quantiles.value(state.values)
        cost, still = transport(state.values).value, transport(old).value
        excess = after + cost - before - still
        failure = ""
        if not end.converged:
            failure = (
                f"a residual of {end.residual:.1e} remains, {self.tolerance:.1e} was asked for"
            )
        elif not excess <= 1e-12 * (abs(before) + abs(after) + cost + still):
            failure = f"the energy inequality fails by {excess:.1e}"
        if failure and self.require_convergence:
            raise JKOError(
                f"quantile step: {failure} after {end.iterations} iterations; give a smaller step_size, a larger "
                f"max_iterations than {self.max_iterations}, a larger tolerance, or an energy that is twice differentiable"
            )
        return QuantileStep(
            before,
            after,
            TransportCells(old, 0.5)(state.values).value,
            excess,
            end.residual,
            end.iterations,
            not failure,
            state,
        )

    def _transport(
        self, quantiles: Quantiles, earlier: Quantiles | None, earlier_step_size: float | None
    ) -> TransportCells:
        """W2²(q, q_k)/2ητ, or for a step from two states what differs from the two distances by a constant."""
        if earlier is None:
            if earlier_step_size is not None:
                raise refusal(
                    "earlier_step_size", "None where there is no earlier state", earlier_step_size
                )
            return TransportCells(quantiles.values, self.learning_rate * self.step_size)
        instance("earlier", earlier, Quantiles)
        if earlier.values.shape != quantiles.values.shape:
            raise wrong_shape("earlier", quantiles.values.shape, earlier.values.shape)
        two = TwoSteps.of(self.step_size, earlier_step_size)
        center = two.extrapolated(quantiles.values, earlier.values)
        return TransportCells(center, self.learning_rate * two.shorter)

    def _minimise(self, energy: QuantileEnergy, transport: TransportCells, old: Float64) -> Minimum:
        def total(q: Float64) -> Derivatives:
            return energy.derivatives(q, transport)

        unit = 1.0 / (transport.pace * (len(old) - 1))
        budget = self.max_iterations if energy.keeps_order else min(_TRIES, self.max_iterations)
        end = newton(total, _spread(old), unit, self.tolerance, budget)
        if end.converged or energy.keeps_order:
            return end
        return interior_point(total, _spread(old), unit, self.tolerance, self.max_iterations)


def _spread(q: Float64) -> Float64:
    """q with its cells of zero width, which these Newton methods cannot leave, slightly widened."""
    width, size = float(q[-1] - q[0]), float(np.abs(q).max())
    if np.all(np.diff(q) > 1e-14 * (width + size)):
        return q
    opening = max(1e-2 * width, 1e-6 * size) or 1e-3
    return q + opening * (np.arange(len(q)) / (len(q) - 1) - 0.5)
