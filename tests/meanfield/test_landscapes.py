"""The landscapes: every derivative against PyTorch autograd and central differences, and the figures of their references."""

import math
import re
import subprocess
import sys

import numpy as np
import pytest

from meanfield.landscapes import (
    LANDSCAPES,
    DegreeFour,
    Landscape,
    LinearNeurons,
    LogCoshProduct,
    MatrixFactorization,
    Quartic,
    RiverValley,
    Rosenbrock,
    ScalarFactorization,
    Scaled,
    Shifted,
    Sum,
    Valley,
    VaryingTrough,
)

torch = pytest.importorskip("torch")

EPS = np.finfo(np.float64).eps


def river(p):
    x1, x2, y, z, q = p
    curvature = torch.stack(
        [torch.stack([y + 0.4 + z, 1.7 * q]), torch.stack([1.7 * q, y - 0.4 - z])]
    )
    x = torch.stack([x1, x2])
    return 0.5 * x @ curvature @ x + 0.35 * (x**3).sum() - 0.02 * (x1 + x2 + y)


def matrices(p):
    w1, w2, w3, w4 = p.reshape(4, 3, 3)
    return 0.5 * ((w4 @ w3 @ w2 @ w1 - torch.tensor(TARGET)) ** 2).sum()


def default_matrices(p):
    w1, w2, w3 = p.reshape(3, 2, 2)
    return 0.5 * ((w3 @ w2 @ w1 - torch.diag(torch.tensor([5.0, 4.8], dtype=p.dtype))) ** 2).sum()


def valley(p, zeta=1.0, epsilon=0.01):
    return 0.5 * (p[1] + zeta * p[0]) * p[0] ** 2 - epsilon * (p[0] + p[1])


def log_cosh(r):
    return torch.logaddexp(r, -r) - math.log(2)


def analytic(x):
    return np.exp(0.3 * x[0]) * np.sin(x[1]) + x[0] * x[1] ** 2 * x[2] + 0.1 * np.sum(x**4)


def analytic_in_torch(p):
    return torch.exp(0.3 * p[0]) * torch.sin(p[1]) + p[0] * p[1] ** 2 * p[2] + 0.1 * (p**4).sum()


TARGET = np.arange(9.0).reshape(3, 3) / 4 - 1

