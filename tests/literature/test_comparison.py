"""Which model of gradient descent stays closest to it: what the documentation's table claims (docs/comparison.md)."""

import numpy as np
import pytest

import solvers
from meanfield.landscapes import MatrixFactorization, Valley

CASES = {
    "valley": (Valley(), 0.3, 1500),
    "matrix factorisation": (MatrixFactorization(), 0.077, 400),
}


@pytest.mark.parametrize("case", CASES)
def test_the_delayed_free_energy_flow_is_closest(case):
    landscape, eta, steps = CASES[case]
    start = np.array(landscape.start)
    descent = solvers.solve(solvers.GradientDescent(eta), landscape, start, steps)

    def distance(flow):
        centers = solvers.solve(flow, landscape, start, steps).centers
        return np.sqrt(np.mean(np.sum((centers - descent.centers) ** 2, axis=1)))

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


def test_exact_growth_is_closer_than_the_other_models_on_the_valley():
    landscape, eta, steps = CASES["valley"]
    start = np.array(landscape.start)
    y = solvers.solve(solvers.GradientDescent(eta), landscape, start, steps).centers[:, 1]

    def distance(flow):
        return np.sqrt(
            np.mean((solvers.solve(flow, landscape, start, steps).centers[:, 1] - y) ** 2)
        )

    exact = distance(solvers.FreeEnergyFlow(eta, growth="exact"))
    for other in (solvers.RodFlow(eta), solvers.EdgeFlow(eta), solvers.CentralFlow(eta)):
        assert exact < distance(other)
