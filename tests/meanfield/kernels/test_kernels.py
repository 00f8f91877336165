"""The compiled kernels against plain NumPy sums. Also run with the compiler off, which checks every index."""

import functools
import itertools

import numpy as np
import pytest

from meanfield import _evaluation
from meanfield._kernels import two_layer, wide
from meanfield._kernels.data import Data
from meanfield.activations import ACTIVATIONS
from tests.helpers.matrices import slow_unless

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


def read_only(array):
    """As a risk has its inputs and blocks: drivers are compiled for other arrays anew."""
    array.setflags(write=False)
    return array


def blocks_at(*bounds):
    return read_only(np.array(bounds))


@pytest.mark.parametrize(
    ("n_particles", "n_data", "n_outputs", "d"),
    slow_unless(
        lambda n_particles, n_data, n_outputs, d: n_outputs > 1 or d > 20,
        [
            (1, 1, 1, 1),
            (1, 1, 1, 2),
            (45, 300, 1, 2),
            (45, 300, 1, 3),
            (6, 900, 1, 2),
            (700, 5, 1, 2),
            (70, 9, 1, 20),
            (70, 9, 3, 4),
            (9, 33, 5, 11),
            (20, 40, 1, 40),
            (21, 7, 2, 33),
        ],
        pytest.mark.essential,
    ),
)
def test_jets_match_plain_sums(n_particles, n_data, n_outputs, d):
    """σ = z², where every derivative of a σ(w·x) along (ȧ, ẇ) is a polynomial written out by hand."""
    rng = np.random.default_rng(1)
    theta, dtheta = rng.standard_normal((2, n_particles, n_outputs + d))
    x = read_only(rng.standard_normal((n_data, d)))
    r = rng.standard_normal((3, n_data, n_outputs))
    a, w, da, dw = (
        theta[:, :n_outputs],
        theta[:, n_outputs:],
        dtheta[:, :n_outputs],
        dtheta[:, n_outputs:],
    )
    z, dz = x @ w.T, x @ dw.T
    code = ACTIVATIONS.index("quadratic")

    bounds = blocks_at(0, n_particles // 3, n_particles)  # the first block may be empty
    partials = np.empty((2, 3, n_data, n_outputs))
    two_layer.network_jet(code, 2, theta, dtheta, n_outputs, Data.of(x), bounds, partials)
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
            code, order, theta, dtheta, n_outputs, Data.of(x), r[: order + 1], bounds, gradient
        )
        expected = np.hstack([grad_a[order], grad_z[order].T @ x])
        scale = n_data * np.abs(expected).max()
        assert np.allclose(gradient, expected, rtol=0, atol=8 * EPS * scale)


@pytest.mark.parametrize("block", [128, 256])
@pytest.mark.parametrize("n_particles", [1, 15, 16, 400, 4000, 100_000])
def test_blocks_are_whole_tiles_and_depend_on_the_size_of_their_group_alone(n_particles, block):
    groups = _evaluation.group_bounds(n_particles)
    bounds, first_blocks = _evaluation._blocks(groups, block)
    assert np.array_equal(bounds[list(first_blocks)], groups)
    cuts = {}
    for first, last in itertools.pairwise(first_blocks):
        sizes = np.diff(bounds[first : last + 1])
        assert np.all(sizes > 0) and np.all(sizes[:-1] % block == 0)
        assert cuts.setdefault(sizes.sum(), tuple(sizes)) == tuple(sizes)


@pytest.mark.parametrize("d", [3, 40])
def test_a_share_of_the_groups_is_computed_to_the_same_bits(d):
    """Who owns some groups only gets their sums, and the gradient of their particles, as if they were among all."""
    rng = np.random.default_rng(2)
    theta, dtheta = rng.standard_normal((2, 150, 1 + d))
    x, r = read_only(rng.standard_normal((50, d))), rng.standard_normal((3, 50, 1))
    data = Data.of(x)
    bounds, first_blocks = _evaluation._blocks(_evaluation.group_bounds(len(theta)), 128)

    def evaluate(first, last):
        share = slice(bounds[first], bounds[last])
        cut = blocks_at(*(bounds[first : last + 1] - bounds[first]))
        partials, gradient = np.empty((last - first, 3, 50, 1)), np.empty_like(theta[share])
        two_layer.network_jet(0, 2, theta[share], dtheta[share], 1, data, cut, partials)
        two_layer.gradient_jet(0, 2, theta[share], dtheta[share], 1, data, r, cut, gradient)
        return partials, gradient

    partials, gradient = evaluate(0, len(bounds) - 1)
    first, last = first_blocks[1], first_blocks[3]
    own_partials, own_gradient = evaluate(first, last)
    assert np.array_equal(own_partials, partials[first:last])
    assert np.array_equal(own_gradient, gradient[bounds[first] : bounds[last]])


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize(
    ("n_data", "d", "name"),
    [(300, 100, "tanh"), (300, 100, "softplus"), (300, 260, "tanh"), (1100, 256, "tanh")],
)
def test_what_is_kept_of_the_pass_forward_changes_no_bit(order, n_data, d, name, monkeypatch):
    """For some of the blocks, as they have room; the data in two parts. Of tanh its values are kept, otherwise z."""
    code, kept_of = two_layer.ACTIVATIONS.index(name), {"tanh": np.tanh}.get(name, lambda z: z)
    rng = np.random.default_rng(3)
    theta, dtheta = rng.standard_normal((2, 17, 2 + d))
    x, r = read_only(rng.standard_normal((n_data, d))), rng.standard_normal((order + 1, n_data, 2))
    bounds = blocks_at(0, 6, 16, 17)
    monkeypatch.setattr(two_layer, "KEPT_BYTES", (order + 1) * 16 * n_data * 8 + 1)
    data, shape = Data.of(x), two_layer.kept_shape(order, x, bounds)
    assert shape == (order + 1, 16, n_data)
    kept = np.empty(shape)
    cut = 1024 if n_data > 1024 else n_data
    for rows in (slice(0, cut), slice(cut, n_data)):
        partials = np.empty((3, order + 1, rows.stop - rows.start, 2))
        arguments = (code, order, theta, dtheta, 2, data[rows], bounds, partials)
        if partials.size:
            two_layer.network_jet(*arguments, kept, rows.start)
            before = partials.copy()
            for again in ((kept, rows.start, True), ()):  # from what is known; from the start
                two_layer.network_jet(*arguments, *again)
                assert np.array_equal(before, partials)
    assert np.allclose(kept[0], kept_of(theta[:16, 2:] @ x.T), rtol=0, atol=1e-15 * d * 25)
    first, second = np.empty_like(theta), np.empty_like(theta)
    two_layer.gradient_jet(code, order, theta, dtheta, 2, data, r, bounds, first, kept)
    two_layer.gradient_jet(code, order, theta, dtheta, 2, data, r, bounds, second)
    assert np.array_equal(first, second)


