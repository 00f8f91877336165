"""Which model of gradient descent stays closest to it: what the documentation's table claims (docs/results/comparison.md)."""

from functools import cache

import numpy as np
import pytest

import solvers
from meanfield.landscapes import MatrixFactorization, Valley

# Of the table's 400 steps of the factorisation those with spikes: at rest, after them, all models come closer to it.
CASES = {
    "valley": (Valley(), 0.3, 1500),
    "matrix factorisation": (MatrixFactorization(), 0.077, 200),
}


@cache
def centers(case, flow):
    landscape, _, steps = CASES[case]
    return solvers.solve(flow, landscape, np.array(landscape.start), steps).centers


@pytest.mark.slow
@pytest.mark.essential
@pytest.mark.parametrize("case", CASES)
def test_the_delayed_free_energy_flow_is_closest(case):
    eta = CASES[case][1]
    descent = centers(case, solvers.GradientDescent(eta))

    def distance(flow):
        return np.sqrt(np.mean(np.sum((centers(case, flow) - descent) ** 2, axis=1)))

    delayed = distance(solvers.FreeEnergyFlow(eta, delay=True))
    for other in (
        solvers.FreeEnergyFlow(eta),
        solvers.FreeEnergyFlow(eta, growth="exact"),
        solvers.RodFlow(eta),
        solvers.EdgeFlow(eta),
        solvers.CentralFlow(eta),
        solvers.GradientFlow(eta),
    ):
        assert delayed < 0.5 * distance(other)


@pytest.mark.slow
@pytest.mark.essential
def test_exact_growth_is_closer_than_the_other_models_on_the_valley():
    eta = CASES["valley"][1]
    y = centers("valley", solvers.GradientDescent(eta))[:, 1]

    def distance(flow):
        return np.sqrt(np.mean((centers("valley", flow)[:, 1] - y) ** 2))

    exact = distance(solvers.FreeEnergyFlow(eta, growth="exact"))
    for other in (solvers.RodFlow(eta), solvers.EdgeFlow(eta), solvers.CentralFlow(eta)):
        assert exact < distance(other)
