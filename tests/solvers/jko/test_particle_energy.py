"""The Hessian of particles by differences of gradients, against its formula, some particles far away."""

import numpy as np
import pytest

from solvers.jko.particles.energy import ParticleEnergy

EPS = np.finfo(float).eps


class Wells:
    """∫ V dμ + ½ κ Var μ for a V whose derivatives are bounded; no hvp."""

    def __init__(self, slope, curvature, coupling):
        self.slope, self.curvature, self.coupling = slope, curvature, coupling

    def value(self, x):
        raise NotImplementedError

    def gradient(self, x):
        return self.slope(x) + self.coupling * (x - x.mean(axis=0))

    def exact(self, x, v):
        return self.curvature(x) * v + self.coupling * (v - v.mean(axis=0))


WELLS = {
    "waves": (np.cos, lambda x: -np.sin(x)),
    "one well": (np.tanh, lambda x: 1 / np.cosh(np.clip(x, -300, 300)) ** 2),
    "quadratic": (lambda x: 2 * x, lambda x: 2 + 0 * x),
    "rational": (lambda x: x / (1 + x**2), lambda x: (1 - x**2) / (1 + x**2) ** 2),
    "waves that grow": (lambda x: x + np.sin(2 * x), lambda x: 1 + 2 * np.cos(2 * x)),
}


@pytest.mark.parametrize("far", [1.0, 1e3, 1e5, 1e8])
@pytest.mark.parametrize("well", WELLS)
@pytest.mark.parametrize("coupling", [0.0, 1.0])
@pytest.mark.parametrize("is_still", [False, True])
def test_a_far_particle_does_not_spoil_the_difference(well, coupling, far, is_still):
    n = 40
    x = np.column_stack([np.linspace(-1, 1, n), np.sin(np.arange(n))])
    x[-1] = far, -far
    v = np.random.default_rng(0).standard_normal((n, 2))
    if is_still:
        v[-1] = 0
    objective = Wells(*WELLS[well], coupling)
    product = ParticleEnergy(objective, np.full(n, 1 / n)).hvp(x, v)
    # truncation h² with 1/6 of two more derivatives (2³ in the last well), rounding of positions over h: both (ε far)^(2/3)
    tolerance = 20 * (EPS * (1 + far)) ** (2 / 3) * np.abs(v).max() ** 3
    np.testing.assert_allclose(product, objective.exact(x, v), rtol=0, atol=tolerance)


def test_no_direction_has_no_product():
    energy = ParticleEnergy(Wells(*WELLS["waves"], 1.0), np.full(3, 1 / 3))
    assert not energy.hvp(np.ones((3, 2)), np.zeros((3, 2))).any()


def test_the_scheme_is_public():
    import solvers
    from solvers.jko.particles.steps import JKO, JKOError

    assert solvers.JKO is JKO and solvers.JKOError is JKOError
