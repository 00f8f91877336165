"""Coefficients are Python's own numbers, whatever precision they came in: no arithmetic is done in float16."""

from dataclasses import fields, is_dataclass
from fractions import Fraction

import numpy as np
import pytest

import meanfield
import solvers
from meanfield import landscapes
from solvers.measures import energies

F16 = np.float16(0.3)
EXACT = float(F16)  # 0.300048828125
VALLEY = landscapes.Valley()
START = np.array(VALLEY.start)
CLASSES = [
    lambda v: solvers.GradientDescent(v),
    lambda v: solvers.NormalizedGradientDescent(v),
    lambda v: solvers.SqrtLossGradientDescent(v, minimum=v),
    lambda v: solvers.GradientFlow(v),
    lambda v: solvers.FreeEnergyFlow(v, fluctuation_floor=v),
    lambda v: solvers.RodFlow(v),
    lambda v: solvers.EdgeFlow(v),
    lambda v: solvers.CentralFlow(v),
    lambda v: solvers.SharpnessFlow(v),
    lambda v: solvers.Langevin(v, v),
    lambda v: solvers.JKOFlow(v, v),
    lambda v: solvers.PhaseSpaceFlow(v, v),
    lambda v: solvers.PhaseSpacePDE(v, v, cfl=v, outflow_tolerance=v),
    lambda v: solvers.JKO(v, v, v, tol=v),
    lambda v: solvers.GridJKO(v, v, v, tolerance=v),
    lambda v: solvers.QuantileJKO(v, v, tolerance=v),
    lambda v: solvers.Adaptive(v, v),
    lambda v: solvers.BlobEntropy(v),
    lambda v: solvers.FreeEnergy(VALLEY, v),
    lambda v: solvers.SelfStabilization.from_objective(VALLEY, START, v),
    lambda v: energies.Entropy(v),
    lambda v: energies.PowerEntropy(v, v),
    lambda v: landscapes.Valley(v, v),
    lambda v: landscapes.RiverValley(2, v, v, v, v),
    lambda v: landscapes.Quartic(v, v),
    lambda v: landscapes.Rosenbrock(v, v),
    lambda v: landscapes.ScalarFactorization(2, v),
    lambda v: landscapes.LogCoshProduct(2, v),
    lambda v: landscapes.Landscape(lambda x: x @ x, minimum=v),
    lambda v: v * VALLEY,
    lambda v: meanfield.Risk(
        meanfield.TwoLayerNetwork(1), meanfield.tasks.Task([[1.0]], [1.0]), weight_decay=v
    ),
]


VALUES = [F16, np.float32(0.3), np.array(0.3), np.array(F16), np.longdouble(0.25), Fraction(1, 4)]


@pytest.mark.parametrize("make", CLASSES)
def test_every_class_keeps_floats(make):
    for value in VALUES:
        ours, plain = vars(make(value)), vars(make(float(value)))
        for name, number in plain.items():
            if isinstance(number, float):
                assert type(ours[name]) is float, (value, name)
                assert ours[name] == number, (value, name)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("rank", lambda n: solvers.FreeEnergyFlow(0.1, rank=n)),
        ("rank", lambda n: solvers.RodFlow(0.1, n)),
        ("max_modes", lambda n: solvers.CentralFlow(0.1, n)),
        ("seed", lambda n: solvers.Langevin(0.1, 0.1, n)),
        ("max_iterations", lambda n: solvers.GridJKO(0.1, max_iterations=n)),
        ("max_plans", lambda n: solvers.JKO(0.1, max_plans=n)),
        ("input_dim", lambda n: meanfield.TwoLayerNetwork(n)),
        ("depth", lambda n: landscapes.ScalarFactorization(n)),
    ],
)
def test_every_class_keeps_ints(name, make):
    for value in (np.int8(3), np.uint64(3), np.array(3), np.int64(3)):
        assert type(getattr(make(value), name)) is int
        assert getattr(make(value), name) == 3


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
@pytest.mark.parametrize("coefficient", [0.3, 0.1, 0.29])
def test_the_identity_with_gradient_descent_holds_whatever_the_precision_of_the_rate(
    dtype, coefficient
):
    rate = dtype(coefficient)
    runs = [
        solvers.solve(flow, VALLEY, START, 200, **options)
        for flow, options in [
            (solvers.FreeEnergyFlow(rate), {"integrator": solvers.Euler()}),
            (solvers.FreeEnergyFlow(float(rate)), {"integrator": solvers.Euler()}),
            (solvers.GradientDescent(rate), {}),
            (solvers.GradientDescent(float(rate)), {}),
        ]
    ]
    assert np.array_equal(runs[0].centers, runs[1].centers)
    assert np.array_equal(runs[0].fluctuations, runs[1].fluctuations)
    assert np.array_equal(runs[2].iterates, runs[3].iterates)
    signs = (-1.0) ** np.arange(201)[:, None]
    iterates = runs[0].centers + signs * runs[0].fluctuations
    # Rounding grows on the way; a rate of another precision was off by 0.08 here.
    assert np.abs(iterates - runs[2].iterates).max() < 1e-10


def test_a_float16_rate_is_what_it_says():
    assert solvers.FreeEnergyFlow(F16).learning_rate == EXACT == 0.300048828125


def test_the_state_keeps_the_precision_of_the_start_and_not_of_the_rate():
    run = solvers.solve(
        solvers.FreeEnergyFlow(np.float64(0.3)), VALLEY, START.astype(np.float32), 5
    )
    assert run.centers.dtype == np.float32


@pytest.mark.parametrize("flow", [solvers.GradientDescent(F16), solvers.RodFlow(F16)])
def test_fields_that_come_out_are_fields_that_went_in(flow):
    assert is_dataclass(flow)
    again = type(flow)(**{f.name: getattr(flow, f.name) for f in fields(flow)})
    assert again == flow
