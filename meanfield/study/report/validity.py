"""Warnings about the validity of the numbers of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.study.analysis.energy_balance import balance
from meanfield.study.analysis.words import said
from meanfield.study.report.markup import spoken
from meanfield.study.report.source import json_attribute, settings, without_folders
from meanfield.study.storage.schema import ProcessRecord, RunRecord
from solvers.flows import flow_class

RESIDUAL = 1e-3  # |Hv − Sv|/S: the sharpness is accurate to about its square over the gap


def run_warnings(run: RunRecord) -> list[str]:
    """Warnings about a run, the most severe first."""
    texts = [*_of_the_file(run)]
    for name, process in run.processes.items():
        texts += [f"{spoken(name)}: {text}" for text in _of_the_end(process)]
    every = _sharpness_every(run)
    for name, process in run.processes.items():
        texts += [f"{spoken(name)}: {text}" for text in _of_the_numbers(process, every)]
    return [without_folders(text) for text in texts]


def _of_the_file(run: RunRecord) -> Iterator[str]:
    status, message = run.attributes.get("status"), run.attributes.get("message", "")
    if status == "running":
        yield (
            "The run was running or had been killed when this report was made: its numbers are those of that time."
        )
    elif status == "interrupted":
        yield "The run was interrupted: its results up to then are shown."
    elif status == "failed":
        yield f"The run failed{f': {message}' if message else ''}."
    others = [name for name in run.processes if not run.is_optimizer(name)]
    descends = len(others) < len(run.processes)
    if status != "running" and descends and others and not run.comparison:
        yield said(run, "The run ended before the distances to gradient descent were measured.")
    if not settings(run.config):
        yield "The configuration in the file is not TOML."
    if not json_attribute(run.attributes, "machine_json"):
        yield "The machine was not recorded: an older meanfield wrote the file."


def _of_the_end(process: ProcessRecord) -> Iterator[str]:
    if process.status == "complete":
        return
    times = process.observables["time"]
    if not len(times):
        yield "not started."
    elif process.status == "running":
        yield f"at step {times[-1]:g}."
    else:
        yield f"{process.message or f'{process.status} after step {times[-1]:g}'}."


def _of_the_numbers(process: ProcessRecord, every: float) -> Iterator[str]:
    data = process.observables
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # the end of a divergence
        residual = np.abs(data["sharpness_residual"] / data["sharpness"])
    wrong = np.flatnonzero(residual > RESIDUAL)
    if len(wrong):
        yield (
            f"the sharpness is not exact at {len(wrong)} of {_times(np.isfinite(residual))}: its eigenpair "
            f"has a relative residual of up to {residual[wrong].max():.2g}."
        )
    lost = (data["time"] % every == 0) & ~np.isfinite(data["sharpness"])
    if lost.any():
        yield f"no sharpness at {_times(lost)}, where its eigenpair did not converge."
    energy = balance(data)
    if energy is not None and not energy.holds:
        share = "" if energy.relative is None else f", {energy.relative:.2g} of its largest change"
        yield f"the free energy is balanced to {energy.residual:.2g} only{share}: a finer time step gives other numbers."
    flow = flow_class(process.flow)
    for name, tolerance in flow.tolerances.items() if flow else ():
        largest = np.nanmax(data[name], initial=0.0) if name in data else 0.0
        if largest > tolerance.size * (_energy_scale(data) if tolerance.of_energy else 1.0):
            yield f"{tolerance.otherwise} {np.nanmax(data[name]):.2g}."


def _sharpness_every(run: RunRecord) -> float:
    """The interval in steps at which the sharpness was to be measured; infinity, so only at 0, if unknown."""
    output = settings(run.config).get("output")
    every = output.get("sharpness_every") if isinstance(output, dict) else None
    return every if isinstance(every, int) and every > 0 else math.inf


def _energy_scale(data: dict[str, NDArray[Any]]) -> float:
    """Of the free energy, at least one."""
    return max(1.0, float(np.nanmax(np.abs(data["free_energy"]), initial=0.0)))


def _times(where: NDArray[Any]) -> str:
    """A phrase for the number of affected times."""
    count = int(np.count_nonzero(where))
    return f"{count} time{'s' if count != 1 else ''}"
