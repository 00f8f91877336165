import numba
import numpy as np
import pytest

import solvers
from meanfield import Risk, TwoLayerNetwork
from meanfield.tasks import digits


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="needs two threads")
@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_particles_do_not_depend_on_the_thread_count(dtype):
    risk = Risk(TwoLayerNetwork(64), digits(n=300), dtype=dtype)
    x0 = risk.network.initialize(100, dtype=dtype)
    flow = solvers.FreeEnergyFlow(1.0, growth="exact")
    centers = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        centers.append(solvers.solve(flow, risk, x0, steps=20).centers)
    assert np.array_equal(*centers)
