"""What a task of somebody else says of its source is used as what the package's own say."""

import numpy as np
import pytest

from meanfield import tasks
from meanfield.study.config.run_config import load
from meanfield.study.engine.build import build_problem
from meanfield.study.engine.memory import MemoryLimitError, data_memory, require_data_memory
from meanfield.study.width.held_out import held_out
from meanfield.study.width.plan import make_plan
from meanfield.task_sources import Source

MANY = 10**15


def others(task, limit, rng, n):
    if n == 7:
        return None
    return {5: np.ones((limit, 3)), 6: np.full((1, 2), np.nan), 8: np.ones((limit + 1, 2))}.get(
        n, rng.uniform(5.0, 6.0, (limit, 2))
    ), f"{limit} others"


def planes(n: int = 10, slope: float = 1.0) -> tasks.Task:
    """Points of a plane."""
    x = np.random.default_rng(0).uniform(-1.0, 1.0, (n, 2))
    return tasks.Task(x, slope * x[:, 0], name="planes")


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(tasks.TASKS, "_known", dict(tasks.TASKS._known))
    declare = tasks.declares(memory=lambda n: 40 * n, held_out=others)
    tasks.register("planes", declare(planes))


def study(n):
    return load(None, (f"task={{name='planes', n={n}}}",))


def held_out_of(n):
    config = study(n)
    return held_out(make_plan(config, (8,), held_out=30), build_problem(config).risk.task)


def test_its_memory_is_in_the_estimate_and_too_much_is_refused_before_it_is_made(registered):
    assert data_memory(study(1000)) == 40_000
    with pytest.raises(
        MemoryLimitError, match=r"task: about .* GB .*; a smaller task\.n needs less"
    ):
        require_data_memory(study(MANY), 10**9)


def test_its_held_out_inputs_are_those_of_the_study(registered):
    found = held_out_of(12)
    assert (
        found.inputs.shape == (30, 2) and found.inputs.min() >= 5.0
    )  # trained on are those below 1
    assert found.are_fresh and found.note == "30 others"
    np.testing.assert_array_equal(held_out_of(12).inputs, found.inputs)


def test_where_it_has_no_others_the_training_inputs_serve(registered):
    found = held_out_of(7)
    assert len(found.inputs) == 7 and not found.are_fresh


@pytest.mark.parametrize(
    ("n", "message"),
    [
        (5, r"must have shape \(k, 2\) with 1 ≤ k ≤ 30, got \(30, 3\)"),
        (6, r"held_out\(\.\.\.\)"),
        (8, r"got \(31, 2\)"),
    ],
)
def test_what_are_no_inputs_is_refused(registered, n, message):
    with pytest.raises(ValueError, match=message):
        held_out_of(n)


def test_a_declaration_that_fits_no_parameters_is_refused():
    with pytest.raises(ValueError, match="memory must be a function or None, got 3"):
        tasks.declares(memory=3)
    for wrong in ({"memory": lambda m: m}, {"held_out": lambda task, limit, rng, m: None}):
        with pytest.raises(ValueError, match="must be a function of some of n, slope, got 'm'"):
            tasks.declares(**wrong)(lambda n, slope: None)


def test_of_a_function_that_says_nothing_nothing_is_known():
    source = Source.of(tasks.from_npz)
    assert source.bytes({"path": "a"}) == 0 and source.sizes == []
    assert source.others(None, 3, None, {}) is None
