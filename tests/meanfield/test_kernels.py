"""The compiled kernels against PyTorch's activations and plain NumPy sums. Also run with the compiler off."""

import numpy as np
import pytest

from meanfield._kernels import two_layer
from meanfield.networks import ACTIVATIONS

torch = pytest.importorskip("torch")

TORCH_ACTIVATIONS = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "gelu": torch.nn.functional.gelu,
    "erf": torch.erf,
    "sigmoid": torch.sigmoid,
    "softplus": lambda z: torch.nn.functional.softplus(z, threshold=1e9),
    "sin": torch.sin,
    "quadratic": lambda z: z * z,
}
EPS = np.finfo(np.float64).eps


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


def test_activation_names_are_the_kernels():
    assert ACTIVATIONS == two_layer.ACTIVATIONS


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_and_derivatives_match_autograd(name):
    z = np.concatenate([np.linspace(-6, 6, 240), [-30.0, -1e-8, 1e-8, 30.0]])
    rows = np.empty((4, z.size))
    two_layer.activate(ACTIVATIONS.index(name), z, rows)
    expected = derivatives_by_autograd(name, z)
    # A few roundings of quantities of size at most (1 + z²)σ-like each, whatever the cancellation inside.
    scale = 1.0 + np.abs(z) + (z * z if name in ("gelu", "erf", "quadratic") else 0.0)
    assert np.all(np.abs(rows - expected) <= 16 * EPS * scale)


def test_tanh_is_accurate_relative_to_its_value_over_the_whole_range():
    mpmath = pytest.importorskip("mpmath")
    exponents = np.random.default_rng(0).uniform(-300, 3, 400)
    z = np.concatenate([10.0**exponents, -(10.0**exponents)])
    rows = np.empty((4, z.size))
    two_layer.activate(0, z, rows)
    expected = np.array([float(mpmath.tanh(mpmath.mpf(v))) for v in z])
    assert np.all(np.abs(rows[0] - expected) <= 3 * np.spacing(np.abs(expected)))


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softplus", "erf", "relu"])
def test_activation_at_infinity(name):
    z = np.array([np.inf, -np.inf])
    rows = np.empty((4, 2))
    with np.errstate(invalid="ignore"):
        two_layer.activate(ACTIVATIONS.index(name), z, rows)
    expected = TORCH_ACTIVATIONS[name](torch.tensor(z)).numpy()
    assert np.array_equal(rows[0], expected)


@pytest.mark.parametrize(
    ("n_particles", "n_data", "n_outputs"), [(1, 1, 1), (45, 300, 1), (70, 9, 3)]
)
def test_jets_match_plain_sums(n_particles, n_data, n_outputs):
    """σ = z², where every derivative of a σ(w·x) along (ȧ, ẇ) is a polynomial written out by hand."""
    rng = np.random.default_rng(1)
    d = 4
    theta, dtheta = rng.standard_normal((2, n_particles, n_outputs + d))
    x = rng.standard_normal((n_data, d))
    r = rng.standard_normal((3, n_data, n_outputs))
    a, w, da, dw = (
        theta[:, :n_outputs],
        theta[:, n_outputs:],
        dtheta[:, :n_outputs],
        dtheta[:, n_outputs:],
    )
    z, dz = x @ w.T, x @ dw.T
    code = ACTIVATIONS.index("quadratic")

    bounds = np.array([0, n_particles // 3, n_particles])  # the first block may be empty
    partials = np.empty((2, 3, n_data, n_outputs))
    two_layer.network_jet(code, 2, theta, dtheta, n_outputs, x, bounds, partials)
    expected = np.stack([z**2 @ a, z**2 @ da + 2 * (z * dz) @ a, 4 * (z * dz) @ da + 2 * dz**2 @ a])
    scale = n_particles * np.abs(expected).max()
    assert np.allclose(partials.sum(axis=0), expected, rtol=0, atol=8 * EPS * scale)

    s = np.stack([r[0] @ a.T, r[1] @ a.T + r[0] @ da.T, r[2] @ a.T + 2 * r[1] @ da.T])
    grad_a = [
        (z**2).T @ r[0],
        (z**2).T @ r[1] + 2 * (z * dz).T @ r[0],
        (z**2).T @ r[2] + 4 * (z * dz).T @ r[1] + 2 * (dz**2).T @ r[0],
    ]
    grad_z = [2 * s[0] * z, 2 * s[1] * z + 2 * s[0] * dz, 2 * s[2] * z + 4 * s[1] * dz]
    for order in range(3):
        gradient = np.empty_like(theta)
        two_layer.gradient_jet(
            code, order, theta, dtheta, n_outputs, x, r[: order + 1], bounds, gradient
        )
        expected = np.hstack([grad_a[order], grad_z[order].T @ x])
        scale = n_data * np.abs(expected).max()
        assert np.allclose(gradient, expected, rtol=0, atol=8 * EPS * scale)
