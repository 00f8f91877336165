import codecs
from itertools import chain

import numpy as np
import pytest

from meanfield.study.config.run_config import ConfigError, load
from meanfield.study.engine.build import build_problem
from meanfield.study.storage.study_record import PLAN_NAME, Pair
from meanfield.study.width.plan import Run, make_plan, read_plan

GD, FLOW, ENERGY = "gradient_descent", "gradient_flow", "free_energy_flow"


def test_the_reference_is_sixteen_times_as_wide_by_default(tiny):
    plan = tiny(reference_width=None)
    assert plan.reference == Run(256) and plan.runs[0] == plan.reference
    assert plan.runs[1:] == [Run(16, 0), Run(16, 1), Run(8, 0), Run(8, 1)]


def test_nested_starts_are_rows_of_the_reference_and_of_each_other(tiny):
    plan = tiny()
    reference = build_problem(plan.study_of(plan.reference)).start
    assert plan.start_of(plan.reference) is None and len(reference) == 64
    narrow, wide, other = (plan.start_of(run) for run in (Run(8, 1), Run(16, 1), Run(16, 0)))
    np.testing.assert_array_equal(wide, reference[plan.order(1)[:16]])
    np.testing.assert_array_equal(narrow, wide[:8])
    assert sorted(plan.order(1)) == list(range(64)) and not np.array_equal(other, wide)


def test_independent_starts_share_no_particle(tiny):
    plan = tiny(start="independent")
    starts = [build_problem(plan.study_of(run)).start for run in plan.runs]
    assert all(plan.start_of(run) is None for run in plan.runs)
    reference, *others = starts
    for start in others:
        assert not (start[:, None] == reference[None]).any()
    np.testing.assert_array_equal(others[0][:8], others[2])  # width 16 and 8 of seed 0
    assert not (others[0][:, None] == others[1][None]).any()


def test_the_order_is_not_that_of_the_draw(tiny):
    """The permutation of seed 0 must not come from the very bits that drew the particles."""
    plan = tiny()
    same = np.random.default_rng(plan.config.seed).permutation(64)
    assert not np.array_equal(plan.order(0), same)


def test_every_process_with_itself_and_gradient_descent_with_its_limit(tiny):
    pairs = tiny().pairs
    assert pairs == [*(Pair(p, p) for p in (GD, FLOW, ENERGY)), Pair(GD, ENERGY)]
    plan = tiny("processes={gradient_descent={}, noisy={flow='langevin', temperature=0.1, seed=4}}")
    assert plan.pairs == [Pair(GD, GD), Pair("noisy", "noisy")]
    assert [plan.is_coupled(pair) for pair in plan.pairs] == [True, False]
    seeds = [plan.study_of(run).processes["noisy"].seed for run in (Run(64), Run(8, 0), Run(8, 1))]
    assert seeds == [4, 5, 6]  # or all runs would share one noise
    assert not any(tiny(start="independent").is_coupled(pair) for pair in pairs)


@pytest.mark.parametrize("tasks", [1, 2, 3, 7, 50])
def test_tasks_share_the_runs_evenly(tiny, tasks):
    plan = tiny(widths=(8, 16, 32), seeds=5)
    shares = [plan.share(i, tasks) for i in range(tasks)]
    assert sorted(chain(*shares)) == sorted(plan.runs) and shares[0][0] == plan.reference
    loads = [sum(run.width for run in share) for share in shares]
    # of greedy sharing the largest load is that of an even share and one run more at most
    assert max(loads) <= sum(loads) / tasks + max(run.width for run in plan.runs)
    assert shares == [plan.share(i, tasks) for i in range(tasks)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widths": (16, 8)}, "widths must be one or more, increasing, got 16, 8"),
        ({"widths": (8, 8)}, "widths must be one or more, increasing, got 8, 8"),
        ({"widths": ()}, "widths must be one or more, increasing, got none"),
        ({"widths": (0, 8)}, "widths.0 must be at least 1, got 0"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"seeds": -2}, "seeds must be at least 1, got -2"),
        ({"reference_width": 12}, "reference_width must be at least the largest width, 16, got 12"),
        ({"start": "nestled"}, "start must be .*got 'nestled'"),
        ({"held_out": 0}, "held_out must be at least 1, got 0"),
        ({"colour": 0}, "colour is not a known key; known keys: "),
    ],
)
def test_wrong_input_is_named(tiny, settings, message):
    with pytest.raises(ConfigError, match=message):
        tiny(**settings)


def test_a_landscape_has_no_width():
    study = load(None, ("landscape.name=valley",))
    with pytest.raises(ConfigError, match="landscape must be left out of a width study"):
        make_plan(study, (8, 16))


@pytest.mark.parametrize(("index", "tasks"), [(2, 2), (-1, 2), (0, 0)])
def test_a_task_that_there_is_none_of(tiny, index, tasks):
    with pytest.raises(ValueError, match="task"):
        tiny().share(index, tasks)


def test_a_plan_is_read_back(tiny, tmp_path):
    plan = tiny("seed=3")
    assert read_plan(tmp_path) is None
    (tmp_path / "study.toml").write_text(plan.to_toml(), encoding="utf-8")
    assert read_plan(tmp_path) == plan
    for text in (plan.config.to_toml(), "width = 3\n", "not TOML", "[width]\nseeds = 2\n"):
        (tmp_path / "study.toml").write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError):
            read_plan(tmp_path)


def test_a_study_may_grow_but_not_change(tiny):
    plan = tiny()
    assert tiny(widths=(8, 12, 16), seeds=3).differences(plan) == []
    assert tiny(widths=(8, 12, 16), seeds=3).digest == plan.digest
    assert plan.differences(tiny(seeds=3)) == ["width.seeds is 3 and 2"]
    assert plan.differences(tiny(widths=(8,))) == []
    changed = tiny("learning_rate=0.3", reference_width=65)
    assert changed.differences(plan) == [
        "learning_rate is 0.2 and 0.3",
        "width.reference_width is 64 and 65",
    ]
    assert changed.digest != plan.digest


def test_a_start_of_another_shape_is_refused(tiny):
    problem = build_problem(tiny().study_of(Run(8, 0)))
    moved = problem.started_from(np.ones(problem.start.shape, np.float32))
    assert moved.start.dtype == problem.start.dtype and (moved.start == 1).all()
    with pytest.raises(ValueError, match=r"start must have shape \(8, 4\), got \(9, 4\)"):
        problem.started_from(np.ones((9, 4)))


def test_the_plan_of_a_study_may_have_been_edited(tiny, tmp_path):
    text = tiny().to_toml().replace("\n", "\r\n")
    (tmp_path / PLAN_NAME).write_bytes(codecs.BOM_UTF8 + text.encode())
    assert read_plan(tmp_path) == tiny()
    (tmp_path / PLAN_NAME).write_bytes(text.encode("utf-16"))
    with pytest.raises(
        ConfigError, match=r"study.toml must be the plan of a width study, .*got UTF-16"
    ):
        read_plan(tmp_path)