#: By name: a landscape, and E written for autograd.
CASES = {
    "valley": (Valley(), valley),
    "valley, other": (Valley(zeta=-0.7, epsilon=0.2), lambda p: valley(p, -0.7, 0.2)),
    "river, one": (RiverValley(zeta=0.6, epsilon=0.03), lambda p: valley(p, 0.6, 0.03)),
    "river, two": (RiverValley(2, zeta=0.7, epsilon=0.02, gap=0.8, coupling=1.7), river),
    "degree four": (DegreeFour(), lambda p: 0.5 * (1 - p.prod()) ** 2),
    "quartic": (
        Quartic(curvature=3.0, quartic=0.8),
        lambda p: (1.5 * p**2 - 0.2 * p**4).sum(),
    ),
    "scalars, two": (ScalarFactorization(), lambda p: 0.5 * (p[0] * p[1] - 1) ** 2),
    "scalars, one": (ScalarFactorization(1, target=-0.4), lambda p: 0.5 * (p[0] + 0.4) ** 2),
    "scalars, five": (ScalarFactorization(5, 2.0), lambda p: 0.5 * (p.prod() - 2) ** 2),
    "matrices": (MatrixFactorization(), default_matrices),
    "matrices, other": (MatrixFactorization(TARGET, depth=4), matrices),
    "neurons": (LinearNeurons(), lambda p: 0.5 * (p[:100] @ p[100:]) ** 2 / 100),
    "neurons, three": (LinearNeurons(3), lambda p: 0.5 * (p[:3] @ p[3:]) ** 2 / 3),
    "trough": (VaryingTrough(), lambda p: (1 + p[0] ** 2) * p[1] ** 2),
    "log cosh": (LogCoshProduct(), lambda p: log_cosh(p[0] * p[1])),
    "log cosh, three": (LogCoshProduct(3, target=1.0), lambda p: log_cosh(p.prod() - 1)),
    "rosenbrock": (Rosenbrock(), lambda p: (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2),
    "rosenbrock, other": (
        Rosenbrock(a=-0.5, b=7.0),
        lambda p: (-0.5 - p[0]) ** 2 + 7 * (p[1] - p[0] ** 2) ** 2,
    ),
    "sum": (
        Valley() + Rosenbrock(),
        lambda p: valley(p) + (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2,
    ),
    "scaled": (-2.5 * Valley(), lambda p: -2.5 * valley(p)),
    "shifted": (
        Valley().shifted([0.3, -1.0]),
        lambda p: valley(p - torch.tensor([0.3, -1.0], dtype=p.dtype)),
    ),
}
EACH = pytest.mark.parametrize("name", CASES)


def random_point(landscape, seed=3, dtype="float64"):
    rng = np.random.default_rng(seed)
    x, u, v = rng.standard_normal((3, landscape.dimension)).astype(dtype)
    return x, u, v


def by_autograd(energy, x, u):
    """(E, ∇E, ∇²E u, ∇³E[u, u]) by reverse mode applied three times."""
    point = torch.tensor(x.astype(np.float64), requires_grad=True)
    direction = torch.tensor(u.astype(np.float64))
    value = energy(point)
    (gradient,) = torch.autograd.grad(value, point, create_graph=True)
    (hvp,) = torch.autograd.grad((gradient * direction).sum(), point, create_graph=True)
    # A Hessian that does not depend on x leaves autograd nothing to differentiate.
    third = torch.zeros_like(point)
    if hvp.requires_grad:
        (third,) = torch.autograd.grad((hvp * direction).sum(), point, materialize_grads=True)
    return value.item(), *(t.detach().numpy() for t in (gradient, hvp, third))


def close(actual, expected, tolerance):
    return np.max(np.abs(actual - expected)) <= tolerance * max(1.0, np.max(np.abs(expected)))


def descend(landscape, learning_rate, steps, start=None):
    x = np.array(landscape.start if start is None else start)
    iterates = [x]
    for _ in range(steps):
        x = x - learning_rate * landscape.gradient(x)
        iterates.append(x)
    return np.array(iterates)


def hessian(landscape, x):
    return np.array([landscape.hvp(x, e) for e in np.eye(x.size)])


def sharpness(landscape, x):
    return np.linalg.eigvalsh(hessian(landscape, np.asarray(x)))[-1]


# Tens of products of O(1) factors, each with a few roundings: below 1e3 ε of the largest derivative.
@EACH
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seed", [3, 4, 5])
def test_derivatives_match_autograd_and_keep_the_precision(name, dtype, seed):
    landscape, energy = CASES[name]
    x, u, _ = random_point(landscape, seed, dtype)
    expected = by_autograd(energy, x, u)
    actual = landscape.value(x), landscape.gradient(x), landscape.hvp(x, u), landscape.third(x, u)
    assert type(actual[0]) is float
    for array in actual[1:]:
        assert array.dtype == dtype
        assert array.shape == x.shape
    scale = max(1.0, *(np.max(np.abs(e)) for e in expected))
    for a, e in zip(actual, expected, strict=True):
        assert np.max(np.abs(a - e)) <= 1e3 * np.finfo(dtype).eps * scale


# Central differences with h = ε^(1/3) lose ε^(2/3) = 4e-11 times the function and its third derivative, here below 1e5.
@EACH
def test_derivatives_match_central_differences(name):
    landscape = CASES[name][0]
    x, u, v = random_point(landscape)
    h = EPS ** (1 / 3)
    slope = (landscape.value(x + h * u) - landscape.value(x - h * u)) / (2 * h)
    assert landscape.gradient(x) @ u == pytest.approx(slope, rel=1e-5, abs=1e-5)
    along = (landscape.gradient(x + h * v) - landscape.gradient(x - h * v)) / (2 * h)
    assert close(landscape.hvp(x, v), along, 1e-5)
    change = (landscape.hvp(x + h * v, v) - landscape.hvp(x - h * v, v)) / (2 * h)
    assert close(landscape.third(x, v), change, 1e-5)


@EACH
def test_the_hessian_is_symmetric(name):
    landscape = CASES[name][0]
    h = hessian(landscape, random_point(landscape)[0])
    assert close(h, h.T, 10 * EPS)


@EACH
def test_what_a_landscape_says_of_itself_fits(name):
    landscape = CASES[name][0]
    assert landscape.dimension == len(landscape.start) == len(landscape.parameter_names)
    assert len(set(landscape.parameter_names)) == landscape.dimension
    assert hash(landscape) == hash(landscape)
    if landscape.minimum is not None:
        assert landscape.value(np.array(landscape.start)) >= landscape.minimum
        assert landscape.value(random_point(landscape)[0]) >= landscape.minimum


@EACH
def test_bad_arrays_are_refused(name):
    landscape = CASES[name][0]
    n = landscape.dimension
    x = np.ones(n)
    for bad in (np.ones(n + 1), np.ones((n, 1)), 1.0):
        with pytest.raises(ValueError, match=rf"^x: shape .* came, \({n},\) is needed"):
            landscape.gradient(bad)
    with pytest.raises(ValueError, match="^x: dtype complex128 came"):
        landscape.value(x + 1j)
    with pytest.raises(ValueError, match="^v: shape"):
        landscape.hvp(x, np.ones(n + 1))
    with pytest.raises(ValueError, match="^u: shape"):
        landscape.third(x, np.ones(n + 1))
    assert landscape.gradient([1] * n).dtype == np.float64


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Valley(zeta=math.nan), "zeta"),
        (lambda: Valley(epsilon="1"), "epsilon"),
        (lambda: RiverValley(codimension=3), "codimension"),
        (lambda: RiverValley(codimension=True), "codimension"),
        (lambda: RiverValley(codimension=1.0), "codimension"),
        (lambda: RiverValley(gap=math.inf), "gap"),
        (lambda: RiverValley(coupling=None), "coupling"),
        (lambda: Quartic(curvature=0.0), "curvature"),
        (lambda: Quartic(quartic=-1.0), "quartic"),
        (lambda: ScalarFactorization(depth=0), "depth"),
        (lambda: ScalarFactorization(target=math.nan), "target"),
        (lambda: LogCoshProduct(depth=1.5), "depth"),
        (lambda: LogCoshProduct(target=math.inf), "target"),
        (lambda: MatrixFactorization(depth=0), "depth"),
        (lambda: MatrixFactorization(target=[[1.0, 2.0]]), "target"),
        (lambda: MatrixFactorization(target=[[1.0], [2.0, 3.0]]), "target"),
        (lambda: MatrixFactorization(target=[["a"]]), "target"),
        (lambda: MatrixFactorization(target=[[math.nan]]), "target"),
        (lambda: LinearNeurons(width=0), "width"),
        (lambda: Rosenbrock(b=0.0), "b"),
        (lambda: Rosenbrock(a=math.inf), "a"),
        (lambda: Landscape(3.0), "function"),
        (lambda: Landscape(analytic, dimension=0), "dimension"),
        (lambda: Landscape(analytic, minimum=math.inf), "minimum"),
        (lambda: Landscape(analytic, derivatives="complx"), "derivatives"),
        (lambda: Valley() * math.inf, "factor"),
        (lambda: Valley().shifted([1.0]), "offset"),
        (lambda: Valley().shifted([1.0, math.nan]), "offset"),
        (lambda: Valley() + DegreeFour(), "second"),
    ],
)
def test_bad_parameters_are_refused(make, name):
    with pytest.raises(ValueError, match=rf"^{name}: "):
        make()


