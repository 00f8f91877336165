import time

import numpy as np
import pytest

import solvers
from meanfield.landscapes import Valley
from meanfield.study.engine.counting import CountingObjective

X, V = np.array([0.1, 6.0]), np.array([1.0, 2.0])


class Bowl:
    """½|x|², without a third derivative, with an inner product of its own."""

    minimum = 0.0

    def value(self, x):
        return 0.5 * float(x @ x)

    def gradient(self, x):
        return x

    def hvp(self, x, v):
        return v

    def inner(self, u, v):
        return 3.0 * float(u @ v)


def test_it_answers_as_the_objective_and_counts():
    landscape = Valley()
    counting = CountingObjective(landscape)
    assert counting.value(X) == landscape.value(X)
    for _ in range(3):
        np.testing.assert_array_equal(counting.gradient(X), landscape.gradient(X))
    for _ in range(2):
        np.testing.assert_array_equal(counting.hvp(X, V), landscape.hvp(X, V))
    np.testing.assert_array_equal(counting.third(X, V), landscape.third(X, V))
    with counting.paused() as readings:
        assert {key: readings[key] for key in ("gradients", "hvps", "thirds")} == {
            "gradients": 3,
            "hvps": 2,
            "thirds": 1,
        }


def test_nothing_is_counted_while_it_is_paused():
    counting = CountingObjective(Valley())
    with pytest.raises(ZeroDivisionError), counting.paused():
        counting.gradient(X)
        counting.hvp(X, V)
        counting.third(X, V)
        raise ZeroDivisionError
    counting.gradient(X)
    with counting.paused() as readings:
        assert (readings["gradients"], readings["hvps"], readings["thirds"]) == (1, 0, 0)


def test_what_the_objective_lacks_it_lacks_too():
    counting = CountingObjective(Bowl())
    assert not hasattr(counting, "third") and counting.minimum == 0.0
    assert counting.inner(X, V) == 3.0 * float(X @ V)
    assert isinstance(counting, solvers.Objective)
    # a third derivative by differences costs three gradients
    solvers.objective.third(counting, X, V)
    with counting.paused() as readings:
        assert (readings["gradients"], readings["thirds"]) == (3, 0)


def test_the_solver_time_leaves_the_pauses_out():
    counting = CountingObjective(Bowl())
    with counting.paused():
        time.sleep(0.2)
    with counting.paused() as readings:
        assert 0 <= readings["solver_time"] <= counting.wall_time - 0.2
