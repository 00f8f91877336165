"""Initial particles: their laws against closed forms, nested draws, and particles of a file."""

import numpy as np
import pytest
from scipy import stats

from meanfield import TwoLayerNetwork
from meanfield.initializers import INITIALIZERS, Normal, Npz, Uniform

NETWORK = TwoLayerNetwork(input_dim=2, output_dim=2)  # coordinates a0, a1, w0, w1, b
SCALES = {"output_scale": 0.5, "input_scale": 2.0, "bias_scale": 3.0}
OF_COLUMNS = np.array([0.5, 0.5, 2.0, 2.0, 3.0])
N = 40_000


@pytest.mark.parametrize(
    ("law", "variance", "fourth", "scipy_law"),
    [(Normal, 1.0, 3.0, stats.norm(0, 1)), (Uniform, 1 / 3, 1 / 5, stats.uniform(-1, 2))],
)
def test_the_coordinates_have_the_law_of_their_scale(law, variance, fourth, scipy_law):
    """Mean 0, variance and distribution of the closed form, within 5 standard errors of N draws; no two columns correlate."""
    x = NETWORK.initialize(N, seed=2, init=law(**SCALES)) / OF_COLUMNS
    assert np.all(np.abs(x.mean(axis=0)) < 5 * np.sqrt(variance / N))
    error = np.sqrt((fourth - variance**2) / N)  # of the mean of x²
    assert np.all(np.abs(np.mean(x**2, axis=0) - variance) < 5 * error)
    assert all(stats.kstest(column, scipy_law.cdf).pvalue > 1e-4 for column in x.T)
    products = x.T @ x / N / variance
    assert np.all(np.abs(products - np.diag(np.diag(products))) < 5 / np.sqrt(N))


@pytest.mark.parametrize("law", [Normal, Uniform])
def test_a_narrower_draw_is_the_head_of_a_wider_one(law):
    init = law(**SCALES)
    wide, narrow = (NETWORK.initialize(n, seed=3, init=init) for n in (1000, 17))
    assert np.array_equal(wide[:17], narrow)
    assert not np.array_equal(narrow, NETWORK.initialize(17, seed=4, init=init))
    single = NETWORK.initialize(17, seed=3, dtype="float32", init=init)
    assert np.array_equal(single, narrow.astype(np.float32)) and single.dtype == np.float32


@pytest.mark.parametrize("seed", [0, 5])
def test_the_default_is_the_standard_normal_law_bit_for_bit(seed):
    bits = np.random.default_rng(seed).standard_normal((50, 5)).tobytes()
    assert NETWORK.initialize(50, seed).tobytes() == bits
    assert NETWORK.initialize(50, seed, init=Normal()).tobytes() == bits
    scaled = NETWORK.initialize(50, seed, init=Normal(**SCALES))
    assert np.array_equal(scaled, OF_COLUMNS * np.frombuffer(bits).reshape(50, 5))


def test_scale_zero_leaves_a_coordinate_at_zero_and_those_of_missing_coordinates_have_no_effect():
    x = NETWORK.initialize(9, init=Normal(output_scale=0.0))
    assert not x[:, :2].any() and x[:, 2:].all()
    fixed = TwoLayerNetwork(2, bias=False, train_output=False)
    x = fixed.initialize(9, seed=1, init=Normal(output_scale=7.0, input_scale=2.0, bias_scale=5.0))
    assert np.array_equal(x, 2 * np.random.default_rng(1).standard_normal((9, 2)))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", "<i4"])
def test_particles_of_a_file_are_those_saved(tmp_path, dtype, order):
    saved = np.asarray(np.random.default_rng(0).integers(-9, 9, (6, 5)) / 2, order=order)
    saved = saved.astype(dtype)
    np.savez(tmp_path / "start.npz", particles=saved, other=np.ones(3))
    for wanted in ("float64", "float32"):
        x = NETWORK.initialize(6, seed=8, dtype=wanted, init=Npz(tmp_path / "start.npz"))
        assert np.array_equal(x, saved) and x.dtype == wanted
        assert x.flags.c_contiguous and x.flags.writeable


def test_the_particles_of_a_run_are_saved_and_read(tmp_path):
    x = NETWORK.initialize(40, seed=1)
    np.savez_compressed(tmp_path / "start.npz", particles=x)
    assert NETWORK.initialize(40, init=Npz(tmp_path / "start.npz")).tobytes() == x.tobytes()


def test_a_file_that_does_not_fit_is_refused(tmp_path):
    def refused(match, n=4, dtype="float64", **arrays):
        np.savez(tmp_path / "start.npz", **arrays)
        with pytest.raises(ValueError, match=match):
            NETWORK.initialize(n, dtype=dtype, init=Npz(str(tmp_path / "start.npz")))

    refused(
        r"init\.path must be of particles of shape \(4, 5\), .*, got .* with shape \(3, 5\)",
        particles=np.ones((3, 5)),
    )
    refused(r"shape \(4, 5\).*shape \(4, 4\)", particles=np.ones((4, 4)))
    refused(r"init\.path must be an \.npz file with an array 'particles'", start=np.ones((4, 5)))
    refused("must hold numbers, got Python objects", particles=np.full((4, 5), None))
    refused("must hold real numbers, got dtype", particles=np.ones((4, 5), complex))
    holed = np.ones((4, 5))
    holed[2, 3] = np.nan
    refused(r"init must give finite float64 particles, got nan at index \(2, 3\)", particles=holed)
    refused("finite float32 particles, got inf", particles=1e39 * np.ones((4, 5)), dtype="float32")
    with pytest.raises(ValueError, match=r"init\.path must be .*: there is no such file"):
        NETWORK.initialize(4, init=Npz(tmp_path / "none.npz"))
    with pytest.raises(ValueError, match=r"init\.path must be .*got a folder"):
        NETWORK.initialize(4, init=Npz(tmp_path))


@pytest.mark.parametrize("law", [Normal, Uniform])
def test_bad_scales(law):
    for key in SCALES:
        for value in (-0.5, np.nan, np.inf, 1e301, "1", None, True):
            with pytest.raises(ValueError, match=f"{key} must be a finite number"):
                law(**{key: value})
    with pytest.raises(ValueError, match="init must give finite float32 particles"):
        NETWORK.initialize(4, dtype="float32", init=law(input_scale=1e300))
    assert np.isfinite(NETWORK.initialize(4, init=law(input_scale=1e300))).all()


@pytest.mark.parametrize("init", [None, "normal", Normal, {"name": "normal"}])
def test_what_is_no_initializer_is_refused(init):
    with pytest.raises(ValueError, match="init must be an Initializer"):
        NETWORK.initialize(4, init=init)


def test_every_initializer_of_the_list_has_its_name():
    assert {"normal": Normal, "uniform": Uniform, "npz": Npz} == INITIALIZERS
