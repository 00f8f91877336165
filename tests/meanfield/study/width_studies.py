"""A width study made of formulas, for the tests of what shows one."""

from pathlib import Path

import numpy as np

from meanfield.study.width.record import METRICS, Pair, StudyRecord

CONFIG = """learning_rate = 0.5
steps = 40

[task]
name = "teacher_student"
input_dim = 3

[network]
width = 256

[processes.gradient_descent]
flow = "gradient_descent"
"""
SLOPE = -0.5


def synthetic_study(seeds=4, **changes):
    """Distances 2 N^SLOPE (1 + t/40), times a factor per seed; floors of half of that."""
    widths, times = np.array([64, 128, 256, 512]), np.array([0.0, 10.0, 20.0, 40.0])
    pairs = (
        Pair("gradient_descent", "gradient_descent"),
        Pair("free_energy_flow", "free_energy_flow"),
    )
    factors = 1 + 0.1 * (np.arange(seeds) - (seeds - 1) / 2)
    law = 2 * widths[:, None, None] ** SLOPE * factors[:, None] * (1 + times / 40)
    distances = np.broadcast_to(law, (len(pairs), *law.shape))
    floors = 0.5 * np.median(distances, axis=2)
    interval = 0.05 if seeds > 1 else np.nan
    slopes = np.broadcast_to(
        [SLOPE, SLOPE - interval, SLOPE + interval], (len(pairs), len(times), 3)
    )
    about = {
        "learning_rate": 0.5,
        "start": "nested",
        "reference_width": 4096,
        "created": "2026-11-21T12:00:00+00:00",
        "versions_json": '{"meanfield": "0.1.0"}',
        "machine_json": '{"cores": 2, "platform": "Linux", "processor": "P", "threads": 2}',
    }
    fields = {
        "path": Path("study.h5"),
        "attributes": about,
        "config": CONFIG,
        "widths": widths,
        "seeds": np.arange(seeds),
        "times": times,
        "pairs": pairs,
        "distances": dict.fromkeys(METRICS, distances),
        "floors": dict.fromkeys(("w2", "sliced_w2", "sinkhorn"), floors),
        "slopes": dict.fromkeys(METRICS, slopes),
        "statuses": np.full((len(widths), seeds), "complete"),
        "warnings": (),
    }
    return StudyRecord(**(fields | changes))
