"""A network whose particles have one coordinate, for tests of the kinetic equation."""

import numpy as np

import meanfield


def sine_risk(n):
    """Neurons sin(θx) on the line that learn 0.6 sin 2x from n points."""
    x = np.linspace(-2.0, 2.0, n)[:, None]
    network = meanfield.TwoLayerNetwork(1, activation="sin", bias=False, train_output=False)
    return meanfield.Risk(network, meanfield.tasks.Task(x, 0.6 * np.sin(2 * x), "sine"))
