"""Functions and measures that a minimising movement does not expect: the right result, or a message that says what to change."""

import numpy as np
import pytest

from solvers import JKO, Grid, GridJKO, JKOError, QuantileJKO, Quantiles, evolve
from solvers.measures.energies import (
    Entropy,
    Functional,
    Interaction,
    Potential,
    PowerEntropy,
)
from solvers.transport import w2

EDGES = np.linspace(-3, 3, 31)
LINE = Grid.from_density(EDGES, lambda x: np.exp(-(x[:, 0] ** 2)))
STEPS = Quantiles(np.linspace(-1.0, 1.0, 9))
PARTICLES = np.array([[1.0, 0.0], [0.0, -2.0], [0.5, 0.5]])
POROUS = PowerEntropy(2.0)


def half_square(x):
    return 0.5 * np.sum(x**2, axis=1)


def half_square_in_place(x):
    x *= x
    return 0.5 * np.sum(x, axis=1)


def steep(curvature):
    """−½ a |x|², with its derivatives."""
    return Potential(
        lambda x: -0.5 * curvature * np.sum(x**2, axis=1),
        lambda x: -curvature * x,
        lambda x: np.broadcast_to(-curvature * np.eye(x.shape[1]), (*x.shape, x.shape[1])),
    )


# Functions that change what they are given


def test_a_potential_may_work_in_place():
    """Every quantile and every particle goes to x/(1 + τ)."""
    bowl = Potential(half_square_in_place)
    step = QuantileJKO(0.25).step(bowl, STEPS)
    np.testing.assert_allclose(step.state.values, STEPS.values / 1.25, atol=1e-9)
    moved = JKO(0.25).step(bowl, PARTICLES.copy())
    np.testing.assert_allclose(moved.state, PARTICLES / 1.25, atol=1e-7)


@pytest.mark.parametrize("method", ["exact", "entropic"])
def test_a_functional_may_work_in_place(method):
    """The squared mean: m goes to m/(1 + 2τ)."""
    start = Grid.from_density(EDGES, lambda x: np.exp(-2 * (x[:, 0] - 0.5) ** 2))
    before = start.masses.copy()

    def value(x, masses):
        masses *= x[:, 0]
        x *= 0.0
        return masses.sum() ** 2

    def variation(x, masses):
        mean = masses @ x[:, 0]
        masses *= 0.0
        x *= 2 * mean
        return x[:, 0]

    step = GridJKO(0.25, method=method).step(Functional(value, variation), start)
    assert step.state.mean()[0] == pytest.approx(start.mean()[0] / 1.5, abs=2e-3)
    np.testing.assert_array_equal(start.masses, before)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("start", [LINE, STEPS, PARTICLES], ids=lambda x: type(x).__name__)
def test_an_observer_may_work_in_place(start, order):
    """It is given copies, and the flow is that without it."""
    energy = Potential(half_square)
    undisturbed = evolve(energy, start, 0.3, 0.1, order=order)
    name = {Grid: "masses", Quantiles: "values"}.get(type(start), "positions")
    before = np.array(getattr(start, name, start))

    def observe(time, measure, step):
        getattr(measure, name)[...] *= 0.5
        if step is not None:
            getattr(step.state, name, step.state)[...] *= 0.5

    result = evolve(energy, start, 0.3, 0.1, order=order, observe=observe)
    for measure, other in zip(result.measures, undisturbed.measures, strict=True):
        np.testing.assert_array_equal(getattr(measure, name), getattr(other, name))
    np.testing.assert_array_equal(getattr(start, name, start), before)


# Functions that return something else


@pytest.mark.parametrize("method", ["exact", "entropic"])
@pytest.mark.parametrize(
    ("value", "variation", "error", "message"),
    [
        (lambda x, m: np.zeros(3), None, ValueError, "value must be a function to a number, got"),
        (lambda x, m: 1j, None, ValueError, "value must be a function to a number, got"),
        (lambda x, m: None, None, ValueError, "value must be a function to a number, got None"),
        (lambda x, m: np.nan, None, FloatingPointError, "the energy must be finite, got nan"),
        (lambda x, m: np.inf, None, FloatingPointError, "the energy must be finite, got inf"),
        (None, lambda x, m: 1j * m, ValueError, "first_variation must be an array of real"),
        (None, lambda x, m: None, ValueError, "first_variation must be an array of .* got None"),
    ],
)
def test_what_a_functional_must_return(method, value, variation, error, message):
    energy = Functional(value or (lambda x, m: 0.0), variation or (lambda x, m: 0 * m))
    with pytest.raises(error, match=message):
        GridJKO(0.1, method=method).step(POROUS + energy, LINE)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_energy_of_quantiles_must_be_finite(bad):
    for energy in (Potential, Interaction):
        with pytest.raises(FloatingPointError, match="the energy must be finite, got"):
            QuantileJKO(0.1).step(energy(lambda x: np.full(len(x), bad)), STEPS)


def test_derivatives_at_quantiles_must_be_finite():
    wrong = Potential(half_square, lambda x: x, lambda x: np.full((len(x), 1, 1), np.nan))
    with pytest.raises(
        FloatingPointError, match="derivatives of the energy must be finite, got 17"
    ):
        QuantileJKO(0.1).step(wrong, STEPS)
    result = evolve(wrong, STEPS, 0.2, 0.1)
    assert result.status == "failed" and "must be finite" in result.message


def test_differences_of_a_function_in_single_precision_are_refused():
    rough = Potential(lambda x: np.float32(0.5) * x[:, 0].astype(np.float32) ** 2)
    for step in (
        lambda: QuantileJKO(0.1).step(rough, STEPS),
        lambda: JKO(0.1).step(rough, PARTICLES),
    ):
        with pytest.raises(ValueError, match="gradient must be given for a function in float32"):
            step()
    rough = Potential(half_square, lambda x: x.astype(np.float32))
    with pytest.raises(ValueError, match="hessian must be given for a gradient in float32"):
        QuantileJKO(0.1).step(rough, STEPS)


