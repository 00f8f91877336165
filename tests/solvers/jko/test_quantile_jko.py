import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, brentq, minimize

from solvers import transport
from solvers.jko.proximal_result import JKOError
from solvers.jko.quantile.energy import QuantileEnergy, TransportCells
from solvers.jko.quantile.steps import QuantileJKO
from solvers.measures.energies import (
    Energy,
    Entropy,
    Functional,
    Interaction,
    Potential,
    PowerEntropy,
)
from solvers.measures.representations import Particles, Quantiles

HARMONIC = Potential(lambda x: 0.5 * x[:, 0] ** 2, lambda x: x, lambda x: np.ones((*x.shape, 1)))
WELLS = Potential(
    lambda x: 4 * (x[:, 0] ** 2 - 1) ** 2,
    lambda x: 16 * x * (x**2 - 1),
    lambda x: (48 * x**2 - 16)[..., None],
)
BELL = Interaction(lambda r: -np.exp(-0.5 * r[:, 0] ** 2))
LOG = Interaction(
    lambda r: 0.5 * r[:, 0] ** 2 - np.log(np.abs(r[:, 0])),
    lambda r: r - 1 / r,
    lambda r: (1 + 1 / r**2)[..., None],
)
NORMAL = Quantiles(np.linspace(-2.5, 2.5, 61) + 0.05 * np.sin(np.arange(61)))
#: Opening a cell from nothing, as log w knows no step but doubling, takes more steps than the few of Newton's method.
FEW = 8


def equilibrium(n):
    """Of x²/2 with entropy, in n cells: a step of no cost of transport, three times over for the last digits."""
    q = Quantiles(np.linspace(-2, 2, n + 1))
    for _ in range(3):
        q = QuantileJKO(1e9, tolerance=1e-9).step(HARMONIC + Entropy(), q).state
    return q


@pytest.mark.parametrize("step_size", [0.025, 0.1, 1.0, 10.0])
def test_multiples_of_the_equilibrium_obey_the_gaussian_recursion(step_size):
    """Scaling q by s adds −log s to the entropy and scales what is quadratic, so s' (1 + τ) − τ/s' = s in *any* number of cells;
    and at rest −1 + ∫Q² = 0, so that s is the standard deviation itself."""
    rest = equilibrium(50)
    assert rest.covariance()[0, 0] == pytest.approx(1.0, abs=1e-12)
    step = QuantileJKO(step_size).step(HARMONIC + Entropy(), Quantiles(2 * rest.values))
    s = (2 + np.sqrt(4 + 4 * step_size * (1 + step_size))) / (2 * (1 + step_size))
    np.testing.assert_allclose(step.state.values, s * rest.values, rtol=0, atol=1e-11)
    assert step.residual < 1e-13 and step.iterations < FEW
    assert step.transport_cost == pytest.approx((2 - s) ** 2, rel=1e-11)
    drop = 0.5 * (4 - s**2) - np.log(2 / s)
    assert step.energy_before - step.energy == pytest.approx(drop, rel=1e-11)
    assert step.excess == pytest.approx((2 - s) ** 2 / (2 * step_size) - drop, rel=1e-9)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0, 5.0])
def test_one_cell_widens_as_its_one_equation_says(exponent):
    """A box of width w: W2² = (w − w₀)²/12, ∫ρ log ρ = −log w, ∫ρ^m/(m − 1) = w^(1−m)/(m − 1)."""
    tau, wide = 0.3, 1.7
    energy = Entropy() if exponent == 1 else PowerEntropy(exponent)
    step = QuantileJKO(tau).step(energy, Quantiles([-0.5 * wide, 0.5 * wide]))
    w = brentq(lambda w: (w - wide) / (12 * tau) - w**-exponent, wide, 10.0, xtol=1e-14)
    np.testing.assert_allclose(step.state.values, [-0.5 * w, 0.5 * w], rtol=0, atol=1e-12)


def test_a_quadratic_potential_contracts():
    """q' = q/(1 + τ) cell by cell, and a linear one shifts by τ."""
    step = QuantileJKO(0.5).step(HARMONIC, NORMAL)
    np.testing.assert_allclose(step.state.values, NORMAL.values / 1.5, rtol=0, atol=1e-14)
    drift = Potential(lambda x: 3 * x[:, 0])
    shifted = QuantileJKO(0.5, learning_rate=0.2).step(drift, NORMAL).state.values
    np.testing.assert_allclose(shifted, NORMAL.values - 0.3, rtol=0, atol=1e-11)


