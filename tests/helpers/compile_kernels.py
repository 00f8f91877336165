"""Compiles what most files of tests need, once for all processes of the tests (see tests/conftest.py)."""

import numpy as np

import meanfield
import solvers

#: inputs and outputs
NETWORKS = [(1, 1), (2, 1), (2, 2), (64, 1)]


def compile_kernels():
    for inputs, outputs in NETWORKS:
        task = meanfield.tasks.Task(np.ones((20, inputs)), np.ones((20, outputs)), "ones")
        risk = meanfield.Risk(meanfield.TwoLayerNetwork(inputs, outputs), task)
        x = risk.network.initialize(40, seed=0)
        v = np.ones_like(x)
        risk.value(x), risk.gradient(x), risk.hvp(x, v), risk.third(x, v)
    _compile_grids()


def _compile_grids():
    """Steps of minimizing movements from a density with a front, on a line and in the plane."""
    for dimension in (1, 2):
        edges = (np.linspace(-3.0, 3.0, 17),) * dimension
        cap = solvers.Grid.from_density(edges, lambda x: np.maximum(4 - np.sum(x**2, axis=1), 0))
        solvers.GridJKO(0.1).step(solvers.energies.PowerEntropy(2.0), cap)