class WithoutHessian:
    """½|x|², whose products with the Hessian are not a number."""

    def value(self, x):
        return float(np.mean(half_square(x)))

    def gradient(self, x):
        return x

    def hvp(self, x, v):
        return v * np.nan


def test_products_that_are_no_number_end_the_step():
    with pytest.raises(JKOError, match="products with the Hessian are not finite"):
        JKO(0.1).step(WithoutHessian(), PARTICLES)


# Energies without a minimum, and beyond the range of numbers


def test_a_step_without_a_minimum_is_covered_by_shorter_ones():
    """−15|x|² and |x|²/2τ have one together for τ < 1/30: four steps of a quarter, each by 1/(1 − 30τ/4) = 4."""
    step = JKO(0.1).step(steep(30.0), PARTICLES)
    assert step.substeps == 4
    np.testing.assert_allclose(step.state, 256 * PARTICLES, rtol=1e-6)


def test_an_energy_without_a_minimum_in_any_step_says_so():
    with pytest.raises(JKOError, match="it has no minimum in a step of this size; give a shorter"):
        JKO(0.1).step(steep(1e6), PARTICLES)


def test_numbers_too_large_are_refused_without_a_warning():
    huge = Potential(lambda x: 1e300 * x[:, 0] ** 2)
    with pytest.raises(JKOError, match="the explicit step is inf long"):
        JKO(0.1).step(huge, PARTICLES)
    step = GridJKO(0.1, method="entropic").step(huge, LINE)
    assert step.energy == pytest.approx(1e300 * 0.1**2)  # all in the two cells at ±0.1
    with pytest.raises(ValueError, match="masses must be .* and a sum of inf"):
        Grid(EDGES, np.full(30, 1e308))


# Scales


@pytest.mark.parametrize("scale", [1e-45, 1e45])
def test_lengths_scale(scale):
    """ρ_t(x) solves the porous medium with ρ_{t s³}(x/s)/s."""
    masses = np.r_[np.zeros(10), np.full(10, 0.1), np.zeros(10)]
    near = GridJKO(0.01).step(POROUS, Grid(np.linspace(0, 1, 31), masses))
    far = GridJKO(0.01 * scale**3).step(POROUS, Grid(np.linspace(0, scale, 31), masses))
    np.testing.assert_allclose(far.state.masses, near.state.masses, atol=1e-6)
    # by their extreme cells: W2² between them is known
    ends = np.eye(30)[[0, -1]]
    one, other = (Grid((np.linspace(0, scale, 31), [0.0, scale]), end[:, None]) for end in ends)
    assert w2(one, other).distance == pytest.approx(scale * 29 / 30)


@pytest.mark.parametrize("scale", [1e-60, 1e60])
def test_lengths_whose_powers_are_no_numbers_are_refused(scale):
    with pytest.raises(
        ValueError, match="axis 0 of edges must have cells of 1e-50 to 1e\\+50, got"
    ):
        Grid(scale * EDGES, LINE.masses)


def test_quantiles_whose_squares_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="values must be within ±1e\\+100, got 1e\\+308"):
        Quantiles([-1e308, 1e308])


def test_a_step_shorter_than_rounding_asks_for_a_longer_one():
    with pytest.raises(JKOError, match="rounding of the transport cost; give a larger step_size"):
        GridJKO(1e-12).step(POROUS, LINE)


def test_a_step_longer_than_the_time_is_cut():
    """One step of the time itself."""
    result = evolve(Potential(half_square), STEPS, 0.25, step_size=1e12)
    np.testing.assert_allclose(result.times, [0.0, 0.25])
    np.testing.assert_allclose(result.measures[-1].values, STEPS.values / 1.25, atol=1e-9)


# What does not fit together


def test_the_step_before_must_lead_to_the_grid():
    step = GridJKO(0.1).step(POROUS, LINE)
    with pytest.raises(ValueError, match="step that led to the grid, got one to other masses"):
        GridJKO(0.1).step(POROUS, LINE, step)
    with pytest.raises(ValueError, match="step that led to the grid, got one to other edges"):
        GridJKO(0.1).step(POROUS, Grid(2 * EDGES, step.state.masses), step)


def test_orders_that_the_entropic_scheme_has_not_are_refused_before_the_first_step():
    unequal = Grid([0.0, 1.0, 3.0, 4.0], [0.3, 0.3, 0.4])
    seen = []
    for changed, message in (
        (dict(step_size=0.1, order=2), "order must be 1 for the method 'entropic', got 2"),
        (dict(tolerance=0.1), "tolerance must be None, and step_size be given, for the method"),
    ):
        with pytest.raises(ValueError, match=message):
            evolve(Entropy(), unequal, 0.2, **changed, observe=lambda *given: seen.append(given))
    assert not seen


def test_particles_on_a_line_are_told_from_one_particle():
    with pytest.raises(ValueError, match=r"N on a line are \(N, 1\)"):
        JKO(0.1).step(Potential(half_square), PARTICLES[:, 0])


def test_quantiles_of_an_interaction_too_large_for_memory_are_refused(monkeypatch):
    monkeypatch.setattr("solvers._support.memory.available_memory", lambda: 10**9)
    many = Quantiles(np.linspace(0, 1, 4001))
    with pytest.raises(ValueError, match="4000 cells with an Interaction: its arrays take 4 GB"):
        QuantileJKO(0.1).step(Interaction(half_square), many)