ENERGIES = {
    "entropy": Entropy(0.7),
    "power 2": PowerEntropy(2.0, 0.3),
    "power 1/2": PowerEntropy(0.5),
    "wells": WELLS,
    "wells, heat": WELLS + Entropy(0.2),
    "bell": BELL,
    "log": LOG,
}


@pytest.mark.parametrize("name", ENERGIES)
def test_derivatives_are_those_of_the_value(name):
    """Central differences with h = 1e-6 of gaps of order 0.1: h² f''' ~ 1e-12 · 1e3, and rounding 1e-16/h."""
    function, q, h = QuantileEnergy(ENERGIES[name]), np.array([-1.0, -0.3, 0.2, 0.9, 1.3]), 1e-6
    transport_cost = TransportCells(np.array([-1.2, -0.8, 0.1, 0.5, 1.0]), 0.4)
    at = function.derivatives(q, transport_cost)
    hessian = np.diag(at.bands[0]) + np.diag(at.bands[1, :-1], 1) + np.diag(at.bands[1, :-1], -1)
    hessian = hessian if at.dense is None else hessian + at.dense
    for i in range(5):
        up, down = (function.derivatives(q + s * h * np.eye(5)[i], transport_cost) for s in (1, -1))
        assert at.gradient[i] == pytest.approx((up.value - down.value) / (2 * h), abs=2e-8)
        np.testing.assert_allclose(hessian[i], (up.gradient - down.gradient) / (2 * h), atol=5e-7)


def test_values_are_those_of_the_density():
    """Uneven uniform cells, by sums written out; ½ ∬ over 400² samples for a pair energy, midpoint error 1/n²."""
    q = np.array([-1.0, 0.0, 0.5, 2.0])
    density, widths = 1 / (3 * np.diff(q)), np.diff(q)
    entropy = np.sum(widths * density * np.log(density))
    assert QuantileEnergy(Entropy(2.0)).value(q) == pytest.approx(2 * entropy, rel=1e-14)
    power = np.sum(widths * density**3) / 2
    assert QuantileEnergy(PowerEntropy(3.0)).value(q) == pytest.approx(power, rel=1e-14)
    x = np.interp((np.arange(1200) + 0.5) / 1200, np.arange(4) / 3, q)
    pairs = np.subtract.outer(x, x)
    assert QuantileEnergy(WELLS).value(q) == pytest.approx(np.mean(4 * (x**2 - 1) ** 2), rel=1e-5)
    distance = Interaction(lambda r: np.abs(r[:, 0]), lambda r: np.sign(r))
    assert QuantileEnergy(distance).value(q) == pytest.approx(0.5 * np.abs(pairs).mean(), rel=1e-5)
    # two Gauss nodes per cell, of width up to 1.5, are exact to degree 3 only
    bell = -0.5 * np.exp(-0.5 * pairs**2).mean()
    assert QuantileEnergy(BELL).value(q) == pytest.approx(bell, rel=1e-2)
    fine = np.interp(np.linspace(0, 1, 61), np.arange(4) / 3, q)
    assert QuantileEnergy(BELL).value(fine) == pytest.approx(bell, rel=1e-6)


@pytest.mark.parametrize("name", ENERGIES)
@pytest.mark.parametrize("step_size", [0.05, 0.5])
def test_every_step_keeps_order_and_lowers_the_energy(name, step_size):
    """E + W2²/2τ ≤ E before; W2 is that of `transport`, by its own formula."""
    q = NORMAL
    for _ in range(3):
        step = QuantileJKO(step_size).step(ENERGIES[name], q)
        assert step.excess <= 1e-13 * (1 + abs(step.energy))
        assert step.residual <= 1e-10 and step.converged
        squared = transport.w2(step.state, q).distance ** 2
        assert step.transport_cost == pytest.approx(squared, rel=1e-9, abs=1e-14)
        assert np.all(np.diff(step.state.values) >= 0)
        q = step.state


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 6), st.floats(0.02, 1.0), st.integers(0, 10**6))
def test_under_the_constraint_of_order_scipy_finds_nothing_lower(n, step_size, seed):
    """Wells without entropy, in steps so long that cells close: SciPy, started there, finds nothing lower under it."""
    rng = np.random.default_rng(seed)
    q = np.sort(rng.standard_normal(n + 1))
    step = QuantileJKO(step_size).step(WELLS, Quantiles(q))
    energy, cost = QuantileEnergy(WELLS), TransportCells(q, step_size)

    def total(x):
        at = energy.derivatives(x, cost)
        return at.value, at.gradient

    order = LinearConstraint(np.diff(np.eye(n + 1), axis=0), 0.0, np.inf)
    ours = step.state.values
    polished = minimize(total, ours, jac=True, method="SLSQP", constraints=[order])
    assert total(ours)[0] <= polished.fun + 1e-9 * (1 + abs(polished.fun))


