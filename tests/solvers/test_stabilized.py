"""The stabilised schemes on problems whose solutions are known: polynomials, closed forms, and SciPy's DOP853."""

import math
from itertools import product

import numpy as np
import pytest
from numpy.polynomial import chebyshev
from scipy.integrate import solve_ivp

import solvers
from meanfield.landscapes import Landscape
from solvers.integrators import RKC, ROCK4, Chebyshev, SchemeError
from solvers.integrators.rkc import _DAMPING, _STIFFNESS
from solvers.integrators.rock4 import _DEGREES, _coefficients
from tests.helpers.matrices import slow_unless

SINGLE = [RKC(), ROCK4()]
SCHEMES = [*SINGLE, Chebyshev()]


def amplification(scheme, z, reach):
    """R(z) of one step of ẏ = zy, and the estimate of its error, for many z at once."""
    z = np.asarray(z)
    ones = np.ones_like(z)
    made = scheme.stages(lambda t, y: z * y, ones, z * ones, 1.0, reach)
    return made.y, made.error


@pytest.mark.parametrize("s", [2, 3, 7, 40, 199])
def test_the_polynomial_of_rkc_is_the_published_one(s):
    """a + b T_s(w0 + w1 z), with w0 = 1 + ε/s², w1 = T_s'/T_s'', b = T_s''/T_s'², a = 1 − b T_s at w0."""
    reach = ((s - 1) ** 2 - 1) / _STIFFNESS + 1e-9
    z = -np.linspace(0.0, reach, 200)
    t = chebyshev.Chebyshev.basis(s)
    w0 = 1 + _DAMPING / s**2
    w1 = t.deriv()(w0) / t.deriv(2)(w0)
    b = t.deriv(2)(w0) / t.deriv()(w0) ** 2
    expected = 1 - b * np.cosh(s * np.arccosh(w0)) + b * t(w0 + w1 * z)
    assert amplification(RKC(), z, reach)[0] == pytest.approx(expected, abs=1e-8 * s)
    assert np.abs(expected[1:]).max() < 1.0
    # what is stiff decays by a quarter per step
    assert np.abs(expected[z < -2.0]).max(initial=0.0) < 0.78


@pytest.mark.parametrize("index", range(len(_DEGREES)))
def test_every_row_of_rock4s_table_is_stable_and_of_its_order(index):
    """R(z) = eᶻ + O(z⁵), its embedded companion eᶻ + O(z⁴), and |R| ≤ 1 on the interval that the number of stages promises."""
    stages = _DEGREES[index] + 4
    reach = 0.35 * stages**2 - 3.0 - 1e-9
    z = np.array([0.1, -0.1, 0.05, -0.05])
    r, error = amplification(ROCK4(), z, reach)
    assert np.abs(r - np.exp(z)).max() < np.abs(z).max() ** 5
    assert 1e-9 < np.abs(error).max() < np.abs(z).max() ** 4
    fifth = (r - np.exp(z)) / z**5
    assert fifth[0] == pytest.approx(fifth[2], rel=0.1)
    on_axis, _ = amplification(ROCK4(), -np.linspace(0.0, reach, 2000), reach)
    # The fifteen published digits of the longest recurrences leave a few thousandths.
    assert np.abs(on_axis).max() <= 1.0 + (1e-9 if stages < 100 else 5e-3)
    assert len(_coefficients(index).recurrence) == _DEGREES[index] - 1


@pytest.mark.parametrize("scheme", SINGLE, ids=repr)
@pytest.mark.parametrize("stages", [5, 12])
def test_orders_on_a_problem_that_depends_on_time(scheme, stages):
    """ẏ = −3(y − φ) + φ' − (y − φ)², whose solution from y = φ + d is φ + 3d/((3 + d)e^{3t} − d)."""

    def f(t, y):
        gap = y - np.sin(2 * t)
        return -3 * gap + 2 * np.cos(2 * t) - gap**2

    exact = math.sin(2.0) + 3 * 0.5 / (3.5 * math.exp(3.0) - 0.5)
    reach = 0.3 * stages**2
    errors, sizes = [], [1 / 10, 1 / 20, 1 / 40]
    for size in sizes:
        y = np.array([0.5])
        for i in range(round(1 / size)):
            at = i * size
            y = scheme.stages(lambda t, y, at=at: f(at + t, y), y, f(at, y), size, reach).y
        errors.append(abs(float(y[0]) - exact))
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert slope == pytest.approx(scheme.order, abs=0.35)


