"""Objects of one's own for the runs of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import solvers
from meanfield.study.config.run_config import RunConfig
from meanfield.study.engine.build import build_problem
from meanfield.study.engine.given import Given, require_same_objects, require_same_problem
from solvers._support.arguments import refusal


@dataclass(frozen=True)
class SweepObjects:
    """What the runs of a sweep are given beside their configurations: each thing itself, or a function of a run's configuration.

    Parameters
    ----------
    flows : mapping
        Flows by name, or functions that return them.
    objective : Objective or callable, optional
    start : array or callable, optional
    """

    flows: Mapping[str, solvers.Flow | Callable[[RunConfig], solvers.Flow]] = field(
        default_factory=dict
    )
    objective: Any = None
    start: Any = None

    def of(self, config: RunConfig) -> Given:
        """Those of one run, checked.

        Raises
        ------
        ValueError
            They are not what a run can be given.
        """
        if not isinstance(self.flows, Mapping):
            raise refusal("flows", "a dictionary of flows by name", self.flows)
        flows = {
            name: _made(flow, config, isinstance(flow, solvers.Flow))
            for name, flow in self.flows.items()
        }
        objective = _made(self.objective, config, hasattr(self.objective, "value"))
        return Given(flows, objective, _made(self.start, config, False)).checked(config)


def require_same_run(before: str, config: RunConfig, given: Given) -> None:
    """Compare what a run would be given now with what it was given, the attribute `given_json` of its file.

    Raises
    ------
    ValueError
        It is something else.
    """
    require_same_objects(before, given)
    if before:
        problem = build_problem(config, given=given)
        require_same_problem(before, given.described(problem), problem.start.dtype)


def _made(thing: Any, config: RunConfig, is_itself: bool) -> Any:
    return thing(config) if callable(thing) and not is_itself else thing
