"""The landscapes: every derivative against PyTorch autograd and central differences."""

import math
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
    Valley,
    VaryingTrough,
)
from tests.helpers.landscape_checks import EPS, analytic, by_autograd, close, hessian, random_point

torch = pytest.importorskip("torch")


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
        with pytest.raises(ValueError, match=rf"^x must have shape \({n},\), got "):
            landscape.gradient(bad)
    with pytest.raises(ValueError, match="^x must be .*, got dtype complex128"):
        landscape.value(x + 1j)
    with pytest.raises(ValueError, match="^v must have shape"):
        landscape.hvp(x, np.ones(n + 1))
    with pytest.raises(ValueError, match="^u must have shape"):
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
        (lambda: ScalarFactorization(depth=2**40), "depth"),
        (lambda: LinearNeurons(2**40), "width"),
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
    with pytest.raises(ValueError, match=rf"^{name} must (be|have shape|have dimension) "):
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
    assert not {"solvers.flow", "scipy", "numba", "torch", "matplotlib", "h5py"} & set(
        loaded.stdout.split()
    )
