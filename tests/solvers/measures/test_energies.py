import numpy as np
import pytest

from solvers.measures.energies import Entropy, Functional, Interaction, Potential, PowerEntropy
from solvers.measures.scalar_field import ScalarField

RNG = np.random.default_rng(3)
X, V, AT = RNG.standard_normal((7, 2)), RNG.standard_normal((7, 2)), RNG.standard_normal((4, 2))
P = RNG.dirichlet(np.ones(7))


def well(x):
    return np.sum(x**2, axis=1) ** 2 + x[:, 0] * x[:, 1]


def well_gradient(x):
    return 4 * np.sum(x**2, axis=1)[:, None] * x + x[:, ::-1]


def well_hessian(x):
    square = np.sum(x**2, axis=1)[:, None, None]
    return 4 * square * np.eye(2) + 8 * x[:, :, None] * x[:, None, :] + (1 - np.eye(2))


def bell(r):
    return -np.exp(-0.5 * np.sum(r**2, axis=1))


def bell_gradient(r):
    return -bell(r)[:, None] * r


def bell_hessian(r):
    return bell(r)[:, None, None] * (r[:, :, None] * r[:, None, :] - np.eye(2))


EXACT = {
    "potential": Potential(well, well_gradient, well_hessian),
    "interaction": Interaction(bell, bell_gradient, bell_hessian),
    "sum": Potential(well, well_gradient, well_hessian)
    + Interaction(bell, bell_gradient, bell_hessian),
}
DIFFERENCED = {
    "potential": Potential(well),
    "interaction": Interaction(bell),
    "sum": Potential(well) + Interaction(bell),
}


def test_values_by_hand():
    expected = P @ well(X)
    pairs = np.array([[bell((x - y)[None])[0] for y in X] for x in X])
    assert EXACT["potential"].value(X, P) == pytest.approx(expected, rel=1e-14)
    assert EXACT["interaction"].value(X, P) == pytest.approx(0.5 * P @ pairs @ P, rel=1e-14)
    assert EXACT["sum"].value(X) == pytest.approx(well(X).mean() + 0.5 * pairs.mean(), rel=1e-13)


@pytest.mark.parametrize("name", EXACT)
def test_the_wasserstein_gradient_is_the_gradient_over_the_weight(name):
    """Central differences of size 1e-5: h² times third derivatives of order 50."""
    energy, h = EXACT[name], 1e-5
    gradient = energy.gradient(X, weights=P)
    for i, k in np.ndindex(X.shape):
        step = np.zeros_like(X)
        step[i, k] = h
        slope = (energy.value(X + step, P) - energy.value(X - step, P)) / (2 * h)
        assert P[i] * gradient[i, k] == pytest.approx(slope, abs=1e-8)
    moved = (energy.gradient(X + h * V, P) - energy.gradient(X - h * V, P)) / (2 * h)
    np.testing.assert_allclose(energy.hvp(X, V, weights=P), moved, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", EXACT)
def test_the_gradient_elsewhere_is_that_of_the_first_variation(name):
    """A probe of weight zero feels the others and does not move them."""
    energy = EXACT[name]
    with_probes = np.concatenate([X, AT])
    weights = np.concatenate([P, np.zeros(len(AT))])
    expected = energy.gradient(with_probes, weights)[len(X) :]
    np.testing.assert_allclose(energy.gradient(X, P, at=AT), expected, rtol=1e-13)


@pytest.mark.parametrize("name", EXACT)
def test_differences_stand_for_missing_derivatives(name):
    """Rounding ε/h at h = ε^(1/5) is 3e-13 of functions of size up to 100; once more for the Hessian."""
    exact, differenced = EXACT[name], DIFFERENCED[name]
    np.testing.assert_allclose(differenced.gradient(X, P), exact.gradient(X, P), atol=1e-9)
    np.testing.assert_allclose(differenced.hvp(X, V, P), exact.hvp(X, V, P), atol=1e-6)


def test_a_particle_exerts_no_force_on_itself():
    """Coulomb's force on the line and ln|r| have no value at 0."""
    log = Interaction(
        lambda r: -np.log(np.abs(r[:, 0])), lambda r: -1 / r, lambda r: 1 / r[..., None] ** 2
    )
    x = np.array([[0.0], [1.0], [3.0]])
    np.testing.assert_allclose(log.gradient(x)[:, 0], np.array([4 / 3, -1 / 2, -5 / 6]) / 3)
    np.testing.assert_allclose(log.hvp(x, np.array([[1.0], [0.0], [0.0]]))[1], -1 / 3)
    assert log.value(x) == np.inf


def test_a_sum_has_all_terms():
    total = (Potential(well) + Entropy(0.5)) + (PowerEntropy(2.0) + Interaction(bell))
    assert [type(term).__name__ for term in total.terms] == [
        "Potential",
        "Entropy",
        "PowerEntropy",
        "Interaction",
    ]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Entropy(0.0), "temperature must be .*got 0.0"),
        (lambda: Entropy(np.nan), "temperature must be .*got nan"),
        (lambda: PowerEntropy(1.0), "exponent must be other than 1, got 1"),
        (lambda: PowerEntropy(-1.0), "exponent must be .*got -1.0"),
        (lambda: PowerEntropy(2.0, 0.0), "coefficient must be .*got 0.0"),
        (
            lambda: Entropy().value(X),
            "energy must be defined on particles, got Entropy; give JKO a temperature",
        ),
        (
            lambda: (EXACT["sum"] + PowerEntropy(2.0)).gradient(X),
            "got PowerEntropy; take Quantiles on the line",
        ),
        (
            lambda: Functional(float, well).hvp(X, V),
            "on particles, got Functional; take a Grid",
        ),
        (
            lambda: Potential(lambda x: x).value(X),
            r"function's value must have shape \(7,\), got \(7, 2\)",
        ),
        (
            lambda: Potential(well, well).gradient(X),
            r"gradient's value must have shape \(7, 2\), got \(7,\)",
        ),
        (lambda: Interaction(lambda r: r[:, 0]).value(X), "function must be even"),
        (lambda: EXACT["potential"].value(X, [1.0]), r"weights must have shape"),
        (lambda: ScalarField(well, None, well).hessians(X), "hessian's value must have shape"),
    ],
)
def test_bad_energies(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_only_energies_add_up():
    with pytest.raises(TypeError):
        Entropy() + 1.0
