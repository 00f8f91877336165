"""W2 between snapshots of runs of measures, as grids or quantile functions."""

from __future__ import annotations

from typing import Any

import solvers
from meanfield.study.analysis.snapshot_distance import Cloud


def are_measures(a: Cloud, b: Cloud) -> bool:
    """Whether one of them is a density or a quantile function, not a set of particles."""
    kinds = solvers.Grid | solvers.Quantiles
    return isinstance(a.measure, kinds) or isinstance(b.measure, kinds)


def distance(
    a: Cloud, b: Cloud, memory_limit: int | None = None, progress: bool = False
) -> dict[str, Any]:
    """W2 by `solvers.transport.w2`, with the bound of its error; a warning where the plan is left unfinished.

    Raises
    ------
    ValueError
        For measures of other dimensions, or points that do not fit the memory, by default the one of `solvers.transport.w2`.
    """
    options: dict[str, Any] = {"require_convergence": False, "progress": progress}
    if memory_limit is not None:
        options["max_bytes"] = memory_limit
    try:
        result = solvers.transport.w2(_measure(a), _measure(b), **options)
    except ValueError as failure:
        raise ValueError(str(failure).replace("max_bytes", "--memory-limit")) from None
    error = result.gap + result.discretization_error
    report: dict[str, Any] = {"a": a.describe(), "b": b.describe(), "method": "exact"}
    report |= {"distance": result.distance, "error": error, "coupled_distance": None}
    unfinished = (
        f"the plan leaves a mass of {result.error:.1e} out of place: W2 is between {result.distance - error:.6g} and "
        f"{result.distance + result.discretization_error:.6g}"
    )
    warnings = [] if result.converged else [unfinished]
    return report | {"sampling_floor": {"a": None, "b": None}, "warnings": warnings}


def _measure(cloud: Cloud) -> Any:
    if cloud.measure is not None:
        return cloud.measure
    return solvers.Particles(cloud.position, cloud.weight)