def test_names_of_a_configuration_make_their_landscapes():
    assert [cls.__name__ for cls in LANDSCAPES.values()] == [
        "".join(word.capitalize() for word in name.split("_")) for name in LANDSCAPES
    ]
    assert all(len(cls().start) == cls().dimension for cls in LANDSCAPES.values())


def test_landscapes_load_neither_solvers_nor_a_compiler():
    check = "import sys, meanfield.landscapes; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True
    )
    assert not {"solvers", "numba", "torch", "matplotlib", "h5py"} & set(loaded.stdout.split())


# The algebra


def test_algebra_says_what_follows_from_the_parts():
    total = Valley() + Rosenbrock()
    assert total == Sum(Valley(), Rosenbrock())
    assert total.start == (0.0, 6.0)
    assert total.minimum is None
    assert 2.0 * Valley() == Valley() * 2 == np.float64(2.0) * Valley() == Scaled(Valley(), 2.0)
    assert (3 * (Rosenbrock().shifted([1, 2]))).minimum == 0.0
    assert (-1 * Rosenbrock()).minimum is None
    moved = Rosenbrock().shifted([1, 2])
    assert moved == Shifted(Rosenbrock(), (1.0, 2.0))
    assert moved.start == pytest.approx((-0.2, 3.0))
    assert moved.value([2.0, 3.0]) == 0.0
    free = Landscape(lambda x: np.sum(x**2))
    assert free.shifted([1.0]).start is None
    assert (free + Valley()).start == (0.0, 6.0)
    assert (free + Valley()).dimension == 2
    assert (free + Valley()).parameter_names == ("x", "y")
    with pytest.raises(TypeError):
        Valley() + 1.0
    with pytest.raises(TypeError):
        Valley() * Valley()


