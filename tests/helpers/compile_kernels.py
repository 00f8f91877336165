"""Compiles what most files of tests need, once for all processes of the tests (see tests/conftest.py)."""

import numpy as np

import meanfield
import solvers

#: inputs, outputs, precision
NETWORKS = [
    (1, 1, "float64"),
    (2, 1, "float64"),
    (2, 1, "float32"),
    (2, 2, "float64"),
    (2, 2, "float32"),
    (64, 1, "float64"),
]


def compile_kernels():
    for inputs, outputs, dtype in NETWORKS:
        task = meanfield.tasks.Task(np.ones((20, inputs)), np.ones((20, outputs)), "ones")
        risk = meanfield.Risk(meanfield.TwoLayerNetwork(inputs, outputs), task, dtype=dtype)
        x = risk.network.initialize(40, seed=0, dtype=dtype)
        v = np.ones_like(x)
        risk.value(x), risk.gradient(x), risk.hvp(x, v), risk.third(x, v)
    valley = meanfield.landscapes.Valley()
    solvers.solve(solvers.GradientDescent(0.3), valley, np.array(valley.start), 100_000, 100_000)
