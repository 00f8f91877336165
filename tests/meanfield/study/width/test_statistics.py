import numpy as np
import pytest

from meanfield.study.storage.study_record import ends_of_slopes
from meanfield.study.width.statistics import RESAMPLES, RESAMPLING_SEED, line, medians, slopes

WIDTHS = np.array([16, 64, 256, 1024])


def plain_slope(widths, values):
    return np.polyfit(np.log(widths), np.log(values), 1)[0]


def test_a_power_law_has_its_exponent_and_no_interval_around_it():
    distances = np.repeat(3.0 * WIDTHS[:, None, None] ** -0.7, 5, axis=1)
    np.testing.assert_allclose(slopes(WIDTHS, distances), [[-0.7] * 3], rtol=1e-13)


def test_against_a_plain_loop():
    rng = np.random.default_rng(0)
    distances = WIDTHS[:, None, None] ** -0.5 * rng.lognormal(sigma=0.5, size=(4, 6, 2))
    found = slopes(WIDTHS, distances)
    chosen = np.random.default_rng(RESAMPLING_SEED).integers(0, 6, (RESAMPLES, 6))
    for t in range(2):
        resampled = [
            plain_slope(WIDTHS, [np.median([row[s] for s in seeds]) for row in distances[:, :, t]])
            for seeds in chosen
        ]
        expected = [plain_slope(WIDTHS, np.median(distances[:, :, t], axis=1))]
        expected += [np.percentile(resampled, 2.5), np.percentile(resampled, 97.5)]
        np.testing.assert_allclose(found[t], expected, rtol=1e-11)


def test_what_is_missing_is_left_out():
    distances = np.full((4, 3, 1), np.nan)
    distances[1:, 0, 0] = WIDTHS[1:] ** -0.5
    distances[1:, 1, 0] = 2 * WIDTHS[1:] ** -0.5
    distances[0, :, 0] = 0.0  # nor does a distance of zero have a logarithm
    slope, lower, upper = slopes(WIDTHS, distances)[0]
    # the medians of seeds 0 and 1 and of resamples of both are multiples of one power law
    assert slope == pytest.approx(-0.5) and lower == pytest.approx(-0.5) == upper
    np.testing.assert_array_equal(
        medians(np.array([[np.nan, 2.0, 4.0], [np.nan] * 3])), [3, np.nan]
    )


@pytest.mark.parametrize("seeds", [2, 3, 4, 5])
def test_few_seeds_have_the_range_of_their_slopes(seeds):
    """And no interval: of three seeds the bootstrap's had the estimate on its edge."""
    distances = WIDTHS[:, None] ** -0.5 * np.random.default_rng(seeds).lognormal(size=(4, seeds))
    found = slopes(WIDTHS, distances[:, :, None])[0]
    each = [plain_slope(WIDTHS, distances[:, s]) for s in range(seeds)]
    expected = [plain_slope(WIDTHS, np.median(distances, axis=1)), min(each), max(each)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert ends_of_slopes(seeds) == f"range of {seeds} seeds"


def test_what_stands_beside_a_slope_is_named():
    assert [ends_of_slopes(n) for n in (1, 6, 30)] == ["", "95% interval", "95% interval"]


def test_seeds_without_two_widths_have_no_slope_of_their_own():
    distances = np.full((4, 3, 1), np.nan)
    distances[:2, 0, 0] = distances[2:, 1, 0] = 1.0
    slope, lower, upper = slopes(WIDTHS, distances)[0]
    assert (slope, lower, upper) == (0.0, 0.0, 0.0)
    distances[1:3, :, 0] = np.nan
    assert np.isnan(slopes(WIDTHS, distances)[0, 1:]).all()


def test_one_seed_has_no_interval_and_one_width_no_slope():
    one_seed = slopes(WIDTHS, WIDTHS[:, None, None] ** -0.5)
    assert one_seed[0, 0] == pytest.approx(-0.5) and np.isnan(one_seed[0, 1:]).all()
    assert np.isnan(slopes(WIDTHS[:1], np.ones((1, 4, 1)))).all()
    assert np.isnan(line(WIDTHS, np.array([1.0, np.nan, np.nan, np.nan])))


def test_intervals_cover_the_exponent_of_the_central_limit_theorem():
    """Norms of means of N independent vectors fall like N^(−1/2); 95% intervals of 100 studies of 24 seeds mostly know it.

    Of few seeds a percentile bootstrap covers less than it says: 85 is three standard deviations below 95 of 100.
    """
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(100):
        modes = rng.standard_normal((len(WIDTHS), 24, 20)) / np.arange(1, 21)
        distances = WIDTHS[:, None] ** -0.5 * np.linalg.norm(modes, axis=2)
        slope, lower, upper = slopes(WIDTHS, distances[:, :, None])[0]
        assert lower <= slope <= upper and upper - lower < 0.5
        covered += lower < -0.5 < upper
    assert 85 <= covered <= 99
