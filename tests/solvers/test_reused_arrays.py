"""Objectives that return one array again and again, and observers that write to what they are shown."""

import warnings
from functools import partial

import numpy as np
import pytest

import solvers
from meanfield.landscapes import MatrixFactorization, ScalarFactorization, Valley
from solvers.integrators.stabilized import Stabilized
from tests.helpers.line_network import sine_risk


class Fresh:
    """A landscape and nothing but its methods; each result is a new array."""

    def __init__(self, landscape):
        self.landscape = landscape
        self.minimum = landscape.minimum

    def value(self, x):
        return self.landscape.value(x)

    def gradient(self, x):
        return self.landscape.gradient(x)

    def hvp(self, x, v):
        return self.landscape.hvp(x, v)

    def third(self, x, u):
        return self.landscape.third(x, u)


class ArrayOfEach(Fresh):
    """Each method has an array of its own."""

    def __init__(self, landscape):
        super().__init__(landscape)
        self.arrays = {}

    def into(self, name, result):
        array = self.arrays.setdefault(name, np.empty_like(result))
        array[...] = result
        return array

    def value(self, x):
        return self.into("value", np.array(super().value(x)))

    def gradient(self, x):
        return self.into("gradient", super().gradient(x))

    def hvp(self, x, v):
        return self.into("hvp", super().hvp(x, v))

    def third(self, x, u):
        return self.into("third", super().third(x, u))


class OneArray(ArrayOfEach):
    """All methods write to one array."""

    def into(self, name, result):
        return super().into("value" if name == "value" else "derivative", result)


class TwoInTurn(ArrayOfEach):
    """Two arrays in turn: the last but one is gone."""

    calls = 0

    def into(self, name, result):
        self.calls += 1
        return super().into((name, self.calls % 2), result)


class Strided(ArrayOfEach):
    """Every other entry of a longer array."""

    def into(self, name, result):
        if name == "value":
            return super().into(name, result)
        array = self.arrays.setdefault(name, np.empty((*result.shape, 2)))
        array[..., 0] = result
        return array[..., 0]


class Remembering(ArrayOfEach):
    """What was computed last for the same arguments is returned as it is; its results must not be changed."""

    def into(self, name, result):
        last = self.arrays.get(name)
        if last is None or not np.array_equal(last, result):
            self.arrays[name] = last = result
            self.contents = result.copy()
        return last


class WithoutThird(OneArray):
    third = property()  # third derivatives are then differences of gradients


KINDS = [ArrayOfEach, OneArray, TwoInTurn, Strided, Remembering]
#: where all of them take long: the others are subsets of what these do
SOME_KINDS = [
    kind if kind in (OneArray, Remembering) else pytest.param(kind, marks=pytest.mark.slow)
    for kind in KINDS
]
START = np.array([0.0, 6.5])
FLOWS = {
    "gradient descent": solvers.GradientDescent(0.3),
    "normalized": solvers.NormalizedGradientDescent(0.05),
    "gradient flow": solvers.GradientFlow(0.3),
    "delayed gradient flow": solvers.GradientFlow(0.3, delay=True),
    "free energy": solvers.FreeEnergyFlow(0.3),
    "taylor": solvers.FreeEnergyFlow(0.3, closure="taylor"),
    "exact growth": solvers.FreeEnergyFlow(0.3, growth="exact"),
    "two fluctuations": solvers.FreeEnergyFlow(0.3, rank=2),
    "delayed free energy": solvers.FreeEnergyFlow(0.3, delay=True),
    "rod": solvers.RodFlow(0.3),
    "edge": solvers.EdgeFlow(0.3),
    "central": solvers.CentralFlow(0.3),
    "langevin": solvers.Langevin(0.3, 0.01, seed=1),
    "movements": solvers.JKOFlow(0.3),
    "saddle movements": solvers.JKOFlow(0.3, saddle=True),
}


def arrays_of(run):
    assert run.status == "complete"
    numbers = run.losses, run.predicted_losses, run.free_energies, run.fluctuation_trace
    iterates = run.centers if run.iterates is None else run.iterates
    return [run.centers, run.fluctuations, iterates, *numbers, run.dissipated, run.state.values]


def same_run(flow, kind, landscape, x0, **options):
    plain, reusing = (
        solvers.solve(flow, objective, x0, **options)
        for objective in (Fresh(landscape), kind(landscape))
    )
    for expected, actual in zip(arrays_of(plain), arrays_of(reusing), strict=True):
        np.testing.assert_array_equal(actual, expected)
    return reusing


