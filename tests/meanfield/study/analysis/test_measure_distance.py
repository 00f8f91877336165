"""W2 between densities whose transport tears them apart: bounds, against the network simplex between the cells' centers."""

from dataclasses import dataclass

import numpy as np

import solvers
from meanfield.study.analysis import measure_distance


@dataclass
class Density:
    """What a snapshot has."""

    measure: solvers.Grid

    def describe(self):
        return {"file": "", "process": "evolution", "time": 0.0, "particles": 0}


def blobs(*centers, deviation=0.5, cells=16):
    def density(x):
        return sum(np.exp(-np.sum((x - c) ** 2, axis=1) / (2 * deviation**2)) for c in centers)

    return solvers.Grid.from_density((np.linspace(-4, 4, cells + 1),) * 2, density, 3)


def test_a_plan_that_is_left_unfinished_has_bounds(monkeypatch):
    monkeypatch.setattr("solvers.grid_transport.distance._ITERATIONS", 2)
    x, y = blobs([-2.0, 0.0], [2.0, 0.0]), blobs([0.0, -2.0], [0.0, 2.0])
    # enough for Newton's method, not for the simplex
    report = measure_distance.distance(Density(x), Density(y), memory_limit=50_000_000)
    (warning,) = report["warnings"]
    assert warning.startswith("the plan leaves a mass") and "W2 is between" in warning
    points = [
        solvers.Particles(
            grid.points[some], grid.masses.ravel()[some] / grid.masses.ravel()[some].sum()
        )
        for grid in (x, y)
        for some in [grid.masses.ravel() > 1e-9]
    ]
    reference = solvers.transport.w2(*points, max_bytes=2**31).distance
    moved = 2 * np.sqrt(x.cell_variances().sum()) + 1e-3
    assert report["distance"] - report["error"] - moved <= reference <= report["distance"] + moved
    # with it there is a plan, which is no better than that between the centers
    monkeypatch.setattr("solvers.transport.grid_simplex._ENOUGH", 2e-2)
    finished = measure_distance.distance(Density(x), Density(y))
    assert finished["warnings"] == [] and finished["error"] < 2e-2 * finished["distance"]
    assert reference - moved <= finished["distance"] <= reference + 1e-3
