"""Short cuts that must not change a bit: sums over few coordinates, noise, parts of the free energy known already."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import solvers
from meanfield.landscapes import Valley
from solvers.noise import standard_normal
from solvers.objective import inner, norm, peak, with_own_results

ANY = st.floats(width=64)


@given(
    st.integers(1, 12).flatmap(lambda n: st.tuples(*[st.lists(ANY, min_size=n, max_size=n)] * 2))
)
def test_inner_products_and_maxima_are_numpys_to_the_last_bit(pair):
    u, v = map(np.array, pair)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = np.multiply(u, v).sum()
        np.testing.assert_array_equal(inner(Valley(), u, v), expected)
    np.testing.assert_array_equal(peak(Valley(), u), np.abs(u).max())


@pytest.mark.parametrize("n", [1, 2, 7, 8, 50])
@pytest.mark.parametrize("size", [1e-300, 1e-150, 1.0, 1e150, 1e300])
def test_norms_neither_underflow_nor_overflow(n, size):
    u = np.random.default_rng(n).standard_normal(n)
    assert norm(Valley(), size * u) == pytest.approx(size * math.hypot(*u), rel=1e-14)
    assert norm(Valley(), np.zeros(n)) == 0.0
    assert math.isnan(norm(Valley(), np.full(n, np.nan)))


@pytest.mark.parametrize("seed", [0, 5, 2**64 + 3, 2**128 - 1])
def test_noise_is_the_first_numbers_of_a_new_philox(seed):
    like = np.empty((3, 5))

    def drawn(counter):
        return standard_normal(seed, counter, like)

    counters = [*range(40), 2**60, 7, 0]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(drawn, counters))
    for counter, noise in zip(counters, found, strict=True):
        bits = np.random.Philox(key=seed, counter=counter << 192)
        assert np.array_equal(noise, np.random.Generator(bits).standard_normal((3, 5)))


class CountedValley(Valley):
    calls = 0

    def value(self, x):
        CountedValley.calls += 1
        return super().value(x)


def test_a_recorded_state_evaluates_the_loss_at_the_center_and_the_two_ends_only():
    CountedValley.calls = 0
    solvers.solve(solvers.FreeEnergyFlow(0.3, delay=True), CountedValley(), [0.01, 6.0], 10)
    assert CountedValley.calls == 1 + 3 * 11  # one to see that it returns a number


def test_arrays_that_are_fresh_are_not_copied():
    class Fresh:
        fresh_arrays = True
        image = np.ones(2)

        def gradient(self, x):
            return self.image

    assert with_own_results(Fresh()).gradient(np.zeros(2)) is Fresh.image

    class Reused(Fresh):
        fresh_arrays = False

    assert with_own_results(Reused()).gradient(np.zeros(2)) is not Fresh.image