@pytest.mark.parametrize("kind", SOME_KINDS)
@pytest.mark.parametrize("name", FLOWS)
def test_a_run_is_the_same_on_arrays_that_are_reused(name, kind):
    seen = []
    same_run(
        FLOWS[name],
        kind,
        Valley(),
        START,
        steps=12,
        observe=lambda o: seen.append((o.diagnostics, o.gradient_norm_sq)),
    )
    assert len(seen) == 26
    assert all(
        a == b or (a != a and b != b)
        for plain, reusing in zip(seen[:13], seen[13:], strict=True)
        for a, b in zip(
            [*plain[0].values(), plain[1]], [*reusing[0].values(), reusing[1]], strict=True
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", SOME_KINDS)
@pytest.mark.parametrize(
    ("flow", "landscape"),
    [
        (solvers.SqrtLossGradientDescent(0.05), ScalarFactorization()),
        (solvers.SharpnessFlow(0.1), ScalarFactorization()),
        (solvers.SharpnessFlow(0.1, law="sqrt_loss"), ScalarFactorization()),
        (solvers.CentralFlow(0.077), MatrixFactorization()),
        (solvers.RodFlow(0.077), MatrixFactorization()),
    ],
)
def test_a_run_is_the_same_on_other_landscapes(flow, landscape, kind):
    same_run(flow, kind, landscape, np.array(landscape.start), steps=8)


@pytest.mark.parametrize("kind", KINDS)
def test_the_reduced_model_is_the_same(kind):
    landscape, x = MatrixFactorization(), np.array(MatrixFactorization().start)
    models = [
        solvers.SelfStabilization.from_objective(objective, x, 0.077, modes=2)
        for objective in (Fresh(landscape), kind(landscape))
    ]
    for name in ("point", "drift", "vectors", "excess", "turns"):
        np.testing.assert_array_equal(*(getattr(model, name) for model in models))
    same_run(models[0], kind, landscape, x, steps=5)


def test_the_central_flow_ends_at_its_fixed_point():
    run = solvers.solve(
        solvers.CentralFlow(0.3), OneArray(Valley()), np.array([0.0, 6.6]), 300, save_every=300
    )
    # that of the equations: y + 3x = 2/η at rest, u² = 2ε / (1 + …), see Valley
    np.testing.assert_allclose(run.centers[-1], [-0.002995, 6.67565], atol=2e-4)
    assert run.fluctuation_trace[-1] == pytest.approx(0.01999, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("closure", ["endpoint", "taylor"])
def test_the_free_energy_is_that_of_its_formula(kind, closure):
    energy = solvers.FreeEnergy(kind(Valley()), 0.3, closure)
    w, us = np.array([0.1, 6.0]), np.array([[0.3, -0.2], [0.05, 0.4]])
    for u in (us[0], us):
        value, (d_w, d_u) = energy.value(w, u), energy.gradient(w, u)
        h = 1e-5
        of_w, of_u = partial(energy.value, fluctuation=u), partial(energy.value, w)
        for at, slope, moved in ((w, d_w, of_w), (u, d_u, of_u)):
            for index in np.ndindex(at.shape):
                e = np.zeros_like(at)
                e[index] = h
                # of a cubic the central difference misses h² times its third derivative
                difference = (moved(at + e) - moved(at - e)) / (2 * h)
                assert slope[index] == pytest.approx(difference, abs=1e-8)
        assert value == energy.value(w, u)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 3])
def test_eigenpairs_are_those_of_the_matrix(kind, k):
    landscape = MatrixFactorization(np.diag([5.0, 4.0, 3.0, 2.0]).tolist(), depth=2)
    x = np.array(landscape.start) + 0.1 * np.sin(np.arange(32))
    matrix = np.array([landscape.hvp(x, e) for e in np.eye(32)])
    pairs = solvers.top_eigenpairs(kind(landscape), x, k)
    np.testing.assert_allclose(pairs.values, np.linalg.eigvalsh(matrix)[::-1][:k], rtol=1e-9)


class Particles:
    """½|x|² plus a pull to the mean, on particles, in arrays that are reused; with or without a Hessian."""

    def __init__(self, number):
        self.array = np.empty((number, 1))

    def value(self, x):
        return 0.5 * float(np.mean(np.sum(x**2 + 0.5 * (x - x.mean(0)) ** 2, axis=1)))

    def gradient(self, x):
        np.add(x, 0.5 * (x - x.mean(0)), out=self.array)
        return self.array


class ParticlesWithHessian(Particles):
    def hvp(self, x, v):
        np.add(v, 0.5 * (v - v.mean(0)), out=self.array)
        return self.array


@pytest.mark.parametrize("kind", [Particles, ParticlesWithHessian])
def test_a_minimising_movement_is_the_implicit_step(kind):
    x = np.linspace(-1, 2, 7)[:, None]
    step = solvers.JKO(step_size=0.5, learning_rate=1.0).step(kind(7), x)
    # (x' − x)/τ = −∇E(x') is linear: the mean shrinks by 1/(1 + τ), the rest by 1/(1 + 3τ/2)
    expected = x.mean() / 1.5 + (x - x.mean()) / 1.75
    np.testing.assert_allclose(np.asarray(step.state), expected, atol=1e-7)


# --- arguments -----------------------------------------------------------------------------------


class WritesToX(Fresh):
    def gradient(self, x):
        result = super().gradient(x)
        x *= 0.5
        return result


class WritesInHessian(Fresh):
    def hvp(self, x, v):
        result = super().hvp(x, v)
        x -= x.mean()
        return result


@pytest.mark.parametrize(
    ("kind", "flow"),
    [
        (WritesToX, solvers.GradientDescent(0.3)),
        (WritesToX, solvers.FreeEnergyFlow(0.3)),
        (WritesToX, solvers.CentralFlow(0.3)),
        (WritesInHessian, solvers.RodFlow(0.3)),
        (WritesInHessian, solvers.EdgeFlow(0.3)),
    ],
)
def test_an_objective_that_writes_to_its_arguments_is_refused(kind, flow):
    with pytest.raises(ValueError, match="objective must leave the arrays it is given as they are"):
        solvers.solve(flow, kind(Valley()), START, 3)


# --- observers -----------------------------------------------------------------------------------

WRITERS = {
    "center": lambda o: o.center.__imul__(0),
    "fluctuation": lambda o: o.fluctuation.__iadd__(1),
    "iterate": lambda o: o.iterate.fill(0),
    "state": lambda o: o.state.values.__setitem__(0, 1.0),
    "history": lambda o: o.state.history.__imul__(2),
    "norm": lambda o: np.divide(o.center, 2, out=o.center),
}


@pytest.mark.parametrize("name", FLOWS)
def test_observers_cannot_write_to_a_run(name):
    def write(observation):
        absent = {
            "iterate": observation.iterate is None,
            "history": observation.state.history is None,
        }
        for what, writer in WRITERS.items():
            if not absent.get(what, False):
                reached.add(what)
                with pytest.raises(ValueError, match="read-only"):
                    writer(observation)

    reached = set()
    seen = solvers.solve(FLOWS[name], Fresh(Valley()), START, 6, observe=write)
    alone = solvers.solve(FLOWS[name], Fresh(Valley()), START, 6)
    for expected, actual in zip(arrays_of(alone), arrays_of(seen), strict=True):
        np.testing.assert_array_equal(actual, expected)
    flow = FLOWS[name]
    # earlier states of a delay equation, or the step of several iterations that a state is in
    long = isinstance(getattr(flow, "default_integrator", None), Stabilized)
    has = {"iterate": alone.iterates is not None, "history": flow.__dict__.get("delay") or long}
    assert reached == {what for what in WRITERS if has.get(what, True)}


@pytest.mark.parametrize("name", FLOWS)
def test_a_run_goes_on_from_a_state_that_was_observed(name):
    states = []
    whole = solvers.solve(
        FLOWS[name], Fresh(Valley()), START, 6, observe=lambda o: states.append(o.state)
    )
    rest = solvers.solve(FLOWS[name], Writing(Valley()), states[2], 4)
    np.testing.assert_array_equal(rest.state.values, whole.state.values)
    np.testing.assert_array_equal(states[2].values, np.array(states[2].values))


class Writing(Fresh):
    """Takes no array that is read-only, as functions of other libraries."""

    def gradient(self, x):
        assert x.flags.writeable
        return super().gradient(x)

    def value(self, x):
        assert x.flags.writeable
        return super().value(x)


def test_an_observer_is_shown_the_objective_itself():
    objective, seen = OneArray(Valley()), []
    solvers.solve(
        solvers.GradientDescent(0.3),
        objective,
        START,
        1,
        observe=lambda o: seen.append(o.objective),
    )
    assert seen == [objective, objective]


def test_an_objective_is_never_given_arrays_that_are_read_only():
    for flow in FLOWS.values():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            solvers.solve(
                flow,
                Writing(Valley()),
                START,
                3,
                observe=lambda o: (o.loss, o.predicted_loss, o.free_energy, o.diagnostics),
            )


@pytest.mark.slow
@pytest.mark.essential
def test_a_risk_takes_what_an_observer_is_shown():
    risk = sine_risk(20)
    x = risk.network.initialize(8, seed=1)
    seen = []
    solvers.solve(
        solvers.GradientDescent(1.0),
        risk,
        x,
        2,
        observe=lambda o: seen.append(
            (risk.gradient(o.iterate), solvers.top_eigenpairs(risk, o.center).values)
        ),
    )
    np.testing.assert_array_equal(seen[0][0], risk.gradient(x))
