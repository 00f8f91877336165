"""A start taken from a snapshot of another run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meanfield.study.config.start import KEY, StoredStart, parsed_start
from meanfield.study.storage.files.sandbox import read_in_child
from meanfield.study.storage.reader import ProcessHeader, RunReader
from meanfield.study.storage.schema import Floats, RunFileError, reference_in


def read_start(text: str) -> Floats:
    """The particles (N, D) of a snapshot, for the key ``start``; a child process reads the file first.

    Of a process with iterates that is the iterate x_k = w_k + (−1)^k u_k, w being the center and u the fluctuation, so that
    gradient descent goes on as the other run did; of any other process it is the center.

    Raises
    ------
    ValueError
        The file cannot be read, or it has no such process or snapshot.
    """
    wanted = parsed_start(text)
    try:
        read_in_child(wanted.path, lambda path: _particles(wanted))
        return _particles(wanted)
    except RunFileError as error:
        raise ValueError(f"{KEY}: {error}") from error


def _particles(wanted: StoredStart) -> Floats:
    with closing(RunReader(wanted.path)) as reader:
        header = reader.header()
        processes = header.processes
        flows = {name: about.flow for name, about in processes.items()}
        wanted_or_default = wanted.process or reference_in(header.config, flows)
        name = _process(reader.path, processes, wanted_or_default)
        times = processes[name].snapshot_times
        row = _row(reader.path, name, times, wanted.time)
        center, fluctuation, *_ = reader.snapshot(name, row)
        if fluctuation.shape != center.shape or not reader.has_iterates(name):
            return center
        sign = -1 if float(times[row]) % 2 == 1 else 1
        with np.errstate(over="ignore", invalid="ignore"):  # of a process that diverged
            iterate: Floats = center + sign * fluctuation
        return iterate


def _process(path: Path, processes: Mapping[str, ProcessHeader], name: str | None) -> str:
    """That of the name; without one the first."""
    if name is None:
        name = next(iter(processes), None)
    if name is None or name not in processes:
        known = ", ".join(processes) or "none"
        raise ValueError(f"start must name a process of {path}, got {name!r}; it has {known}")
    return name


def _row(path: Path, process: str, times: NDArray[np.float64], time: float | None) -> int:
    """The index of the snapshot at a time, of the last without one."""
    if not len(times):
        raise ValueError(f"start must be a snapshot, got {path}, where {process} has none")
    if time is None:
        return len(times) - 1
    found = np.flatnonzero(times == time)
    if len(found):
        return int(found[0])
    around = [*times[times < time][-1:], *times[times > time][:1]]
    nearest = " and ".join(f"{each:.15g}" for each in around)
    raise ValueError(
        f"start must be at the time of a snapshot of {process} in {path}, got {time:.15g}; the nearest: {nearest}"
    )
