"""The result of a step of particles."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from solvers._support.reprs import compact_repr
from solvers.jko.particles.plans import Plan, optimal_plan
from solvers.jko.particles.state import ParticleState
from solvers.jko.particles.step_result import ROUNDINGS, Certificate, Move
from solvers.jko.particles.substeps import Walk
from solvers.jko.proximal_result import JKOError
from solvers.jko.two_steps import TwoSteps
from solvers.objective import Array


@dataclass(frozen=True)
class JKOStep:
    """A step of `JKO`, or the part of it that could be covered.

    For several sub-steps, `transport_cost` and `transport_parts` are τ Σ_k W2_k²/τ_k, which is no less than W2² between the first
    and the last state, so the energy inequality E + W2²/2ητ ≤ E before holds with them as with a single step. For a step from two
    states the plan is that from the given state, however many sub-steps there are.

    Examples
    --------
    The cost is W2², here the mean of 0.2² and 0.4², and E + W2²/2τ is at most the energy before:

    >>> energy = solvers.energies.Potential(lambda x: 0.5 * x[:, 0] ** 2)
    >>> step = solvers.JKO(step_size=0.25).step(energy, [[1.0], [2.0]])
    >>> round(step.energy_before, 6), round(step.energy, 6), round(step.transport_cost, 6)
    (1.25, 0.8, 0.1)
    """

    state: Array  #: shaped like the one given; (M, D) or (2, M, D) from a guess of M particles
    weights: NDArray[np.float64]  #: (M,)
    energy_before: float  #: E + T Ent, or F for a saddle step, at the given state
    energy: float  #: the same at the new state
    transport_cost: float  #: W2², Σ_ij P_ij |x_i − y_j|²
    transport_parts: tuple[float, ...]  #: of the weights and of the fluctuations, in a saddle step
    residual: float  #: of the optimality condition, RMS over particles, length per iteration; the largest of the sub-steps
    plan_is_identity: bool
    plan: csr_array | None = field(
        repr=False
    )  #: (M, N), from old to new; that of several sub-steps is glued; None: the identity
    certificates: tuple[
        Certificate, ...
    ]  #: one per sub-step, two in a saddle step; one more from two states
    inner_iterations: int
    outer_iterations: int  #: plans computed
    step_size: float  #: the time covered: the sum of the sub-steps
    substeps: int
    rejected: int  #: sub-steps that failed and were halved
    converged: bool
    message: str

    __repr__ = compact_repr


def report(walk: Walk, old: ParticleState, new: ParticleState, energy_before: float) -> JKOStep:
    """What the moves of a walk from the old to the new particles came to."""
    moves, plan = walk.moves, _plan(walk, old)
    # τ Σ_k W2_k² / τ_k of every part
    parts = np.sum(
        [[walk.covered / m.step_size * part for part in m.transport_parts] for m in moves]
        or [[0.0] * (1 + old.saddle)],
        axis=0,
    )
    certificates = tuple(c for m in moves for c in m.certificates)
    return _result(walk, old, new, energy_before, plan, tuple(parts.tolist()), certificates)


def report_of_two(
    walk: Walk, old: ParticleState, moving: ParticleState, energy_before: float, two: TwoSteps
) -> JKOStep:
    """The same for a step from two states, the walk being that of the particles extrapolated from them."""
    x, y, p, sides = walk.positions, old.positions, old.weights, 1 + old.saddle
    plan = optimal_plan(x, y, p, p, walk.scheme.max_plan_iterations)
    ends = np.split(x, sides, axis=1), np.split(y, sides, axis=1)
    parts = tuple(plan.cost(*pair) for pair in zip(*ends, strict=True))
    certificates = tuple(c for m in walk.moves for c in m.certificates)
    if len(walk.moves) == 1 and not old.saddle and not walk.stopped:
        certificates += (_descent(walk, walk.moves[0], old, moving, energy_before),)
    found = _result(walk, old, old, energy_before, plan, parts, certificates)
    return replace(found, step_size=walk.covered * two.step_size / two.shorter)


def _descent(
    walk: Walk, move: Move, old: ParticleState, moving: ParticleState, before: float
) -> Certificate:
    """E + |x − x̃|²/2ητ' is no larger than at the state, which is where its minimisation began."""
    pace = 2.0 * walk.scheme.learning_rate * move.step_size
    still = Plan(old.weights).cost(old.positions, moving.positions) / pace
    terms = move.energy, move.transport_parts[0] / pace, -before, -still
    sizes = sum(map(abs, terms))
    found = Certificate("descent from two", sum(terms), ROUNDINGS * walk.energy.eps * sizes)
    if not found.holds:
        raise JKOError(
            f"the energy inequality of a step from two states fails by {found.excess:.1e}; give a shorter step_size"
        )
    return found


def _plan(walk: Walk, old: ParticleState) -> Plan:
    plan = Plan(old.weights)
    for move in walk.moves:
        plan = move.plan.after(plan)
    return plan


def _result(
    walk: Walk,
    old: ParticleState,
    new: ParticleState,
    energy_before: float,
    plan: Plan,
    parts: tuple[float, ...],
    certificates: tuple[Certificate, ...],
) -> JKOStep:
    moves = walk.moves
    measure = new if moves else old
    messages = []
    if walk.halved:
        messages.append(f"taken in {len(moves)} sub-steps: {walk.halved}")
    if walk.stopped:
        messages.append(f"stopped after {walk.covered:.3g}: {walk.stopped}")
    if walk.growth_unknown:
        messages.append(
            "the sharpness did not converge, the ascent step may not be strictly concave"
        )
    return JKOStep(
        state=old.shaped(walk.positions),
        weights=measure.weights,
        energy_before=energy_before,
        energy=moves[-1].energy if moves else energy_before,
        transport_cost=float(sum(parts)),
        transport_parts=parts,
        residual=max((m.residual for m in moves), default=math.nan),
        plan_is_identity=plan.is_identity,
        plan=plan.matrix,
        certificates=certificates,
        inner_iterations=sum(m.inner_iterations for m in moves),
        outer_iterations=sum(m.outer_iterations for m in moves),
        step_size=walk.covered,
        substeps=len(moves),
        rejected=walk.rejected,
        converged=not walk.stopped,
        message="; ".join(messages),
    )
