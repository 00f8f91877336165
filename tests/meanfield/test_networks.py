import numpy as np
import pytest

from meanfield import TwoLayerNetwork
from meanfield.activations import ACTIVATIONS


def test_a_narrower_draw_is_the_head_of_a_wider_one():
    net = TwoLayerNetwork(input_dim=5, output_dim=2)
    wide, narrow = net.initialize(1000, seed=3), net.initialize(17, seed=3)
    assert wide.shape == (1000, 8)
    assert np.array_equal(wide[:17], narrow)
    assert not np.array_equal(narrow, net.initialize(17, seed=4))


def test_float32_particles_are_the_rounded_float64_ones():
    net = TwoLayerNetwork(input_dim=3)
    assert np.array_equal(
        net.initialize(9, seed=0, dtype="float32"), net.initialize(9, seed=0).astype(np.float32)
    )


@pytest.mark.parametrize("bias", [True, False])
def test_parameters_are_named_in_the_order_they_are_packed(bias):
    net = TwoLayerNetwork(input_dim=2, output_dim=2, bias=bias)
    assert net.parameter_names == ["a0", "a1", "w0", "w1"] + ["b"] * bias
    assert net.parameter_count == len(net.parameter_names)


@pytest.mark.parametrize("bias", [True, False])
def test_two_outputs_written_out(bias):
    net = TwoLayerNetwork(input_dim=2, output_dim=2, bias=bias)
    theta = np.array([[2.0, -1.0, 0.5, 0.25, 0.3]])[:, : net.parameter_count]
    x = np.array([[1.0, 2.0]])
    h = np.tanh(0.5 + 0.5 + 0.3 * bias)
    assert np.allclose(net.forward(theta, x), [[2 * h, -h]], rtol=1e-15)


def test_the_network_is_the_average_over_its_particles():
    net = TwoLayerNetwork(input_dim=2)
    x = np.random.default_rng(0).standard_normal((7, 2))
    theta = net.initialize(40)
    twice = net.forward(np.vstack([theta, theta]), x)
    assert np.allclose(twice, net.forward(theta, x), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"input_dim": 0}, "input_dim"),
        ({"input_dim": 2, "output_dim": -1}, "output_dim"),
        ({"input_dim": 2, "activation": "tahn"}, "did you mean 'tanh'"),
    ],
)
def test_bad_network(kwargs, message):
    with pytest.raises(ValueError, match=message):
        TwoLayerNetwork(**kwargs)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n_particles": 0}, "n_particles"),
        ({"n_particles": 3, "seed": -1}, "seed"),
        ({"n_particles": 3, "dtype": "float16"}, "dtype"),
        ({"n_particles": 3, "dtype": "nonsense"}, "dtype"),
    ],
)
def test_bad_draw(kwargs, message):
    with pytest.raises(ValueError, match=message):
        TwoLayerNetwork(2).initialize(**kwargs)


def test_bad_shapes():
    net = TwoLayerNetwork(2)
    with pytest.raises(ValueError, match="particles must have shape"):
        net.forward(np.ones((3, 3)), np.ones((5, 2)))
    with pytest.raises(ValueError, match="inputs must have shape"):
        net.forward(np.ones((3, 4)), np.ones((5, 3)))


@pytest.mark.slow
@pytest.mark.essential
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_runs(name):
    network = TwoLayerNetwork(2, activation=name)
    assert np.all(np.isfinite(network.forward(np.ones((3, 4)), [[1.0, 2.0]])))