# From a function

#: The powers of ε that the errors are of, for gradient, hvp and third. What multiplies them, derivatives two orders up over 6 and
#: lengths (1 + |x|)², is below 100.
ORDERS = {"complex": (1, 2 / 3, 1 / 2), "differences": (2 / 3, 1 / 2, 2 / 5)}


@pytest.mark.parametrize("derivatives", ORDERS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_derivatives_of_a_function_have_the_accuracy_of_their_step(derivatives, dtype):
    landscape = Landscape(analytic, dimension=3, derivatives=derivatives)
    x, u, _ = random_point(landscape, dtype=dtype)
    value, *expected = by_autograd(analytic_in_torch, x, u)
    assert landscape.value(x) == pytest.approx(value, rel=10 * EPS)
    actual = landscape.gradient(x), landscape.hvp(x, u), landscape.third(x, u)
    rounding = np.finfo(dtype).eps  # of the result, the evaluations are in float64
    for a, e, order in zip(actual, expected, ORDERS[derivatives], strict=True):
        assert a.dtype == dtype
        assert close(a, e, 100 * EPS**order + rounding)


@pytest.mark.parametrize("derivatives", ORDERS)
def test_a_function_takes_arrays_of_any_length_and_zero_directions(derivatives):
    landscape = Landscape(lambda x: np.sum(x**2), minimum=0.0, derivatives=derivatives)
    assert landscape.dimension is None
    assert landscape.start is None
    assert landscape.parameter_names == ()
    assert Landscape(analytic, dimension=2).parameter_names == ("x1", "x2")
    for n in (1, 4):
        x = np.arange(1.0, n + 1)
        assert close(landscape.gradient(x), 2 * x, 1e-9)
        assert not landscape.hvp(x, 0 * x).any()
        assert not landscape.third(x, 0 * x).any()
    with pytest.raises(ValueError, match=re.escape("x: shape (0,) came, (n,) with n ≥ 1")):
        landscape.gradient([])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: np.sum(np.abs(x)), "returned .*, real, for a complex array"),
        (lambda x: np.sum(x.real**2), "returned .*, real, for a complex array"),
        (lambda x: np.sum(np.abs(x) ** 2) * x[0], "not analytic"),
        (lambda x: np.sum(x * np.conj(x)) + x[0], "not analytic"),
        (lambda x: x, r"shape \(2,\)"),
        (lambda x: "high", "dtype <U4"),
        (lambda x: 1j * x[0], "complex, for a real array"),
    ],
)
def test_functions_that_cannot_be_differentiated_are_refused(function, message):
    landscape = Landscape(function)
    with pytest.raises(ValueError, match=f"^function: .*{message}"):
        landscape.gradient(np.array([1.0, -2.0]))
    with pytest.raises(ValueError, match="^function: "):
        landscape.hvp(np.array([1.0, -2.0]), np.ones(2))


def test_differences_serve_a_function_that_is_not_analytic():
    landscape = Landscape(lambda x: float(np.sum(np.abs(x) ** 3)), derivatives="differences")
    x = np.array([1.0, -2.0])
    assert close(landscape.gradient(x), 3 * x * np.abs(x), 1e-8)


