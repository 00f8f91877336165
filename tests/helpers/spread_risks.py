"""Risks whose particles are spread over processes, and what is compared of them."""

import numpy as np

from meanfield import Risk, TwoLayerNetwork
from meanfield.tasks import Task


def problem(
    n_particles,
    d=2,
    c=1,
    dtype="float64",
    train_output=True,
    n=7,
    loss="squared",
    output_bias=False,
):
    """A risk, particles and a direction."""
    rng = np.random.default_rng(n_particles)
    net = TwoLayerNetwork(d, c, train_output=train_output, output_bias=output_bias)
    targets = rng.standard_normal((n, c))
    if loss == "softmax":
        targets = np.eye(c)[rng.integers(0, c, n)]
    task = Task(rng.standard_normal((n, d)), targets, "random")
    risk = Risk(net, task, loss, weight_decay=0.01, dtype=dtype)
    x = net.initialize(n_particles, dtype=dtype)
    return risk, x, rng.standard_normal(x.shape).astype(dtype)


def bits(value):
    value = np.asarray(value)
    return value.dtype, value.shape, value.tobytes()
