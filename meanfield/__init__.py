"""Gradient descent at the edge of stability, from one small landscape to the infinite-width limit of two-layer networks."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from meanfield._version import __version__ as __version__

__all__ = [
    "Result",
    "Risk",
    "RunConfig",
    "StudyRecord",
    "SweepResult",
    "TorchObjective",
    "TwoLayerNetwork",
    "check_objective",
    "extend",
    "initializers",
    "landscapes",
    "load",
    "resume",
    "run",
    "sweep",
    "tasks",
    "width_study",
]

if TYPE_CHECKING:
    from meanfield import initializers, landscapes, tasks
    from meanfield.derivative_check import check_objective
    from meanfield.networks import TwoLayerNetwork
    from meanfield.risk import Risk
    from meanfield.study.config.run_config import RunConfig
    from meanfield.study.facade import extend, load, resume, run, sweep, width_study
    from meanfield.study.result import Result
    from meanfield.study.storage.study_record import StudyRecord
    from meanfield.study.sweep.table import SweepResult
    from meanfield.torch_objective.objective import TorchObjective

_HOME = {
    "Result": "meanfield.study.result",
    "Risk": "meanfield.risk",
    "RunConfig": "meanfield.study.config.run_config",
    "StudyRecord": "meanfield.study.storage.study_record",
    "SweepResult": "meanfield.study.sweep.table",
    "TorchObjective": "meanfield.torch_objective.objective",
    "TwoLayerNetwork": "meanfield.networks",
    "check_objective": "meanfield.derivative_check",
    **dict.fromkeys(
        ["extend", "load", "resume", "run", "sweep", "width_study"], "meanfield.study.facade"
    ),
}


def __getattr__(name: str) -> Any:
    """Public names on first use, so that ``import meanfield`` and ``meanfield --help`` stay fast."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in ("initializers", "landscapes", "tasks"):
        return import_module(f"meanfield.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