# The references


def test_valley_peaks_where_it_should():
    y = descend(Valley(), 0.3, 1000)[:, 1]
    assert np.argmax(y > 2 / 0.3) == 223
    assert (np.argmax(y), y.max()) == (481, pytest.approx(7.4351, abs=5e-5))


def test_river_of_codimension_one_is_the_valley():
    p, v, u = random_point(Valley())
    for name, arguments in [
        ("value", (p,)),
        ("gradient", (p,)),
        ("hvp", (p, v)),
        ("third", (p, u)),
    ]:
        one, other = (getattr(E, name)(*arguments) for E in (RiverValley(), Valley()))
        assert close(one, other, 10 * EPS)


@pytest.mark.parametrize(("gap", "onsets"), [(0.5, (139, 306)), (0.0, (223, 223))])
def test_two_critical_modes_fluctuate_for_ever(gap, onsets):
    """ηS of both comes to 2 and Σ to ε I on average, which one vector u can only do by turning."""
    eta, landscape = 0.3, RiverValley(codimension=2, gap=gap)
    p = descend(landscape, eta, 8000)
    x, y, z, q = p[:, :2], *p[:, 2:].T
    radius = np.hypot(0.5 * gap + z, q)
    modes = eta * np.stack([y + radius, y - radius])
    assert tuple(np.argmax(modes > 2, axis=1)) == onsets
    u = 0.5 * np.diff(x, axis=0)[-4000:]
    covariance = u.T @ u / len(u)
    # Σ = ε I up to what is left of one turn in 4,000 steps, and ηS = 2 up to its swing, ±0.15.
    assert np.abs(covariance - 0.01 * np.eye(2)).max() < 5e-4
    assert np.abs(modes[:, -4000:] - 2).max() < 0.15
    assert np.abs(x[-4000:]).max(axis=0).min() > 0.2
    assert np.abs(x[-4000:]).min(axis=0).max() < 1e-3


def test_two_modes_that_are_not_coupled_settle():
    x = descend(RiverValley(codimension=2, coupling=0.0), 0.3, 20_000)[-500:, :2]
    size = (0.25 * np.diff(x, axis=0) ** 2).sum(axis=1)
    assert size == pytest.approx(np.full(size.shape, 0.02), rel=0.01)


def test_degree_four_ends_just_below_the_edge():
    landscape, eta = DegreeFour(), 0.01
    x, y = landscape.start[:2]
    iterates = descend(landscape, eta, 20)
    for k in range(300_000):
        if k < len(iterates):
            assert iterates[k] == pytest.approx([x, y, x, y], rel=1e-12)
        slope = (1 - (x * y) ** 2) * x * y
        x, y = x + eta * slope * y, y + eta * slope * x
    assert (x, y) == (pytest.approx(9.99938, abs=5e-6), pytest.approx(0.100006, abs=5e-7))
    assert sharpness(landscape, [x, y, x, y]) == pytest.approx(199.995, abs=5e-4)


@pytest.mark.parametrize(("curvature", "quartic", "eta"), [(10.0, 1.0, 0.21), (4.0, 2.0, 0.6)])
def test_quartic_ends_in_its_two_cycle(curvature, quartic, eta):
    w = descend(Quartic(curvature, quartic), eta, 500)[-2:, 0]
    assert w[0] == pytest.approx(-w[1], rel=1e-12)
    assert w[0] ** 2 == pytest.approx(curvature / quartic - 2 / (eta * quartic), rel=1e-12)


def test_depth_two_balances_by_the_residual():
    landscape, eta = ScalarFactorization(), 0.3
    x, y = descend(landscape, eta, 200).T
    c, r = x**2 - y**2, x * y - 1
    # c is a difference of squares of at most 9: each step rounds by a few ε of that.
    assert np.abs(c[1:] - c[:-1] * (1 - eta**2 * r[:-1] ** 2)).max() < 100 * EPS
    assert sharpness(landscape, [x[-1], y[-1]]) == pytest.approx(2.9727, abs=5e-5)
    assert math.hypot(c[0], 2) == pytest.approx(9.1805, abs=5e-5)  # where the gradient flow ends


