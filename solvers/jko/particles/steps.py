"""Minimising movements (Jordan, Kinderlehrer, Otto) of particle measures, and their descent–ascent version."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from solvers._support.arguments import array, choice, count, flag, methods, real, refusal, settle
from solvers._support.reprs import compact_repr
from solvers.flow import check_learning_rate
from solvers.free_energy import FreeEnergy
from solvers.jko.particles.energy import ParticleEnergy
from solvers.jko.particles.plans import Plan
from solvers.jko.particles.state import ParticleState
from solvers.jko.particles.step_result import Certificate
from solvers.jko.particles.substeps import Walk
from solvers.jko.proximal_result import JKOError
from solvers.measures.entropy import estimator
from solvers.objective import Array

Float64 = NDArray[np.float64]

INNER = ("newton-cg", "l-bfgs")


@dataclass(frozen=True)
class JKOStep:
    """A step of `JKO`, or the part of it that could be covered.

    For several sub-steps, `transport_cost` and `transport_parts` are τ Σ_k W2_k²/τ_k, which is no less than W2² between the first
    and the last state, so the energy inequality E + W2²/2ητ ≤ E before holds with them as with a single step.

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
    certificates: tuple[Certificate, ...]  #: one per sub-step, two in a saddle step
    inner_iterations: int
    outer_iterations: int  #: plans computed
    step_size: float  #: the time covered: the sum of the sub-steps
    substeps: int
    rejected: int  #: sub-steps that failed and were halved
    converged: bool
    message: str

    __repr__ = compact_repr


