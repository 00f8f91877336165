"""Activations and their derivatives against mpmath, over the whole range of both precisions, and against PyTorch's autograd."""

import itertools

import numba
import numpy as np
import pytest

from meanfield._kernels import activations
from meanfield._kernels.jit import COMPILED, call_at
from meanfield.activations import ACTIVATIONS
from tests.helpers.matrices import slow_unless
from tests.meanfield.kernels.test_kernels import TORCH_ACTIVATIONS

mpmath = pytest.importorskip("mpmath")
torch = pytest.importorskip("torch")

pytestmark = pytest.mark.skipif(
    not COMPILED, reason="bounds of compiled code; its plain form has no multiply-adds"
)

REAL = {"float64": np.float64, "float32": np.float32}
# Each is compiled on its own, for each precision.
CASES = slow_unless(
    lambda name, dtype: name == "tanh" or (name, dtype) == ("sin", "float64"),
    itertools.product(ACTIVATIONS, REAL),
    pytest.mark.essential,
)
# Bounds that the module states, in units in the last place of the value; of tanh in float32, see below.
ULP = {"tanh": 4, "relu": 0, "gelu": 8, "erf": 4, "sigmoid": 4, "softplus": 4, "quadratic": 1}


@numba.njit
def fill(address, tile, size):
    call_at(address, (tile, size, size))


def evaluate(name, z, count=4, of_value=False):
    """σ and its derivatives at z (k,), in the precision of z, (count, k); or where σ has these values."""
    tile = np.empty((count, 1, z.size), z.dtype)
    tile[0, 0] = z
    fill(activations.jets(name, z.dtype.type, count, of_value), tile.ctypes.data, z.size)
    return tile[:, 0]


def exact(name, v):
    z = mpmath.mpf(float(v))
    if name == "softplus":
        return max(z, 0) + mpmath.log1p(mpmath.exp(-abs(z)))
    if name == "gelu":
        return z * mpmath.erfc(-z / mpmath.sqrt(2)) / 2
    functions = {
        "tanh": mpmath.tanh,
        "relu": lambda z: max(z, mpmath.mpf(0)),
        "erf": mpmath.erf,
        "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
        "sin": mpmath.sin,
        "quadratic": lambda z: z * z,
    }
    return functions[name](z)


def arguments(dtype):
    """All magnitudes, the middle densely; both signs."""
    rng = np.random.default_rng(0)
    least = -300 if dtype == "float64" else -36
    tails = 10.0 ** rng.uniform(least, 2.8, 150)
    z = np.concatenate([rng.uniform(-8, 8, 300), rng.uniform(-40, 40, 100), tails, -tails, [0.0]])
    return z.astype(dtype)


@pytest.mark.parametrize(
    ("count",), slow_unless(lambda count: count == 4, [(4,), (3,), (2,), (1,)])
)
@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_value_is_within_its_bound(name, dtype, count):
    """Each count of derivatives is compiled on its own."""
    z = arguments(dtype)
    values = evaluate(name, z, count)[0]
    info = np.finfo(dtype)
    with mpmath.workdps(40):
        for v, value in zip(z, values, strict=True):
            reference = exact(name, v)
            if name == "sin":
                unit, bound = float(info.eps), 2
            else:
                size = max(abs(float(reference)), float(info.tiny) / float(info.eps))
                unit, bound = float(np.spacing(REAL[dtype](size))), ULP[name]
            # Below the smallest normal number a value may be 0.
            error = abs(float(mpmath.mpf(float(value)) - reference))
            assert error <= bound * unit + float(info.tiny), (v, value, error / unit)


def test_tanh_in_float32_is_within_3_ulp_odd_and_at_most_1():
    """Against NumPy's in float64: every 251st number from 1e-6 to beyond where it is 1, and all from 8.5 on."""
    first, nearly_one, last = np.array([1e-6, 8.5, 9.5], np.float32).view(np.int32)
    bits = np.concatenate([np.arange(first, last, 251), np.arange(nearly_one, last)])
    z = bits.astype(np.int32).view(np.float32)
    values, negative = np.split(evaluate("tanh", np.concatenate([z, -z]))[0], 2)
    exact = np.tanh(z.astype(np.float64))
    assert np.all(np.abs(values - exact) <= 3 * np.spacing(exact.astype(np.float32)))
    assert values.max() == 1
    assert np.array_equal(negative, -values)


def derivatives_by_autograd(name, z):
    """σ and three derivatives at z, by differentiating PyTorch's σ three times."""
    point = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    rows = [TORCH_ACTIVATIONS[name](point)]
    for _ in range(3):
        if rows[-1].requires_grad:
            (slope,) = torch.autograd.grad(rows[-1].sum(), point, create_graph=True)
        else:
            slope = torch.zeros_like(point)
        rows.append(slope)
    return np.array([row.detach().numpy() for row in rows])


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_derivatives_match_autograd(name, dtype):
    z = np.concatenate([np.linspace(-6, 6, 240), [-30.0, -1e-8, 1e-8, 30.0]]).astype(dtype)
    rows = evaluate(name, z)
    expected = derivatives_by_autograd(name, z.astype(np.float64))
    # A few roundings of quantities of size at most (1 + z²)σ-like each, whatever the cancellation inside.
    scale = 1.0 + np.abs(z) + (z * z if name in ("gelu", "erf", "quadratic") else 0.0)
    assert np.all(np.abs(rows - expected) <= 16 * np.finfo(dtype).eps * scale)


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_infinities_and_nan(name, dtype):
    """In a whole vector and in what is left over after vectors."""
    limits = {
        "tanh": [1, -1],
        "relu": [np.inf, 0],
        "gelu": [np.inf, 0],
        "erf": [1, -1],
        "sigmoid": [1, 0],
    }
    limits |= {"softplus": [np.inf, 0], "sin": [np.nan, np.nan], "quadratic": [np.inf, np.inf]}
    for size in (3, 64):
        z = np.resize(np.array([np.inf, -np.inf, np.nan], dtype), size)
        rows = evaluate(name, z)
        expected = np.resize(np.array([*limits[name], np.nan]), size)
        assert np.array_equal(rows[0], expected.astype(dtype), equal_nan=True)
        assert np.all(np.isnan(rows[1, 2::3]))
        if name not in ("sin", "quadratic"):
            assert np.all(np.isfinite(rows[1:, ::3]))
            assert np.all(np.isfinite(rows[1:, 1::3]))


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("name", activations.BY_VALUE)
def test_derivatives_by_the_value_are_the_same_to_the_bit(name, dtype):
    """So that it makes no difference whether there was room for the values of the forward pass."""
    z = arguments(dtype)
    value = evaluate(name, z, 1)[0]
    for count in (2, 3, 4):
        assert np.array_equal(evaluate(name, value, count, of_value=True), evaluate(name, z, count))


def test_every_name_has_a_formula_and_every_formula_a_name():
    assert set(activations.FORMULAS) == set(ACTIVATIONS)
