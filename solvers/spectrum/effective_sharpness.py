"""The sharpness that an optimizer feels, over its own threshold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from solvers._support.arguments import instance
from solvers.flow import Flow
from solvers.spectrum.eigenpairs import Eigenpairs, top_eigenpairs
from solvers.state import State


class _Preconditioned:
    """P^(−1/2) H P^(−1/2), which has the eigenvalues of P⁻¹H."""

    def __init__(self, objective: Any, root: Any) -> None:
        self._objective, self._root = objective, root

    def hvp(self, x: Any, v: Any) -> Any:
        return self._objective.hvp(x, v / self._root) / self._root

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objective, name)


def effective_sharpness(
    flow: Flow, objective: Any, state: State, pairs: Eigenpairs | None = None
) -> float:
    """λ₁(P⁻¹H) over the threshold of an update rule: 1 is its edge of stability.

    For gradient descent and its models P = 1/η and the threshold is 2, so that this is ηS/2; with momentum the threshold is
    another, and the rules with a mean of squared gradients have P = diag(√ν + ε)/η.

    Parameters
    ----------
    flow : Flow
        An optimizer, or a model of gradient descent.
    objective : Objective
        With `hvp`.
    state : State
        ``Solution.state``, or ``Observation.state``; the Hessian is taken at its center.
    pairs : Eigenpairs, optional
        The top of the Hessian's spectrum at the center, if it is known: where P is a number nothing more is computed, else its
        vectors are where the iteration starts.

    Returns
    -------
    float
        NaN where the flow has no threshold, or P has a zero (no gradient has been seen and ε = 0).

    Raises
    ------
    ValueError
        For a flow, a state or pairs of another kind.

    References
    ----------
    Cohen et al., arXiv:2207.14484.

    Examples
    --------
    >>> import numpy as np, solvers
    >>> class Quadratic:
    ...     def value(self, x): return 1.5 * float(x @ x)
    ...     def gradient(self, x): return 3.0 * x
    ...     def hvp(self, x, v): return 3.0 * v
    >>> flow = solvers.HeavyBall(0.5, momentum=0.5)
    >>> state = solvers.solve(flow, Quadratic(), np.array([1.0]), steps=1).state
    >>> solvers.effective_sharpness(flow, Quadratic(), state)  # 0.5 · 3/(2 · 1.5)
    0.5
    """
    flow = instance("flow", flow, Flow, "for instance Adam(1e-3)")
    state = instance("state", state, State, "for instance solution.state")
    if pairs is not None:
        pairs = instance("pairs", pairs, Eigenpairs, "as of top_eigenpairs")
    preconditioner, edge = flow.preconditioner(state.step, state.values), flow.edge
    if math.isnan(edge) or not np.all(np.asarray(preconditioner) > 0):
        return math.nan
    center = flow.center(state.step, state.values)
    if np.ndim(preconditioner) == 0:
        known = top_eigenpairs(objective, center) if pairs is None else pairs
        return float(known.values[0]) / (float(preconditioner) * edge)
    root = np.sqrt(preconditioner)
    start = None if pairs is None or not pairs.converged else pairs.vectors[:1] * root
    own = _Preconditioned(objective, root)
    return float(top_eigenpairs(own, center, start=start).values[0]) / edge
