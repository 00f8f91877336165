"""Minimising movements (Jordan, Kinderlehrer, Otto) of particle measures, and their descent–ascent version."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers._support.arguments import (
    array,
    choice,
    count,
    flag,
    methods,
    real,
    refusal,
    settle,
    wrong_shape,
)
from solvers.flow import check_learning_rate
from solvers.free_energy import FreeEnergy
from solvers.jko.particles.energy import ParticleEnergy
from solvers.jko.particles.report import JKOStep, report, report_of_two
from solvers.jko.particles.state import ParticleState
from solvers.jko.particles.substeps import Walk
from solvers.jko.proximal_result import JKOError, check_pace
from solvers.jko.two_steps import TwoSteps
from solvers.measures.entropy import estimator

Float64 = NDArray[np.float64]

INNER = ("newton-cg", "l-bfgs")


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

    A step from two states, ``step(…, earlier=…)``, is of second order: with A = 1/(ητ), B = 1/(4ητ) for equal steps

        μ = argmin  E[μ] + T Ent[μ] + A W2²(μ, μ_n) − B W2²(μ, μ_{n−1}),

    the variational BDF2 scheme, which on particles is the step of size 2τ/3 above from x̃ = x_n + (x_n − x_{n−1})/3; with
    saddle=True it is solvable where 2τ(ηS − 2)/3 < 1. Certificates are those of that step and, without saddle, that the sum above
    is no larger than at μ_n: then E + A W2²/4 falls by at least A W2²/4. One step of first order to start with leaves the error
    of second order; at a temperature off the line give the `entropy`, since the default one follows the particles with a delay.

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
    Jordan, Kinderlehrer, Otto 1998 (the scheme); Ambrosio, Gigli, Savaré 2008; Chodron de Courcel, arXiv:2606.05326 (F);
    Matthes & Plazotta, arXiv:1711.02935, and Gallouët, Natale & Todeschini, arXiv:2209.14622 (BDF2).

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
        check_pace(self)
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
        earlier: ArrayLike | None = None,
        earlier_step_size: float | None = None,
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
        earlier : shaped like the state, optional
            The same particles one step before: the step is then of second order. Where the plan of the step between them was not
            the identity, its projection Σ_j P_ij y_j / p_i. Without a guess.
        earlier_step_size : float, optional
            The time between the two, by default τ; at least τ/2.

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
        if earlier is not None:
            two, moving = self._extrapolated(measure, earlier, earlier_step_size, guess)
            return self._from_two(objective, measure, moving, two, weights is not None)
        if earlier_step_size is not None:
            raise refusal(
                "earlier_step_size", "None where there is no earlier state", earlier_step_size
            )
        target = measure
        if guess is not None:
            if guess_weights is None and np.shape(guess) == np.shape(state):
                guess_weights = weights
            target = ParticleState.of("guess", guess, "guess_weights", guess_weights, self.saddle)
            measure.check_fits(target)
        elif guess_weights is not None:
            raise refusal("guess_weights", "None where there is no guess", guess_weights)
        pass_weights = weights is not None or guess_weights is not None
        before, energy = self._energies(objective, (measure, target), measure, pass_weights)
        energy_before = self._energy_at(before, measure.positions)
        start = None if guess is None else target.positions
        walk = self._walked(Walk(self, energy, before, measure.positions, start))
        return report(walk, measure, target, energy_before)

    def _from_two(
        self,
        objective: Any,
        measure: ParticleState,
        moving: ParticleState,
        two: TwoSteps,
        pass_weights: bool,
    ) -> JKOStep:
        """The step of size τ' from the extrapolated particles."""
        (energy,) = self._energies(objective, (measure,), moving, pass_weights)
        energy_before = self._energy_at(energy, measure.positions)
        start = None if self.saddle else measure.positions
        shorter = replace(self, step_size=two.shorter)
        walk = shorter._walked(Walk(shorter, energy, energy, moving.positions, start))
        return report_of_two(walk, measure, moving, energy_before, two)

    def _extrapolated(
        self,
        measure: ParticleState,
        earlier: ArrayLike,
        earlier_step_size: float | None,
        guess: object,
    ) -> tuple[TwoSteps, ParticleState]:
        if guess is not None:
            raise refusal("guess", "None where there is an earlier state", guess)
        earlier = array("earlier", earlier)
        if np.shape(earlier) != measure.shaped(measure.positions).shape:
            raise wrong_shape("earlier", measure.shaped(measure.positions).shape, np.shape(earlier))
        given = ParticleState.of("earlier", earlier, "weights", measure.weights, self.saddle)
        two = TwoSteps.of(self.step_size, earlier_step_size)
        return two, replace(measure, positions=two.extrapolated(measure.positions, given.positions))

    def _walked(self, walk: Walk) -> Walk:
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
            walk.cover()
        if walk.stopped and self.require_convergence:
            raise JKOError(
                f"after {walk.covered:.3g} of step_size = {self.step_size:.3g} a sub-step of "
                f"{self.step_size / 2**self.max_halvings:.3g} failed: {walk.stopped}; give a shorter step_size, "
                "more max_halvings or max_iterations, or a larger tol"
            )
        return walk

    def _energies(
        self,
        objective: Any,
        measures: tuple[ParticleState, ...],
        of_entropy: ParticleState,
        pass_weights: bool,
    ) -> list[ParticleEnergy]:
        _check_weighted(objective, pass_weights)
        entropy = self._entropy(of_entropy)
        return [
            ParticleEnergy(
                objective,
                m.weights,
                pass_weights=pass_weights,
                single=m.single,
                dtype=m.dtype,
                temperature=self.temperature,
                entropy=entropy,
            )
            for m in measures
        ]

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
