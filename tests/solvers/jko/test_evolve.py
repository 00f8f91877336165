"""Wasserstein gradient flows in one call, against closed forms."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import norm

import solvers
from meanfield import landscapes
from solvers import JKO, Grid, GridJKO, Particles, QuantileJKO, Quantiles, evolve
from solvers.measures.energies import (
    Congestion,
    Entropy,
    Functional,
    Interaction,
    Potential,
    PowerEntropy,
)
from tests.convergence.test_exact_grid_jko_orders import keller_segel
from tests.helpers.particle_energies import Wavy
from tests.solvers.jko.test_exact_grid_jko import ENERGIES, cap

HARMONIC = Potential(
    lambda x: 0.5 * np.sum(x**2, axis=1),
    lambda x: x,
    lambda x: np.tile(np.eye(x.shape[1]), (len(x), 1, 1)),
)
OU = HARMONIC + Entropy()
EXACT = np.sqrt(1 + 3 * np.exp(-2))  # standard deviation at t = 1 from 2


def gaussian(cells=160):
    return Grid.from_density(np.linspace(-10, 10, cells + 1), lambda x: norm.pdf(x[:, 0], scale=2))


def starts():
    points = 2 * norm.ppf((np.arange(100) + 0.5) / 100)
    points *= 2 / np.std(points)
    quantiles = Quantiles.of(gaussian(), 100)
    scaled = quantiles.values * 2 / np.sqrt(quantiles.covariance()[0, 0])
    return {"grid": gaussian(), "quantiles": Quantiles(scaled), "particles": points[:, None]}


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", ["grid", "quantiles", "particles"])
def test_the_ornstein_uhlenbeck_process(name, order):
    """The same call for each kind of measure; at order 2 the error, and the gap in the balance, are far smaller."""
    result = evolve(OU, starts()[name], 1.0, step_size=0.05, order=order)
    assert result.status == "complete" and not result.message
    assert result.times == pytest.approx(np.linspace(0, 1, 21)) and result.times[-1] == 1.0
    assert len(result.measures) == 21 and list(result.saved) == list(range(21))
    spread = np.sqrt(result.measures[-1].covariance()[0, 0])
    # besides the error in τ: cells of 1/8, or 100 particles or quantiles of a law with tails
    assert abs(spread - EXACT) == pytest.approx(0.0124 if order == 1 else 0.0, abs=6e-3)
    assert np.all(np.diff(result.energies) < 0) and result.excesses.max() <= 1e-10
    fall = result.energies[0] - result.energies[-1]
    assert abs(result.balance[-1]) < {1: 0.12, 2: 0.02}[order] * fall
    assert (
        result.transport_costs.shape == result.residuals.shape == result.step_sizes.shape == (20,)
    )


def test_the_balance_is_of_the_order_of_the_scheme():
    start, gaps = Quantiles([1.0, 2.0, 4.0]), {}
    for order in (1, 2):
        gaps[order] = [
            abs(evolve(HARMONIC, start, 1.0, tau, order).balance[-1]) for tau in (0.1, 0.05, 0.025)
        ]
        slope = np.polyfit(np.log([0.1, 0.05, 0.025]), np.log(gaps[order]), 1)[0]
        assert slope == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("order", [1, 2])
def test_it_takes_the_steps_of_the_scheme(order):
    """By hand, to the last bit, with weights and a plan that is not the identity."""
    rng = np.random.default_rng(0)
    x, p = rng.standard_normal((6, 2)), rng.dirichlet(np.ones(6))
    energy, scheme = Wavy(0, 2), JKO(0.1, 0.5, tol=1e-9)
    result = evolve(energy, Particles(x, p), 0.3, order=order, scheme=scheme)
    before = None
    for k in range(3):
        earlier = before if order == 2 else None
        step = scheme.step(energy, x, weights=p, earlier=earlier)
        before, x = x, step.state
        np.testing.assert_array_equal(result.measures[k + 1].positions, x)
        assert result.transport_costs[k] == step.transport_cost
    assert result.learning_rate == 0.5


def test_a_last_step_ends_at_the_time():
    seen = []
    result = evolve(
        HARMONIC,
        [[1.0], [2.0]],
        1.0,
        0.3,
        2,
        save_every=2,
        observe=lambda time, measure, step: seen.append((time, measure, step)),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert result.step_sizes == pytest.approx([0.3, 0.3, 0.3, 0.1])
    assert list(result.saved) == [0, 2, 4] and len(result.measures) == 3
    moments = [entry for entry in seen if len(entry) == 3]
    assert [m[0] for m in moments] == pytest.approx([0, 0.3, 0.6, 0.9, 1.0])
    assert moments[0][2] is None and moments[1][2].energy == result.energies[1]
    assert [entry for entry in seen if len(entry) == 2] == [(k, 4) for k in range(5)]


@pytest.mark.parametrize("name", ["grid", "quantiles", "particles"])
def test_step_sizes_by_a_tolerance(name):
    """Every step is within it; and as the fall slows down, steps grow."""
    result = evolve(HARMONIC, starts()[name], 2.0, tolerance=2e-3, order=2)
    assert result.status == "complete" and result.times[-1] == 2.0
    assert result.errors[1:].max() <= 2e-3 and np.isnan(result.errors).sum() == 0
    assert result.step_sizes[2:-2].max() > 1.5 * result.step_sizes[1]
    spread = np.sqrt(result.measures[-1].covariance()[0, 0])
    assert spread == pytest.approx(2 * np.exp(-2.0), abs=0.02)


@pytest.mark.parametrize("name", ENERGIES)
def test_every_energy_on_a_grid_has_steps_of_second_order(name):
    """From a density with vacuum, through walls, wells and hard bounds: certified, mass to rounding, no negative cell."""
    result = evolve(ENERGIES[name], cap(1, 80), 0.5, step_size=0.1, order=2)
    assert result.status == "complete" and result.excesses.max() <= 1e-10
    assert np.all(np.diff(result.energies) < 0)
    for grid in result.measures:
        assert abs(grid.masses.sum() - 1) < 1e-12 and grid.masses.min() >= 0.0
    if "crowd" in name:
        assert result.measures[-1].density.max() <= 0.6 * (1 + 1e-3)
    if name == "hole":
        assert grid.masses[np.abs(grid.centers[0] - 3) <= 0.3].sum() == 0.0


@pytest.mark.slow
def test_keller_segel_below_the_critical_mass_spreads_by_the_virial_law():
    """χ = 4π: the second moment grows by 2 a unit of time, and steps of second order are nearer to that."""
    edges = (np.linspace(-6, 6, 65),) * 2
    start = Grid.from_density(edges, lambda x: np.exp(-0.5 * np.sum(x**2, axis=1)), 3)
    errors = []
    for order in (1, 2):
        result = evolve(keller_segel(4 * np.pi), start, 0.4, 0.05, order)
        grown = np.trace(result.measures[-1].covariance() - start.covariance())
        errors.append(abs(grown - 2 * 0.4))
    assert errors[1] < 0.02 * 0.8 and errors[1] < errors[0]


def test_the_global_error_is_about_proportional_to_the_tolerance():
    errors, steps = [], []
    for tolerance in (4e-3, 1e-3, 2.5e-4):
        result = evolve(HARMONIC, Quantiles([1.0, 2.0]), 1.0, tolerance=tolerance, order=2)
        errors.append(abs(result.measures[-1].values[1] - 2 * np.exp(-1.0)))
        steps.append(len(result.step_sizes))
    assert np.polyfit(np.log([4e-3, 1e-3, 2.5e-4]), np.log(errors), 1)[0] == pytest.approx(
        1, abs=0.3
    )
    assert 1.5 < steps[2] / steps[1] < 2.5


def test_a_start_that_is_fast_is_taken_again_with_shorter_steps():
    """The first step has nothing to be compared with: it is repeated where the second shows that it was too long."""
    stiff = Potential(
        lambda x: 50 * x[:, 0] ** 2, lambda x: 100 * x, lambda x: 100 + 0 * x[..., None]
    )
    result = evolve(stiff, Quantiles([1.0, 2.0]), 1.0, tolerance=1e-3, order=2)
    assert result.status == "complete" and result.rejected > 0
    assert result.step_sizes[0] < 0.01 and result.errors.max() <= 1e-3
    assert result.times == pytest.approx(np.concatenate([[0], np.cumsum(result.step_sizes)]))


def test_a_blow_up_ends_the_run_with_what_was_done():
    """Attraction of twice the critical strength in the plane: the steps before it remain."""
    energy = Entropy() + Interaction(lambda r: 8 * 0.5 * np.log(np.sum(r**2, axis=1)))
    edges = (np.linspace(-2, 2, 25),) * 2
    start = Grid.from_density(edges, lambda x: np.exp(-2 * np.sum(x**2, axis=1)), 3)
    result = evolve(energy, start, 1.0, step_size=0.05)
    assert result.status == "failed" and "concentrates" in result.message
    assert result.message.startswith(f"failed at t = {result.times[-1]:.6g}")
    assert len(result.measures) == len(result.times) > 1


def test_what_is_not_finite_ends_the_run_with_what_was_done():
    """A linear functional, whose first variation fails once the mean has passed ½."""

    def first_variation(x, masses):
        return -x[:, 0] if masses @ x[:, 0] < 0.5 else np.nan * x[:, 0]

    drift = Functional(lambda x, masses: -float(masses @ x[:, 0]), first_variation)
    result = evolve(drift + Entropy(0.1), gaussian(80), 2.0, step_size=0.2)
    assert result.status == "failed" and result.times[-1] == pytest.approx(0.4)
    assert "first_variation must be finite, got 80 non-finite values of 80" in result.message
    assert len(result.measures) == len(result.times) == 3


def test_an_interrupted_run_returns_what_was_done():
    def observe(time, measure, step):
        if time > 0.15:
            raise KeyboardInterrupt

    result = evolve(HARMONIC, [[1.0], [2.0]], 1.0, 0.1, observe=observe)
    assert result.status == "interrupted" and result.times[-1] == pytest.approx(0.2)


@pytest.mark.parametrize("save_every", [1, 3])
def test_an_error_of_an_observer_carries_what_was_done(save_every):
    """The same, to the last bit, as of a run that ends there."""

    def observe(time, measure, step):
        if time > 0.35:
            raise RuntimeError("disk")

    given = HARMONIC, [[1.0], [2.0]]
    with pytest.raises(RuntimeError, match="^disk") as caught:
        evolve(*given, 1.0, 0.1, save_every=save_every, observe=observe)
    partial, whole = caught.value.partial, evolve(*given, 0.4, 0.1, save_every=save_every)
    assert caught.value.__notes__ == [
        "What was done before it is the attribute `partial` of this error."
    ]
    assert partial.status == "failed" and partial.message == "failed at t = 0.4: disk"
    for name in ("times", "energies", "step_sizes", "transport_costs", "saved"):
        assert np.array_equal(getattr(partial, name), getattr(whole, name))
    assert np.array_equal(partial.measures[-1].positions, whole.measures[-1].positions)


def test_an_error_of_an_energy_carries_what_was_done():
    def potential(x):
        if x.max() < 1.3:
            raise KeyError("lost")
        return 0.5 * x[:, 0] ** 2

    with pytest.raises(KeyError, match="lost") as caught:
        evolve(Potential(potential), Quantiles([1.0, 2.0]), 10.0, 0.1)
    partial = caught.value.partial
    n = len(partial.step_sizes)
    assert partial.status == "failed" and 0 < n < 100 and len(partial.measures) == n + 1
    # implicit Euler of ẋ = −x
    decayed = np.outer(1.1 ** -np.arange(n + 1.0), [1.0, 2.0])
    assert np.allclose([m.values for m in partial.measures], decayed, rtol=1e-9)


def test_an_error_before_the_first_step_carries_the_start():
    def observe(time, measure, step):
        raise RuntimeError("disk")

    with pytest.raises(RuntimeError) as caught:
        evolve(HARMONIC, [[1.0], [2.0]], 1.0, 0.1, observe=observe)
    assert list(caught.value.partial.times) == [0.0] and len(caught.value.partial.measures) == 1


def test_memory_that_runs_out_leaves_what_there_is():
    def observe(time, measure, step):
        if time > 0.15:
            raise MemoryError("Unable to allocate")

    result = evolve(HARMONIC, [[1.0], [2.0]], 1.0, 0.1, observe=observe)
    assert result.status == "failed" and result.times[-1] == pytest.approx(0.2)
    assert result.message == "failed at t = 0.2: out of memory: Unable to allocate"


def test_one_estimate_of_the_entropy_for_all_steps():
    """In the plane the energy before a step is that after the one before."""
    cloud = np.random.default_rng(1).standard_normal((40, 2))
    seen = []
    evolve(OU, cloud, 0.3, 0.1, observe=lambda time, measure, step: seen.append(step))
    for before, after in pairwise(seen[1:]):
        assert after.energy_before == pytest.approx(before.energy, rel=1e-13)


def test_entropy_alone_spreads_particles():
    result = evolve(Entropy(), np.linspace(-1, 1, 20), 0.1, 0.02)
    assert result.measures[-1].covariance()[0, 0] > result.measures[0].covariance()[0, 0]


def test_the_scheme_may_be_entropic():
    scheme = GridJKO(0.1, method="entropic")
    assert evolve(OU, gaussian(60), 0.2, scheme=scheme).status == "complete"
    with pytest.raises(ValueError, match="order must be 1 for the method 'entropic', got 2; cells"):
        evolve(OU, gaussian(60), 0.2, order=2, scheme=scheme)


BAD = [
    (dict(t=0.0), "t must be a finite number above 0"),
    (dict(step_size=None), "step_size must be given, or a tolerance but not both"),
    (dict(tolerance=1e-3), "step_size must be given, or a tolerance but not both"),
    (dict(step_size=1e-12), "step_size must be at least 1e-09, a billionth of t"),
    (dict(order=3), "order must be an integer from 1 to 2, got 3"),
    (dict(measure="x"), "measure must be a Quantiles, Grid, Particles or positions"),
    (dict(scheme=QuantileJKO(0.1)), "scheme must be a JKO, .*; the scheme for Particles"),
    (dict(scheme=JKO(0.1, saddle=True)), "scheme.saddle must be False"),
    (
        dict(energy=PowerEntropy(2.0)),
        "energy must be defined on particles, got PowerEntropy; take Quantiles on the line, or a Grid",
    ),
    (
        dict(energy=Functional(lambda x, m: 0, lambda x, m: x)),
        "energy must be defined on particles",
    ),
    (dict(energy=Congestion(1.0), measure=Quantiles([0.0, 1.0])), "known to QuantileJKO"),
    (dict(energy=Entropy(), measure=[[1.0], [1.0]]), "finite energy, got inf"),
    (dict(energy=landscapes.Valley()), r"measure must fit the energy: .*got \(2, 1\)"),
    (dict(energy=False, measure=Grid([0.0, 1.0], [1.0])), "energy must be an Energy, got False"),
    (dict(energy=False, measure=Quantiles([0.0, 1.0])), "energy must be an Energy, got False"),
    (dict(observe=3), "observe must be a function"),
    (dict(progress=3), "progress must be True or False"),
]


@pytest.mark.parametrize(("changed", "message"), BAD)
def test_bad_arguments(changed, message):
    good = {"energy": HARMONIC, "measure": [[1.0], [2.0]], "t": 1.0, "step_size": 0.1}
    with pytest.raises(ValueError, match=message):
        solvers.evolve(**(good | changed))