def test_mass_gathers_in_atoms_and_is_parted_again():
    """Wells at ±1 in long steps: half the mass in each, all but the cell between; then heat spreads what has no width."""
    q = NORMAL
    for _ in range(6):
        q = QuantileJKO(0.3).step(WELLS, q).state
    gathered = np.abs(np.abs(q.values) - 1) < 0.02
    assert gathered.sum() >= 60 and np.diff(q.values).max() > 1.9
    warmed = QuantileJKO(0.01).step(Entropy(), q)
    assert np.diff(warmed.state.values).min() > 1e-4 and warmed.excess <= 0


def test_from_an_atom():
    """δ under heat: a self-similar profile z with −1 + ⟨z, z⟩/τ = 0, so a variance of τ. Under a potential it stays an atom."""
    atom = Quantiles(np.full(101, 0.7))
    heated = QuantileJKO(0.04).step(Entropy(), atom)
    assert heated.energy_before == np.inf and heated.excess == -np.inf
    assert heated.state.covariance()[0, 0] == pytest.approx(0.04, rel=1e-9)
    assert heated.state.mean()[0] == pytest.approx(0.7, rel=1e-12)
    moved = QuantileJKO(0.4).step(HARMONIC, atom).state.values
    np.testing.assert_allclose(moved, 0.5, rtol=0, atol=1e-9)


def test_far_from_the_origin_nothing_changes():
    """Entropy knows no origin: a shift by 100 costs digits of the gaps (1e-14/0.05 of them), no more."""
    here = QuantileJKO(0.1).step(Entropy(), NORMAL).state.values
    there = QuantileJKO(0.1).step(Entropy(), Quantiles(NORMAL.values + 100)).state.values
    np.testing.assert_allclose(there - 100, here, rtol=0, atol=1e-11)


def test_differences_in_place_of_derivatives():
    """To 12 digits of the potential, so of the positions."""
    by_differences = QuantileJKO(0.1).step(
        Potential(lambda x: 0.5 * x[:, 0] ** 2) + Entropy(), NORMAL
    )
    exact = QuantileJKO(0.1).step(HARMONIC + Entropy(), NORMAL)
    np.testing.assert_allclose(by_differences.state.values, exact.state.values, atol=1e-11)


def test_an_iteration_limit_raises_with_the_remedy():
    with pytest.raises(JKOError, match=r"a residual of .* after 1 iterations; give a smaller"):
        QuantileJKO(1.0, max_iterations=1).step(WELLS + Entropy(), NORMAL)
    lax = QuantileJKO(1.0, max_iterations=1, require_convergence=False)
    step = lax.step(WELLS + Entropy(), NORMAL)
    assert not step.converged and step.residual > 1e-10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: QuantileJKO(0.0), "step_size must be .*got 0.0"),
        (lambda: QuantileJKO(np.inf), "step_size must be .*got inf"),
        (lambda: QuantileJKO(0.1, -0.1), "learning_rate must be .*got -0.1"),
        (lambda: QuantileJKO(0.1, tolerance=-1.0), "tolerance must be .*got -1.0"),
        (lambda: QuantileJKO(0.1, max_iterations=1.5), "max_iterations must be .*got 1.5"),
        (
            lambda: QuantileJKO(0.1).step(Functional(lambda x, m: 0.0, lambda x, m: m), NORMAL),
            "energy must be .* known to QuantileJKO, got .*Functional",
        ),
        (
            lambda: QuantileJKO(0.1).step(Energy(), NORMAL),
            "energy must be .* known to QuantileJKO, got .*Energy",
        ),
        (
            lambda: QuantileJKO(0.1).step(Interaction(lambda r: r[:, 0]), NORMAL),
            "function must be even",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_shift_of_particles_is_seen_from_quantiles():
    """The step's state is a measure like any other."""
    state = QuantileJKO(1.0).step(HARMONIC, Quantiles([0.0, 2.0])).state
    assert transport.w2(state, Particles([0.5])).distance == pytest.approx(1 / np.sqrt(12))