def test_log_cosh_ends_just_below_the_edge():
    landscape = LogCoshProduct()
    last = descend(landscape, 0.1, 1500)[-1]
    assert sharpness(landscape, last) == pytest.approx(19.8495, abs=5e-5)


@pytest.mark.parametrize("r", [0.0, 1e-9, 1e-3, 0.5, 1.0, 2.0, 30.0, 1e4])
def test_log_cosh_is_accurate_near_and_far(r):
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(40):
        expected = float(mpmath.log(mpmath.cosh(mpmath.mpf(r))))
    for sign in (1, -1):
        value = LogCoshProduct(depth=1).value([sign * r])
        assert value == pytest.approx(expected, rel=10 * EPS, abs=0)


def test_matrix_factorization_comes_to_the_edge_through_spikes():
    landscape, eta = MatrixFactorization(), 0.077
    iterates = descend(landscape, eta, 1200)
    loss = np.array([landscape.value(x) for x in iterates[:140]])
    for step, height in [(37, 0.50), (60, 0.28), (100, 0.16)]:
        around = loss[step - 10 : step + 11]
        assert abs(int(np.argmax(around)) - 10) <= 2
        assert around.max() == pytest.approx(height, abs=0.005)
    edge = [eta * sharpness(landscape, x) for x in iterates[20:300:3]]
    assert 1.9 < min(edge) < 2 < max(edge) < 2.5
    assert eta * sharpness(landscape, iterates[0]) == pytest.approx(0.895, abs=5e-4)
    assert eta * sharpness(landscape, iterates[-1]) == pytest.approx(2.0, abs=0.05)


def test_matrix_factorization_keeps_its_target_hashable():
    landscape = MatrixFactorization(np.eye(2), depth=1)
    assert landscape == MatrixFactorization([[1, 0], [0, 1]], depth=1)
    assert landscape.target == ((1.0, 0.0), (0.0, 1.0))
    assert landscape.parameter_names == ("W1[1,1]", "W1[1,2]", "W1[2,1]", "W1[2,2]")


@pytest.mark.parametrize("width", [1, 7, 100])
def test_linear_neurons_close_on_the_catapult(width):
    landscape, eta = LinearNeurons(width), 0.1
    f, kernel = landscape.output(landscape.start), landscape.kernel(landscape.start)
    assert (f, kernel) == (pytest.approx(1, rel=1e-13), pytest.approx(30, rel=1e-13))
    for x in descend(landscape, eta, 60):
        assert landscape.output(x) == pytest.approx(f, rel=1e-9, abs=1e-12)
        assert landscape.kernel(x) == pytest.approx(kernel, rel=1e-9)
        rate = eta * f**2 / width
        f, kernel = f * (1 - eta * kernel + eta * rate), kernel + rate * (eta * kernel - 4)


def test_the_catapult_ends_flat():
    landscape = LinearNeurons()
    x = descend(landscape, 0.1, 300)
    assert landscape.kernel(x[0]) == pytest.approx(30, rel=100 * EPS)
    assert landscape.value(x[0]) == pytest.approx(0.5, rel=100 * EPS)
    assert landscape.kernel(x[-1]) == pytest.approx(2.22678, abs=5e-6)
    assert sharpness(landscape, x[-1]) == pytest.approx(landscape.kernel(x[-1]), rel=1e-12)


@pytest.mark.parametrize("x", [-2.0, 0.0, 1.5])
def test_sharpness_of_the_varying_trough(x):
    assert sharpness(VaryingTrough(), [x, 0.0]) == 2 * (1 + x**2)


def test_normalised_descent_moves_along_the_varying_trough():
    """To η²k = 2; the flow's own end has an error of order η, and the start's height η."""
    landscape, eta = VaryingTrough(), 0.005
    x = np.array(landscape.start)
    for _ in range(80_000):
        slope = landscape.gradient(x)
        x = x - eta * slope / math.hypot(*slope)
    assert x[0] == pytest.approx(1.01523, abs=1e-5)


def test_rosenbrock_at_its_minimum():
    assert Rosenbrock(2.0, 3.0).value([2.0, 4.0]) == 0.0
    assert sharpness(Rosenbrock(), [1.0, 1.0]) == pytest.approx(1001.6, abs=0.05)
