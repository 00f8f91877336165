"""What a run is given that no configuration can say: flows, an objective and a start of one's own."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np

import solvers
from meanfield._digest import fingerprint
from meanfield.study.config.run_config import RunConfig, check_process_name
from solvers._support.arguments import finite_array, instance, methods, refusal

ROUNDING = 0.5  # power of the machine epsilon up to which the objective's values at the start agree
_PLAIN = (bool, int, float, str, type(None), np.generic)
_AGAIN = "resume and extend need the objects that the run began with"


@dataclass(frozen=True)
class Given:
    """Objects of a run beside its configuration.

    Parameters
    ----------
    flows : mapping
        Flows by the names of their processes, beside those that the configuration names.
    objective : Objective, optional
        What is minimised in place of the configuration's risk or landscape.
    start : array, optional
        What all processes start from, in place of the problem's own start.
    attributes : mapping
        Further attributes of the file.
    """

    flows: Mapping[str, solvers.Flow] = field(default_factory=dict)
    objective: Any = None
    start: Any = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def checked(self, config: RunConfig) -> Given:
        """The same with its arguments checked.

        Raises
        ------
        ValueError
            Flows that are none or have no names of their own; what is no objective; a start that is no array of finite numbers.
        """
        flows = self.flows or {}
        if not isinstance(flows, Mapping):
            raise refusal("flows", "a dictionary of flows by name", flows)
        for name, flow in flows.items():
            if not isinstance(name, str):
                raise refusal("flows", "a dictionary of flows by name", flows)
            check_process_name("flows", name)
            if name in config.processes:
                raise ValueError(
                    f"flows must have names other than the configuration's processes, got {name!r}"
                )
            instance(f"flows[{name!r}]", flow, solvers.Flow)
        if self.objective is not None:
            methods("objective", self.objective, ("value", "gradient"), "a run")
        start = None if self.start is None else finite_array("start", self.start)
        return Given(dict(flows), self.objective, start, dict(self.attributes))

    def described(self, problem: Any) -> str:
        """JSON that tells these objects from others, an attribute of the file; nothing where there are none."""
        about: dict[str, Any] = {}
        if self.flows:
            about["flows"] = {name: description(flow) for name, flow in self.flows.items()}
        if self.objective is not None:
            about["objective"] = description(self.objective)
            with np.errstate(all="ignore"):
                about["value"] = repr(float(problem.objective.value(problem.start)))
        if self.start is not None:
            about["start"] = fingerprint(problem.start)
        return json.dumps(about, sort_keys=True) if about else ""


def require_same_objects(before: str, given: Given) -> None:
    """Compare what a run is given when it goes on with `Given.described` of what it began with, by class and parameters.

    Raises
    ------
    ValueError
        Something is missing, is new, or is another; the message says what was needed.
    """
    theirs = _parsed(before)
    flows = theirs.get("flows", {})
    for name in dict.fromkeys([*flows, *given.flows]):
        now = description(given.flows[name]) if name in given.flows else None
        _compare(f"flows[{name!r}]", flows.get(name), now)
    now = None if given.objective is None else description(given.objective)
    _compare("objective", theirs.get("objective"), now)
    if "start" in theirs and given.start is None:
        _compare("start", theirs["start"], None)


def _parsed(text: str) -> dict[str, Any]:
    """What `Given.described` has written, or somebody else."""
    try:
        about = json.loads(text) if text else {}
        flows, value = about.get("flows", {}), about.get("value", "nan")
        flows.items()
        float(value)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ValueError(
            f"given must be JSON that describes the objects of a run, got {text!r:.100}"
        ) from None
    return dict(about)


def require_same_problem(before: str, prepared: str, precision: Any) -> None:
    """Compare start and value of the objective there, in two results of `Given.described`.

    Raises
    ------
    ValueError
        They are others.
    """
    theirs, ours = _parsed(before), _parsed(prepared)
    if "start" in theirs:
        _compare("start", theirs["start"], ours.get("start"))
    old, new = (float(about.get("value", "nan")) for about in (theirs, ours))
    tolerance = float(np.finfo(precision).eps) ** ROUNDING
    if math.isfinite(old) and not math.isclose(old, new, rel_tol=tolerance, abs_tol=tolerance):
        raise ValueError(
            f"objective must be the one that the run began with, of value {old!r} at the start, got value {new!r}; {_AGAIN}"
        )


def _compare(name: str, before: str | None, now: str | None) -> None:
    if before != now:
        raise ValueError(
            f"{name} must be {before or 'left out'}, as when the run began, got {now or 'none'}; {_AGAIN}"
        )


def description(thing: object) -> str:
    """An object by its class and, of a flow or a dataclass, its parameters.

    Nothing that changes from one Python process to the next, nor while an objective is evaluated, as a counter of calls.
    """
    if is_dataclass(thing):
        names = [f.name for f in fields(thing) if f.init]
    elif isinstance(thing, solvers.Flow):
        names = [name for name in vars(thing) if not name.startswith("_")]
    else:
        names = []
    shown = [f"{name}={_shown(getattr(thing, name))}" for name in names]
    return f"{type(thing).__qualname__}({', '.join(shown)})"


def _shown(value: object) -> str:
    if isinstance(value, np.ndarray):
        return fingerprint(value)
    if isinstance(value, np.generic):
        return repr(value.item())
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, tuple | list) and all(isinstance(each, _PLAIN) for each in value):
        return repr(value)
    name = getattr(value, "__qualname__", None) or type(value).__qualname__
    return re.sub(r"<locals>\.", "", name)
