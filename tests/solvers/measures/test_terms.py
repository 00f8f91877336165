"""Energies by name: values in closed form, derivatives by differences of high order."""

import inspect

import numpy as np
import pytest

from solvers import Particles
from solvers.measures.energies import Interaction, Potential
from solvers.measures.scalar_field import ScalarField
from solvers.measures.terms import (
    TERMS,
    ball,
    double_well_potential,
    gaussian_interaction,
    harmonic_potential,
    linear_potential,
    log_interaction,
    obstacle,
    power_interaction,
)

X = np.array([[0.3, -0.7], [1.2, 0.4], [-0.5, 2.0]])
FIELDS = {
    "harmonic": harmonic_potential(1.7, (0.2, -0.1)),
    "linear": linear_potential((0.5, -2.0)),
    "double well": double_well_potential(0.8, 1.3, 0.2),
    "power": power_interaction(1.4, 2.6),
    "singular power": power_interaction(-0.7, 1.3),
    "log": log_interaction(2.1),
    "gaussian": gaussian_interaction(-1.5, 0.8),
}


@pytest.mark.parametrize("name", FIELDS)
def test_derivatives_are_those_of_the_function(name):
    field = FIELDS[name].field
    alone = ScalarField(field.values)
    np.testing.assert_allclose(field.gradients(X), alone.gradients(X), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(field.hessians(X), alone.hessians(X), rtol=2e-4, atol=1e-5)
    by_gradient = ScalarField(field.values, field.gradients)
    np.testing.assert_allclose(field.hessians(X), by_gradient.hessians(X), rtol=1e-8, atol=1e-9)


def test_values():
    """At (1, 2), from the formulas."""
    at = np.array([[1.0, 2.0]])
    expected = {
        harmonic_potential(3.0, (0.0, 1.0)): 1.5 * 2,
        linear_potential((2.0, -1.0)): 0.0,
        double_well_potential(2.0, 2.0, 0.5): 2 * (1 / 4 - 1) ** 2 + 0.5 + 2 * 4 / 4,
        power_interaction(3.0, 4.0): 3 / 4 * 25,
        log_interaction(2.0): np.log(5.0),
        gaussian_interaction(-2.0, 0.5): -2 * np.exp(-5 / 0.5),
    }
    for energy, value in expected.items():
        assert energy.field.values(at)[0] == pytest.approx(value)


def test_a_particle_exerts_no_force_on_itself():
    for energy in (power_interaction(1.0, 0.5), log_interaction()):
        assert isinstance(energy, Interaction)
        gradient = energy.gradient([[0.0], [1.0]])
        assert gradient.ravel() == pytest.approx([-0.5, 0.5])
        assert np.isfinite(energy.hvp([[0.0], [1.0]], [[1.0], [0.0]])).all()


def test_domains():
    x = np.array([[0.0, 0.0], [0.9, 0.0], [2.0, 0.0]])
    assert list(ball(1.0).inside(x)) == [True, True, False]
    assert list(obstacle(0.5, (2.0, 0.0)).inside(x)) == [True, True, False]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: harmonic_potential(np.nan), "stiffness must be a finite number"),
        (lambda: power_interaction(1.0, 0.0), "exponent must be a finite number above 0"),
        (lambda: gaussian_interaction(1.0, -1.0), "width must be a finite number above 0"),
        (lambda: ball(0.0), "radius must be a finite number above 0"),
        (
            lambda: harmonic_potential(1.0, (1.0,)).value(Particles(X).positions),
            "center must be of as many numbers as there are coordinates, 2",
        ),
        (lambda: linear_potential((1.0,)).value(X), "slope must be of as many numbers"),
    ],
)
def test_bad_parameters(made, message):
    with pytest.raises(ValueError, match=message):
        made()


def test_every_term_says_what_its_parameters_mean():
    for name, made in TERMS.items():
        assert made.__doc__, name
        for parameter in inspect.signature(made).parameters:
            assert f"{parameter} :" in made.__doc__, (name, parameter)
    assert isinstance(TERMS["harmonic_potential"](), Potential)
