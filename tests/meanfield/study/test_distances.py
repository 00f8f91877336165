import numpy as np

from meanfield.study.config import load
from meanfield.study.distances import Distances
from meanfield.study.problem import build_problem


def test_where_squares_overflow_there_is_no_transport_and_no_error(small):
    """The last snapshot before a divergence may be finite and yet have no finite cost."""
    problem = build_problem(load(None, small))
    far = 1e200 * np.random.default_rng(0).standard_normal(problem.start.shape)
    found = Distances(problem, 0).between(far, problem.start, labelled=True, with_w2=True)
    assert not np.isfinite(found.get("w2", np.nan))