@dataclass(frozen=True)
class JKO:
    """Minimising movements of particles: implicit steps of a Wasserstein gradient flow.

    One step of size τ from μ_n goes to

        μ = argmin  E[μ] + T Ent[μ] + W2²(μ, μ_n) / (2ητ),

    a first-order scheme for ∂_t μ = ∇·(μ η ∇E'[μ]) + ηT Δμ, stable for every τ. For particles x_i of fixed weights p_i, the
    minimisation alternates between the optimal plan P from old to new particles and the positions given the plan. At the end

        η g_i + (x_i − ȳ_i)/τ = 0,    ȳ_i = Σ_j P_ij y_j / p_i,    E[x] + T Ent[x] + W2²(x, y)/2ητ ≤ E[y] + T Ent[y]

    with g the Wasserstein gradient. The first holds to `tol`, the second, the certificate of descent, to rounding. Where E is
    not convex (along the step's plan) the minimiser is a local one, found by descent from the old particles; a critical point
    is a fixed point.

    ``saddle=True`` is for the free energy F_η of gradient descent with learning rate η (`FreeEnergy`, endpoint closure), on
    pairs of weights and fluctuations (w_i, u_i): weights descend, fluctuations ascend,

        w_i = w̄_i − τη ∂_w F_i(w, u),    u_i = ū_i + τη ∂_u F_i(w, u),

    w̄ and ū being projected by the optimal plan for the joint cost |Δw|² + |Δu|². Where it is the identity, as for short
    steps, this is the implicit Euler scheme of `FreeEnergyFlow`. Given the plan and the other part, w minimises
    F + Σ_i p_i |w_i − w̄_i|²/2ητ and u maximises F − Σ_i p_i |u_i − ū_i|²/2ητ. The latter is strictly concave only if

        τ (ηS − 2) < 1,    S the top eigenvalue of ½(∇²E(w + u) + ∇²E(w − u)),

    which is required at both ends. Certificates: neither part gains by returning to w̄ or ū,

        F(w, u) + Σ_i p_i |w_i − w̄_i|²/2ητ ≤ F(w̄, u),    F(w, u) − Σ_i p_i |u_i − ū_i|²/2ητ ≥ F(w, ū).

    A step that is not solved, or violates a certificate, is halved, and the whole step_size is covered by sub-steps.

    Parameters
    ----------
    step_size : float
        τ > 0, in iterations of gradient descent with learning rate η; at η = 1, time of the plain Wasserstein gradient flow.
    learning_rate : float
        η > 0.
    temperature : float
        T ≥ 0. Only 0 with saddle=True: noise on the weights alone is not a gradient flow of F plus an entropy.
    saddle : bool
    entropy : object, optional
        Ent on particles: ``value(x, weights=None)``, ``gradient(x, weights=None)`` and possibly ``hvp(x, v, weights=None)``, with
        the conventions of `ParticleEnergy`. By default ``measures.entropy.estimator`` of the particles before the step: off the
        line its bandwidth follows them from step to step, while a given one stays the same functional.
    inner : {"newton-cg", "l-bfgs"}, optional
        Minimiser over positions: SciPy's trust-region Newton-CG or L-BFGS-B, either followed by Newton's method down to
        rounding. By default the first where there is an hvp. A saddle step always uses Newton–Krylov.
    tol : float
        Tolerated residual, relative to the speed η|g| at the start of the step (separately for weights and fluctuations).
    max_iterations : int
        Limit for the minimiser, or for Newton's method, each time.
    max_plans, max_plan_iterations : int
        Limits for the alternations, and for the iterations of the network simplex in each.
    max_halvings : int
        The shortest sub-step is τ / 2^max_halvings.
    require_convergence : bool
        False: return the part covered, certified but marked ``converged=False``, instead of raising.

    Raises
    ------
    ValueError
        For a parameter out of range.

    References
    ----------
    Jordan, Kinderlehrer, Otto 1998 (the scheme); Ambrosio, Gigli, Savaré 2008; Chodron de Courcel, arXiv:2606.05326 (F).

    Examples
    --------
    In the potential ½x² every particle takes a step of the implicit Euler scheme, x/(1 + τ):

    >>> energy = solvers.energies.Potential(lambda x: 0.5 * x[:, 0] ** 2)
    >>> step = solvers.JKO(step_size=0.25).step(energy, [[1.0], [2.0]])
    >>> step.state.ravel().round(6), step.plan_is_identity
    (array([0.8, 1.6]), True)
    """

    step_size: float
    learning_rate: float = 1.0
    temperature: float = 0.0
    saddle: bool = False
    entropy: Any = None
    inner: str | None = None
    tol: float = 1e-8
    max_iterations: int = 200
    max_plans: int = 50
    max_plan_iterations: int = 10**9
    max_halvings: int = 8
    require_convergence: bool = True

    def __post_init__(self) -> None:
        settle(
            self,
            step_size=real("step_size", self.step_size, above=0),
            learning_rate=check_learning_rate(self.learning_rate),
            temperature=real("temperature", self.temperature, least=0),
            saddle=flag("saddle", self.saddle),
            tol=real("tol", self.tol, above=0),
            max_halvings=count("max_halvings", self.max_halvings, 0),
            require_convergence=flag("require_convergence", self.require_convergence),
        )
        for name in ("max_iterations", "max_plans", "max_plan_iterations"):
            settle(self, **{name: count(name, getattr(self, name))})
        if self.saddle and self.temperature > 0:
            raise refusal("temperature", "0 where saddle=True", self.temperature)
        if self.inner is not None:
            choice("inner", self.inner, INNER)
        if self.entropy is not None:
            methods("entropy", self.entropy, ["value", "gradient"], "JKO")

    def step(
        self,
        objective: Any,
        state: ArrayLike,
        weights: ArrayLike | None = None,
        guess: ArrayLike | None = None,
        guess_weights: ArrayLike | None = None,
    ) -> JKOStep:
        """One step from `state`.

        Parameters
        ----------
        objective : Objective
            E on particles, its gradient the Wasserstein one (`Risk`); it receives ``weights`` if they are given here. On one
            point x (D,), any objective.
        state : (N, D) particles, or (D,) for a single one. With saddle=True (2, N, D) or (2, D): weights and fluctuations.
        weights : (N,), optional
            Positive, of sum one; 1/N each by default.
        guess : (M, D), optional
            Initial guess; shaped like the state, or with another number of particles, which the new state then has.
            (2, M, D) with saddle=True.
        guess_weights : (M,), optional
            By default `weights` if there are as many, else 1/M each. Where they differ from the old ones, the certificate
            compares with the larger of E[state] and the guess's own E + W2²/2ητ: other particles may not be able to represent
            the old measure.

        Raises
        ------
        ValueError
            For arrays of wrong shape, empty or not finite; weights that are not probabilities or include zeros.
        JKOError
            When no sub-step down to τ / 2^max_halvings could be solved.
        TransportError
            When a plan takes more than max_plan_iterations.
        """
        state = array("state", state)
        guess = None if guess is None else array("guess", guess)
        measure = ParticleState.of("state", state, "weights", weights, self.saddle)
        target = measure
        if guess is not None:
            if guess_weights is None and np.shape(guess) == np.shape(state):
                guess_weights = weights
            target = ParticleState.of("guess", guess, "guess_weights", guess_weights, self.saddle)
            measure.check_fits(target)
        elif guess_weights is not None:
            raise refusal("guess_weights", "None where there is no guess", guess_weights)
        pass_weights = weights is not None or guess_weights is not None
        _check_weighted(objective, pass_weights)
        entropy = self._entropy(measure)
        before, energy = (
            ParticleEnergy(
                objective,
                m.weights,
                pass_weights=pass_weights,
                single=measure.single,
                dtype=measure.dtype,
                temperature=self.temperature,
                entropy=entropy,
            )
            for m in (measure, target)
        )
        energy_before = self._energy_at(before, measure.positions)
        start = None if guess is None else target.positions
        walk = Walk(self, energy, before, measure.positions, start)
        walk.cover()
        if walk.stopped and self.require_convergence:
            raise JKOError(
                f"after {walk.covered:.3g} of step_size = {self.step_size:.3g} a sub-step of "
                f"{self.step_size / 2**self.max_halvings:.3g} failed: {walk.stopped}; give a shorter step_size, "
                "more max_halvings or max_iterations, or a larger tol"
            )
        return _report(walk, measure, target, energy_before)

    def _entropy(self, measure: ParticleState) -> Any:
        if self.temperature == 0 or self.entropy is not None:
            return self.entropy
        return estimator(measure.positions, weights=measure.weights)

    def _energy_at(self, energy: ParticleEnergy, positions: Float64) -> float:
        """The energy at the start of a step; ValueError if it is not finite."""
        if self.saddle:
            value = FreeEnergy(energy, self.learning_rate).value(*np.split(positions, 2, axis=1))
        else:
            value = energy.value(positions)
        if not math.isfinite(value):
            raise ValueError(f"state must have a finite energy, got {value}")
        return value


