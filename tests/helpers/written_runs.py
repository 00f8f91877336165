"""Run files written row by row, for the tests that read them."""

import numpy as np

from meanfield.study.storage.schema import ProcessLayout, RunLayout
from meanfield.study.storage.writer import RunWriter

GD, ENERGY = "gradient_descent", "free_energy_flow"


def layout(processes=None, particles=4, snapshots=1001):
    processes = processes or {GD: ProcessLayout(GD), ENERGY: ProcessLayout(ENERGY, modes=2)}
    return RunLayout(processes, particles, ["a", "w", "b"], snapshots - 1, 1)


def writer_of(folder, attributes=None, **changes):
    return RunWriter(
        folder,
        layout(**changes),
        "steps = 1\n",
        {"learning_rate": 0.5, "seed": 0} | (attributes or {}),
    )


def write_at(writer, process, t, modes=(), particles=4):
    """A row and a snapshot in which everything is ±t."""
    writer.observe(process, t, {"train_loss": t, "sharpness": -t, "hessian_eigs": [t]})
    writer.snapshot(process, t, np.full((particles, 3), t), np.full((*modes, particles, 3), -t))
