"""Estimates of the memory of a run, checked before it starts."""

from __future__ import annotations

import re

import numpy as np

from meanfield.study.config.optimizer import own_model
from meanfield.study.config.run_config import Process, RunConfig
from meanfield.study.storage.schema import EXACT_W2_PARTICLES
from meanfield.task_sources import Source
from meanfield.tasks import TASKS
from solvers._support.memory import available_memory
from solvers.flow import ContinuousFlow
from solvers.flows import FLOWS
from solvers.integrators import INTEGRATORS
from solvers.optimizer import Optimizer
from solvers.stepping import DELAY_ARRAYS

WORTH_SAYING = 10**9
# Numbers of simultaneous arrays of the size of all particles, measured with 20,000 and more particles, rounded up.
_SPECTRUM_ARRAYS = 12  # besides two for each vector of the Krylov space, in float64
_REMEMBERED_ARRAYS = 6  # points whose losses are known, and gradients evaluated ahead
_SNAPSHOT_ARRAYS = 3  # for each array of a snapshot

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
UNITS |= {f"{unit}i": 1024**i for i, unit in enumerate("kmgt", start=1)}


class MemoryLimitError(ValueError):
    """A run would need more memory than available or allowed."""


def data_memory(config: RunConfig) -> int:
    """Estimated bytes for making the samples, as their task declares them; 0 for data that are read."""
    return _source(config).bytes(config.task.arguments)


def _source(config: RunConfig) -> Source:
    return Source.of(TASKS[config.task.name])


def required_memory(config: RunConfig, parameters: int) -> dict[str, int]:
    """Estimated bytes that every process needs in addition to the program, for particles with this many parameters.

    Processes run one after another. The estimate is mostly slightly high, and within a factor of two of measurements.
    """
    n, k = config.network.width, config.output.eigenvalues
    floats = n * parameters
    particles = floats * np.dtype(config.risk.dtype).itemsize
    spectrum = (2 * max(2 * k + 1, 8) + _SPECTRUM_ARRAYS) * floats * 8
    remembered = _REMEMBERED_ARRAYS * particles
    kept = 2 * _SNAPSHOT_ARRAYS * floats * np.dtype(config.output.snapshot_dtype).itemsize
    few = min(n, EXACT_W2_PARTICLES)
    pairs = _transport_memory(few, parameters) if len(config.processes) > 1 else 0
    return {
        name: data_memory(config)
        + max(spectrum + kept + remembered + _step_memory(process, config.rule, particles), pairs)
        for name, process in config.processes.items()
    }


def _transport_memory(particles: int, parameters: int) -> int:
    """Bytes for the distance of two measures; POT is imported only where there are two."""
    from solvers.transport import cost

    return cost.exact(particles, particles, parameters, lazy=False).bytes


def require_data_memory(config: RunConfig, limit: int | None = None) -> None:
    """Check that `data_memory` is within a limit, by default the available memory.

    Raises
    ------
    MemoryLimitError
        It is not.
    """
    *first, last = [f"task.{size}" for size in _source(config).sizes] or ["task"]
    less = f"a smaller {', '.join(first)} or {last}" if first else f"a smaller {last}"
    require_bytes("task", data_memory(config), less, limit)


def require_memory(config: RunConfig, parameters: int, limit: int | None = None) -> dict[str, int]:
    """`required_memory`, after checking that it is within a limit, by default the available memory.

    Raises
    ------
    MemoryLimitError
        It is not.
    """
    required = required_memory(config, parameters)
    name, most = max(required.items(), key=lambda item: item[1])
    less = "a smaller network.width or output.eigenvalues, or risk.dtype = 'float32',"
    require_bytes(f"processes.{name}", most, less, limit)
    return required


def require_bytes(what: str, amount: int, less: str, limit: int | None) -> None:
    """Check an estimate against a limit, by default the available memory; `less` says what needs less.

    Raises
    ------
    MemoryLimitError
    """
    allowed = available_memory() if limit is None else limit
    if allowed is not None and amount > allowed:
        kind = "are available" if limit is None else "are allowed"
        raise MemoryLimitError(
            f"{what}: about {amount / 1e9:.3g} GB of memory are needed, {allowed / 1e9:.3g} GB {kind}; {less} needs less; "
            "--memory-limit allows another amount"
        )


def memory_notice(config: RunConfig, parameters: int) -> str:
    """A message about the memory of a run with particles of this many parameters; empty if it is small."""
    if config.landscape is not None:
        return ""
    required = required_memory(config, parameters)
    name, most = max(required.items(), key=lambda item: item[1])
    if most < WORTH_SAYING:
        return ""
    available = available_memory()
    of = "" if available is None else f" of {available / 1e9:.3g} GB"
    return f"processes.{name} is going to need about {most / 1e9:.3g} GB{of} of memory"


def _step_memory(process: Process, rule: Optimizer | None, particles: int) -> int:
    """Bytes of a step, given the optimizer, if it is not gradient descent, and those of one array of all particles."""
    flow, options = FLOWS[process.flow], process.options
    if (model := own_model(process, rule)) is not None:
        flow, options = type(model), options | {"optimizer": rule}
    each = flow.step_arrays
    if options.get("delay"):
        each = DELAY_ARRAYS
    elif issubclass(flow, ContinuousFlow):
        given = INTEGRATORS.get(process.time_stepping.get("integrator", ""))
        default = flow.default_integrator if "dt" not in process.time_stepping else None
        each = getattr(given or default, "step_arrays", each)
    return each * flow.state_arrays(options) * particles + flow.other_bytes(options)


def parse_bytes(text: str) -> int:
    """Bytes of "8GB", "500 MB", "2GiB", "1000000".

    Raises
    ------
    ValueError
        The text is not an amount of memory above 0.
    """
    parts = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?\s*", text.lower())
    amount = 0 if parts is None else int(float(parts[1]) * UNITS[parts[2] or ""])
    if amount <= 0:
        raise ValueError(f"--memory-limit must be an amount, as 8GB or 500MB, got {text!r}")
    return amount
