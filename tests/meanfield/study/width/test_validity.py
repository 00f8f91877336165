"""What a reader must know before quoting a number."""

from pathlib import Path

import numpy as np
import pytest

from meanfield.study.storage.study_record import METRICS, StudyRecord
from meanfield.study.width.held_out import HeldOut
from meanfield.study.width.statistics import slopes
from meanfield.study.width.validity import finite_population, study_warnings, too_narrow

FRESH = HeldOut(np.zeros((3, 2)), "3 fresh inputs", True)


def record_of(plan, distances, floors=None, statuses=None):
    """A study whose metrics are all (w,) `distances`, times one over all seeds, with floors (w,)."""
    widths, seeds = np.array(plan.width.widths), plan.width.seeds
    one = np.repeat(np.asarray(distances, float)[None, :, None, None], seeds, axis=2)
    values = np.repeat(one, len(plan.pairs), axis=0)
    floor = np.zeros(len(widths)) if floors is None else np.asarray(floors, float)
    return StudyRecord(
        path=Path("study.h5"),
        attributes={},
        config="",
        widths=widths,
        seeds=np.arange(seeds),
        times=np.array([6.0]),
        pairs=tuple(plan.pairs),
        distances=dict.fromkeys(METRICS, values),
        floors=dict.fromkeys(
            ("w2", "sliced_w2", "sinkhorn"),
            np.repeat(floor[None, :, None], len(plan.pairs), axis=0),
        ),
        slopes=dict.fromkeys(METRICS, np.stack([slopes(widths, v) for v in values])),
        statuses=np.full((len(widths), seeds), "complete") if statuses is None else statuses,
        warnings=(),
    )


def said(plan, record, inputs=FRESH):
    return "\n".join(study_warnings(plan, record, inputs))


@pytest.mark.parametrize(("start", "sign"), [("nested", -1), ("independent", 1)])
@pytest.mark.parametrize("ratio", [16, 4])
def test_a_reference_of_few_particles_is_said_to_be_narrow(tiny, start, sign, ratio):
    """Samples of N of M, or of N and M: the variance of a difference of means is 1/N ∓ 1/M, here by drawing them."""
    plan = tiny(widths=(8, 16), reference_width=16 * ratio, start=start)
    rng = np.random.default_rng(1)
    population = rng.standard_normal((20000, 16 * ratio))
    sample = population[:, :16] if start == "nested" else rng.standard_normal((20000, 16))
    measured = np.std(sample.mean(axis=1) - population.mean(axis=1)) / np.sqrt(1 / 16)
    # of a standard deviation of 20000 numbers the relative error is 1/√40000 = 0.5%
    assert finite_population(plan) == pytest.approx(measured, rel=0.02)
    assert (finite_population(plan) - 1) * sign > 0
    assert (too_narrow(plan) is None) == (ratio == 16)
    if ratio == 4:
        steep = "steep" if start == "nested" else "shallow"
        enough = {"nested": 165, "independent": 157}[start]  # 16/(1 - 0.95²), 16/(1.05² - 1)
        assert f"slopes are too {steep}; {enough} or more" in too_narrow(plan)
        assert too_narrow(tiny(widths=(8, 16), reference_width=enough, start=start)) is None
        assert too_narrow(tiny(widths=(8, 16), reference_width=enough - 1, start=start))
        assert too_narrow(plan) in said(plan, record_of(plan, [1, 0.5]))


def test_slopes_that_are_too_shallow_for_the_reference(tiny):
    """At N^β the reference's own error is 16^β of the distance at the widest: 25% at −1/2, 57% at −0.2."""
    plan = tiny("processes={gradient_descent={}}", widths=(4, 16), reference_width=256)
    assert "too narrow" not in said(plan, record_of(plan, [2.0, 1.0]))
    text = said(plan, record_of(plan, [4**0.2, 1.0]))
    assert "may be too narrow for gradient descent to gradient descent of the reference" in text
    assert "coupled_rms 57%, coupled_mean 57%, coupled_median 57%, function_distance 57%." in text


def test_distances_near_their_floor(tiny):
    plan = tiny("processes={gradient_descent={}, gradient_flow={}}")
    text = said(plan, record_of(plan, [4.0, 1.0], floors=[1.0, 0.6]))
    assert "within 2 times their sampling floor" in text and "w2 at width 16 (all pairs)" in text
    assert "floor" not in said(plan, record_of(plan, [4.0, 1.0], floors=[1.0, 0.4]))


def test_all_else_is_said_too(tiny):
    plan = tiny(seeds=1, widths=(8,))
    training = HeldOut(np.zeros((3, 2)), "3 training inputs, there are no others", False)
    text = said(plan, record_of(plan, [1.0]), training)
    assert "One seed" in text and "One width" in text
    assert "The function distance is on the training inputs: 3 training inputs" in text
    statuses = np.array([["complete", "diverged"], ["missing", "complete"]])
    plan = tiny()
    text = said(plan, record_of(plan, [4.0, 2.0], statuses=statuses))
    assert "Left out, diverged: the runs, or processes of them, at width 8 (seed 1)." in text
    assert "Left out, missing: the runs, or processes of them, at width 16 (seed 0)." in text
    plan = tiny(reference_width=256, sinkhorn_points=16, seeds=6)
    assert said(plan, record_of(plan, [4.0, 4 / 2**0.5])) == ""


@pytest.mark.parametrize("seeds", [1, 2, 5, 6])
def test_seeds_that_are_too_few_for_an_interval_are_said(tiny, seeds):
    plan = tiny(widths=(4, 16), reference_width=256, seeds=seeds)
    text = said(plan, record_of(plan, [2.0, 1.0]))
    assert ("One seed" in text) == (seeds == 1)
    assert (f"{seeds} seeds are too few for intervals" in text) == (1 < seeds < 6)