@pytest.mark.parametrize("most_small", [0, 1_000_000])
@pytest.mark.parametrize(("n_data", "d"), [(300, 40), (300, 100), (50, 200)])
def test_tiles_for_either_kind_of_products(n_data, d, most_small, monkeypatch):
    """Whatever this machine's BLAS does, against NumPy."""
    monkeypatch.setattr(two_layer, "most_small", lambda: most_small)
    rng = np.random.default_rng(4)
    theta = rng.standard_normal((150, 1 + d)) / np.sqrt(d)
    x, r = read_only(rng.standard_normal((n_data, d))), rng.standard_normal((1, n_data, 1))
    bounds, data = blocks_at(0, 128, 150), Data.of(x)
    partials, gradient = np.empty((2, 1, n_data, 1)), np.empty_like(theta)
    two_layer.network_jet(0, 0, theta, theta, 1, data, bounds, partials)
    two_layer.gradient_jet(0, 0, theta, theta, 1, data, r, bounds, gradient)
    a, h = theta[:, :1], np.tanh(x @ theta[:, 1:].T)
    outputs = h @ a
    assert np.allclose(partials[:, 0].sum(axis=0), outputs, rtol=0, atol=8 * EPS * 150)
    slopes = (r[0] @ a.T) * (1 - h**2)
    expected = np.hstack([h.T @ r[0], slopes.T @ x])
    assert np.allclose(gradient, expected, rtol=0, atol=8 * EPS * n_data * np.abs(expected).max())


def test_tiles_within_small_products_have_64_columns_at_least():
    """A million multiply-adds are 120 columns of 128 particles at 65 inputs, 77 at 101, 39 at 200."""
    sizes = {p: wide.tile_size(128, 300, p, 1_000_000) for p in (33, 65, 101, 200, 300)}
    assert sizes == {
        33: (128, 128),
        65: (128, 112),
        101: (128, 64),
        200: (128, 256),
        300: (128, 300),
    }
    assert wide.tile_size(128, 300, 65, 0) == (128, 256)


def test_a_sine_of_large_arguments_is_the_librarys():
    """Beyond the range of the vector code, and for a row that mixes both."""
    x = read_only(np.array([[1.0], [1e7], [3e12]]))
    theta = np.array([[1.0, 1.0], [2.0, 1.5]])
    bounds = blocks_at(0, 2)
    partials = np.empty((1, 1, 3, 1))
    two_layer.network_jet(
        ACTIVATIONS.index("sin"), 0, theta, theta, 1, Data.of(x), bounds, partials
    )
    expected = np.sin(x @ theta[:, 1:].T) @ theta[:, :1]
    assert np.allclose(partials.sum(axis=0)[0], expected, rtol=0, atol=8 * EPS)


@pytest.mark.parametrize("counts", [(3, 3, 3, 3), (1, 1), (16,) * 16, (2, 3, 2)])
@pytest.mark.parametrize("real", [np.float64, np.float32])
def test_blocks_are_added_one_after_another(counts, real):
    """Bit for bit, for as many blocks in each group and for different numbers, into a part of an array."""
    rng = np.random.default_rng(0)
    first_blocks = (0, *itertools.accumulate(counts))
    partials = rng.standard_normal((first_blocks[-1], 2, 7, 3)).astype(real)
    partials *= real(10) ** rng.integers(-6, 6, partials.shape)
    sums = np.full((len(counts), 2, 9, 3), np.nan, real)
    _evaluation._add_blocks(partials, first_blocks, sums[:, :, :7])
    for g, (first, last) in enumerate(itertools.pairwise(first_blocks)):
        expected = functools.reduce(np.add, partials[first:last])
        np.testing.assert_array_equal(sums[g, :, :7], expected)
