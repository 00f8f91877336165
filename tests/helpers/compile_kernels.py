"""Compiles what most files of tests need, once for all processes of the tests (see tests/conftest.py)."""

import numpy as np

import meanfield

#: inputs and outputs
NETWORKS = [(1, 1), (2, 1), (2, 2), (64, 1)]


def compile_kernels():
    for inputs, outputs in NETWORKS:
        task = meanfield.tasks.Task(np.ones((20, inputs)), np.ones((20, outputs)), "ones")
        risk = meanfield.Risk(meanfield.TwoLayerNetwork(inputs, outputs), task)
        x = risk.network.initialize(40, seed=0)
        v = np.ones_like(x)
        risk.value(x), risk.gradient(x), risk.hvp(x, v), risk.third(x, v)
