"""W2 between snapshots of runs of measures, as grids or quantile functions."""

from __future__ import annotations

from typing import Any

import solvers
from meanfield.study.analysis.snapshot_distance import Cloud


def are_measures(a: Cloud, b: Cloud) -> bool:
    """Whether one of them is a density or a quantile function, not a set of particles."""
    kinds = solvers.Grid | solvers.Quantiles
    return isinstance(a.measure, kinds) or isinstance(b.measure, kinds)


def distance(a: Cloud, b: Cloud) -> dict[str, Any]:
    """W2 by `solvers.transport.w2`, with the bound of its error.

    Raises
    ------
    ValueError
        For measures of other dimensions, or points that do not fit the memory.
    """
    result = solvers.transport.w2(*(_measure(cloud) for cloud in (a, b)))
    error = result.gap + result.discretization_error
    report: dict[str, Any] = {"a": a.describe(), "b": b.describe(), "method": "exact"}
    report |= {"distance": result.distance, "error": error, "coupled_distance": None}
    return report | {"sampling_floor": {"a": None, "b": None}, "warnings": []}


def _measure(cloud: Cloud) -> Any:
    if cloud.measure is not None:
        return cloud.measure
    return solvers.Particles(cloud.position, cloud.weight)