@pytest.mark.parametrize("kind", [RKC, ROCK4, Chebyshev])
def test_a_stiff_nonlinear_problem_to_its_tolerance(kind):
    """Reaction and diffusion on a line, ρ ≈ 4·40² = 6400, against SciPy's DOP853."""
    n = 40

    def f(t, y):
        padded = np.pad(y, 1)
        return n**2 * (padded[2:] - 2 * y + padded[:-2]) + y * (1 - y) * 5

    start = np.sin(np.pi * np.linspace(0, 1, n + 2)[1:-1]) ** 3
    exact = solve_ivp(f, (0, 0.3), start, method="DOP853", rtol=1e-10, atol=1e-13).y[:, -1]
    for rtol in {ROCK4: (1e-3, 1e-5)}.get(kind, (1e-2, 1e-3)):
        calls = []

        def counted(t, y, calls=calls):
            calls.append(t)
            return f(t, y)

        end = kind(rtol=rtol).advance(counted, 0.0, start, 0.3)
        assert np.abs(end - exact).max() < 10 * rtol * np.abs(exact).max()
        # A scheme of s/3.3 steps per evaluation would take 0.3 · 6400/3.3 · 6 = 3,500.
        assert len(calls) < 900


@pytest.mark.parametrize("kind", [RKC, ROCK4, Chebyshev])
def test_the_tolerance_is_respected(kind):
    """The pendulum with friction: the error falls in proportion to rtol, over four orders."""

    def f(t, y):
        return np.array([y[1], -np.sin(y[0]) - 0.1 * y[1]])

    start = np.array([1.0, 0.0])
    exact = solve_ivp(f, (0, 8), start, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    rtols = [1e-2, 1e-3, 1e-4, 1e-5, 1e-6]
    errors = [
        np.abs(kind(rtol=rtol, max_steps=10**5).advance(f, 0.0, start, 8.0) - exact).max()
        for rtol in rtols
    ]
    assert np.polyfit(np.log(rtols), np.log(errors), 1)[0] == pytest.approx(1.0, abs=0.2)
    assert errors[-1] < 1e-3


@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
def test_what_is_not_finite_or_too_fast_is_said(scheme):
    with pytest.raises(FloatingPointError, match="not finite"):
        scheme.advance(lambda t, y: y * (math.inf if t > 0.5 else 1.0), 0.0, np.ones(1), 1.0)
    with pytest.raises(FloatingPointError, match="not finite, or changes too fast"):
        type(scheme)(rtol=1e-2).advance(
            lambda t, y: y**2, 0.0, np.ones(1), 2.0
        )  # infinite at t = 1
    with pytest.raises(SchemeError, match="max_steps = 3 inner steps"):
        type(scheme)(max_steps=3).advance(
            lambda t, y: np.cos(50 * t) * np.ones(1), 0.0, np.ones(1), 1.0
        )


class Modes:
    """½ Σ λ_i x_i²."""

    fresh_arrays = True

    def __init__(self, *curvatures):
        self.curvatures = np.array(curvatures)

    def value(self, x):
        return float(0.5 * self.curvatures @ (x * x))

    def gradient(self, x):
        return self.curvatures * x

    def hvp(self, x, v):
        return self.curvatures * v


@pytest.mark.parametrize("size", [1e-200, 1e-12, 1.0])
@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
def test_the_logarithm_of_the_fluctuation_is_right_at_any_size(scheme, size):
    """u grows like e^{(ηλ − 2)t} along each mode, whatever its size: like e^{0.3 t} along one, e^{−1.5 t} along the other."""
    flow = solvers.FreeEnergyFlow(1.0, fluctuation_floor=0.0)
    start = solvers.State(0, np.array([[0.5, 1.0], [size, size]]), 0.0)
    run = solvers.solve(flow, Modes(2.3, 0.5), start, 60, integrator=scheme)
    grown = np.log(np.abs(run.fluctuations[:, 0]) / size)
    assert grown == pytest.approx(0.3 * run.times, abs=2e-3 + 1e-3 * 60)
    # and the center decays like e^{−ηλ t}
    assert run.centers[:, 1] == pytest.approx(np.exp(-0.5 * run.times), abs=1e-3)
    assert run.status == "complete"


@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
def test_gradient_flow_far_past_the_edge(scheme):
    """ηS = 60: the fast mode is gone at once, the slow one decays like e^{−0.01 t}; a classical scheme would take 20 steps per
    iteration."""
    calls = []

    class Counted(Modes):
        def gradient(self, x):
            calls.append(1)
            return super().gradient(x)

    run = solvers.solve(
        solvers.GradientFlow(1.0), Counted(60.0, 0.01), np.array([1.0, 1.0]), 200, integrator=scheme
    )
    assert run.centers[:, 1] == pytest.approx(np.exp(-0.01 * run.times), abs=2e-3)
    assert np.abs(run.centers[5:, 0]).max() < 2e-3
    assert len(calls) < 8 * 200


@pytest.mark.parametrize("cut", [1, 7, 20])
@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
def test_a_run_cut_anywhere_goes_on_with_the_same_bits(scheme, cut):
    from tests.convergence.references import VALLEY

    start = np.array([0.1, 6.5])
    for flow in (solvers.GradientFlow(0.3), solvers.FreeEnergyFlow(0.3), solvers.EdgeFlow(0.3)):
        whole = solvers.solve(flow, VALLEY, start, 30, integrator=scheme)
        first = solvers.solve(flow, VALLEY, start, cut, integrator=scheme)
        rest = solvers.solve(flow, VALLEY, first.state, 30 - cut, integrator=scheme)
        for name in ("centers", "fluctuations", "losses", "dissipated"):
            joined = np.concatenate([getattr(first, name)[:-1], getattr(rest, name)])
            assert np.array_equal(joined, getattr(whole, name)), name
        assert np.array_equal(rest.state.history, whole.state.history)
        assert rest.state.scheme == whole.state.scheme


BLOW_UPS = [
    (lambda x: -(x[0] ** 4), [1.0], 0.1),
    (lambda x: -np.exp(x[0] ** 2), [1.0], 0.1),
    (lambda x: x[0] ** 3 - x[0] * x[1] ** 2, [0.5, 0.3], 1.0),
]


@pytest.mark.parametrize(
    ("flow", "case"),
    slow_unless(
        lambda flow, case: case == 2 and flow is solvers.FreeEnergyFlow,
        list(product([solvers.GradientFlow, solvers.FreeEnergyFlow, solvers.EdgeFlow], range(3))),
    ),
)
def test_a_solution_that_blows_up_diverges(flow, case):
    """In finite time, within sixty iterations; RK4 says so as well."""
    function, start, eta = BLOW_UPS[case]
    landscape = Landscape(function)
    for scheme in (None, "rk4", *SCHEMES):
        run = solvers.solve(flow(eta), landscape, np.array(start), 60, integrator=scheme)
        assert run.status == "diverged", scheme
        assert np.isfinite(run.centers).all()


@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
def test_what_is_too_stiff_and_does_not_grow_has_failed(scheme):
    run = solvers.solve(
        solvers.GradientFlow(1.0), Modes(1e12, 1.0), np.ones(2), 3, integrator=scheme
    )
    assert run.status == "failed"
    assert "the flow is too stiff" in run.message


def test_single_precision_stays_single():
    from tests.convergence.references import VALLEY

    start = np.array([0.1, 6.5])
    for scheme in (*SCHEMES, None):
        for flow in (solvers.GradientFlow(0.3), solvers.FreeEnergyFlow(0.3)):
            runs = [
                solvers.solve(flow, VALLEY, x, 12, integrator=scheme)
                for x in (start, start.astype(np.float32))
            ]
            assert runs[1].centers.dtype == np.float32
            assert runs[1].centers == pytest.approx(runs[0].centers, abs=2e-3)
