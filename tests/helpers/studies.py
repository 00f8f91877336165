"""Width studies made of a known law: every distance is c·N^slope, times a factor of each seed whose median is one."""

from pathlib import Path

import numpy as np

from meanfield.study.storage.study_record import METRICS, Pair, StudyRecord

GD, ENERGY = "gradient_descent", "free_energy_flow"
PAIRS = (Pair(GD, GD), Pair(GD, ENERGY), Pair(ENERGY, ENERGY))
TIMES = np.array([0.0, 50.0, 100.0, 150.0])
SLOPE, HALF_WIDTH = -0.5, 0.07


def study(widths=(64, 256, 1024, 4096), seeds=7, slope=SLOPE, pairs=PAIRS, **changes):
    """A study whose median of `w2` is 2·N^slope at the last time, three times that and so on for the other pairs."""
    widths, factors = np.array(widths), np.exp(0.2 * (np.arange(seeds) - (seeds - 1) / 2))
    law = np.einsum(
        "p,w,s,t->pwst",
        1.0 + 2 * np.arange(len(pairs)),
        2.0 * widths**slope,
        factors / np.median(factors),
        (TIMES + 50) / 200,
    )
    interval = [slope - HALF_WIDTH, slope + HALF_WIDTH] if seeds > 1 else [np.nan, np.nan]
    slopes = np.broadcast_to([slope, *interval], (len(pairs), len(TIMES), 3))
    floors = np.broadcast_to(0.5 * widths[:, None] ** -0.25, (len(pairs), len(widths), len(TIMES)))
    made = dict(
        path=Path("study/study.h5"),
        attributes={"learning_rate": 0.5, "start": "nested", "reference_width": 16384},
        config="steps = 150\n",
        widths=widths,
        seeds=np.arange(seeds),
        times=TIMES,
        pairs=pairs,
        distances={metric: law * (1 + i) for i, metric in enumerate(METRICS)},
        floors={metric: floors for metric in ("w2", "sliced_w2", "sinkhorn")},
        slopes=dict.fromkeys(METRICS, slopes),
        statuses=np.full((len(widths), seeds), "complete"),
        warnings=(),
    )
    return StudyRecord(**(made | changes))