def _report(walk: Walk, old: ParticleState, new: ParticleState, energy_before: float) -> JKOStep:
    moves = walk.moves
    measure = new if moves else old
    plan = Plan(old.weights)
    for move in moves:
        plan = move.plan.after(plan)
    # τ Σ_k W2_k² / τ_k of every part
    parts = np.sum(
        [[walk.covered / m.step_size * part for part in m.transport_parts] for m in moves]
        or [[0.0] * (1 + old.saddle)],
        axis=0,
    )
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
        transport_cost=float(parts.sum()),
        transport_parts=tuple(parts.tolist()),
        residual=max((m.residual for m in moves), default=math.nan),
        plan_is_identity=plan.is_identity,
        plan=plan.matrix,
        certificates=tuple(c for m in moves for c in m.certificates),
        inner_iterations=sum(m.inner_iterations for m in moves),
        outer_iterations=sum(m.outer_iterations for m in moves),
        step_size=walk.covered,
        substeps=len(moves),
        rejected=walk.rejected,
        converged=not walk.stopped,
        message="; ".join(messages),
    )


def _check_weighted(objective: Any, pass_weights: bool) -> None:
    methods("objective", objective, ["value", "gradient"], "JKO")
    if not pass_weights:
        return
    parameters = signature(objective.value).parameters.values()
    if not any(p.name == "weights" or p.kind == p.VAR_KEYWORD for p in parameters):
        raise ValueError(
            "weights must be None for an objective of particles of equal weight, got weights and a "
            f"{type(objective).__name__} whose value takes none"
        )
