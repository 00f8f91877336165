"""A network whose particles have one coordinate, for tests of the kinetic equation: neurons sin(θx) that learn 0.6 sin 2x."""

import numpy as np

import meanfield

TASK_AND_NETWORK = """
[task]
name = "npz"
path = "{path}"
[network]
width = 30
activation = "sin"
bias = false
train_output = false
"""


def sine(n):
    """Inputs and targets (n, 1)."""
    x = np.linspace(-2.0, 2.0, n)[:, None]
    return x, 0.6 * np.sin(2 * x)


def sine_risk(n):
    """The risk of n points."""
    network = meanfield.TwoLayerNetwork(1, activation="sin", bias=False, train_output=False)
    return meanfield.Risk(network, meanfield.tasks.Task(*sine(n), "sine"))


def saved_sine(folder):
    """The two tables of a configuration, for 20 points that are saved in a folder."""
    x, y = sine(20)
    np.savez(folder / "sine.npz", inputs=x, targets=y)
    return TASK_AND_NETWORK.format(path=folder / "sine.npz")
