"""Below the edge of stability the outputs of a width-N network are N^(−1/2) from those of the limit."""

import re
from pathlib import Path

import numpy as np
import pytest

from meanfield.study.config.run_config import load
from meanfield.study.width import read_study
from meanfield.study.width.plan import make_plan
from meanfield.study.width.study import run_width_study

DOCS = Path(__file__).parents[4] / "docs" / "guides" / "width_study.md"
SHORTER = ("steps=100", "output.sharpness_every=100", "processes={gradient_descent={}}")


@pytest.fixture
def example(tmp_path):
    """The configuration of the docs, narrower and shorter."""
    text = DOCS.read_text(encoding="utf-8")
    path = tmp_path / "teacher.toml"
    path.write_text(re.search(r"```toml\n(.*?)```", text, re.DOTALL)[1], encoding="utf-8")
    study = load(path, SHORTER)
    assert study.learning_rate == 0.2 and study.task.name == "teacher_student"
    return study


@pytest.mark.slow
@pytest.mark.parametrize("start", ["nested", "independent"])
def test_the_function_distance_falls_like_the_central_limit_theorem(
    example, start, tmp_path, at_home
):
    plan = make_plan(example, (32, 64, 128, 256), seeds=10, start=start, sinkhorn_points=64)
    record = read_study(run_width_study(plan, tmp_path / "study").path)
    for time in range(3):
        slope, lower, upper = record.slopes["function_distance"][0, time]
        assert lower < -0.5 < upper and upper - lower < 0.5, (time, slope, lower, upper)
    # √N times the distance is one number, that of the fluctuation of the limit, for all widths
    scaled = np.sqrt(record.widths)[:, None] * record.distances["function_distance"][0, :, :, -1]
    ratio = np.median(scaled, axis=1) / np.median(scaled)
    # of a median of ten such numbers, whose spread is 1/3, the standard deviation is about 0.13
    assert abs(ratio - 1).max() < 0.4
    if start == "nested":  # what each particle has moved by is that of its field
        assert record.slopes["coupled_median"][0, -1, 0] == pytest.approx(-0.5, abs=0.15)
