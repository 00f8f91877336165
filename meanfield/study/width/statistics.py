"""Slopes in a log-log plot, with bootstrap intervals over the seeds, or their range for few seeds."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.study.storage.study_record import LEAST_FOR_INTERVAL

RESAMPLES, RESAMPLING_SEED = 2000, 0
INTERVAL = (2.5, 97.5)  # percentiles

Array = NDArray[np.float64]


def slopes(widths: NDArray[Any], distances: Array) -> Array:
    """The slope d log m / d log N of the medians m over seeds, and its 95% interval, at each time: (t, 3).

    m(N) = median_s d(N, s), the line is that of least squares through (log N, log m). The interval is that of a percentile
    bootstrap: 2,000 times, as many seeds are drawn with replacement, the same for all widths, as the runs of a seed share
    particles. A percentile bootstrap of few seeds is too narrow; for fewer than six, the smallest and the largest slope of a
    single seed replace it, which are not a confidence interval, and NaN for one seed (`ends_of_slopes`).

    Parameters
    ----------
    widths : (w,)
    distances : (w, s, t)
        Nonpositive and non-finite values are left out, and so are widths without any value.

    References
    ----------
    Efron, Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13.
    """
    usable = np.where(distances > 0, distances, np.nan)
    usable[~np.isfinite(usable)] = np.nan
    count = distances.shape[1]
    chosen = np.random.default_rng(RESAMPLING_SEED).integers(0, count, (RESAMPLES, count))
    result = np.full((distances.shape[2], 3), np.nan)
    for i in range(len(result)):
        at = usable[:, :, i]
        result[i, 0] = line(widths, medians(at))
        if count == 1 or not np.isfinite(result[i, 0]):
            continue
        if count < LEAST_FOR_INTERVAL:
            of_seeds = line(widths, at)
            if np.isfinite(of_seeds).any():
                result[i, 1:] = np.nanmin(of_seeds), np.nanmax(of_seeds)
        else:
            resampled = line(widths, medians(at[:, chosen]))
            result[i, 1:] = np.nanpercentile(resampled, INTERVAL)
    return result


def medians(distances: Array) -> Array:
    """Medians over the last axis, ignoring NaN."""
    if np.isfinite(distances).all():
        return np.asarray(np.median(distances, axis=-1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # for all-NaN slices, whose median is NaN
        return np.asarray(np.nanmedian(distances, axis=-1))


def line(widths: NDArray[Any], values: Array) -> Any:
    """Slope of the least-squares line through (log N, log value), over the first axis; NaN for fewer than two points."""
    x = np.log(widths).reshape(-1, *[1] * (values.ndim - 1))
    here = np.isfinite(values)
    count = here.sum(axis=0)
    y = np.log(np.where(here, values, 1.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        x = np.where(here, x - (here * x).sum(axis=0) / count, 0.0)
        slope = (x * y).sum(axis=0) / (x * x).sum(axis=0)
    return np.where(count >= 2, slope, np.nan)
