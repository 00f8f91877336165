import numpy as np
import pytest

from meanfield.study.config.run_config import load
from meanfield.study.engine.build import build_problem
from meanfield.study.engine.center_distances import Distances


def test_where_squares_overflow_distances_do_not(small):
    """As in the last snapshot before a divergence: from 1e200 away any start is the origin."""
    problem = build_problem(load(None, small))
    shape = np.random.default_rng(0).standard_normal(problem.start.shape)
    found = Distances(problem, 0).between(1e200 * shape, problem.start, labelled=True, with_w2=True)
    expected = 1e200 * np.sqrt(np.mean(np.sum(shape**2, axis=1)))
    assert found["w2"] == pytest.approx(expected, rel=1e-13)
    assert found["center_distance"] == pytest.approx(expected, rel=1e-13)
