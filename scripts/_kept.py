"""Runs that a script has measured before it was interrupted."""

from __future__ import annotations

import shutil
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import _common as c
import numpy as np

from meanfield._digest import digest


class Kept:
    """`_common.measure`, whose runs are kept in a folder, so that a script that was interrupted goes on with the next one.

    A run is kept for its flow, its start and the objective's value there, its steps and what is measured. That the code is the
    same is not checked.
    """

    def __init__(self, folder: Path, go_on: bool) -> None:
        self._folder = folder
        if not go_on:
            self.remove()

    def measure(
        self,
        flow: Any,
        objective: Any,
        x0: np.ndarray,
        steps: int,
        every: int = 1,
        sharpness: bool = True,
    ) -> c.Run:
        about = f"{flow!r} {float(objective.value(x0))!r} {steps} {every} {sharpness}"
        name = digest(np.frombuffer(about.encode(), np.uint8), x0)[:16]
        file = self._folder / f"{name}.npz"
        if file.exists():
            return _load(file)
        run = c.measure(flow, objective, x0, steps, every, sharpness)
        self._folder.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".unfinished.npz")
        np.savez(unfinished, **{k: v for k, v in asdict(run).items() if v is not None})
        unfinished.rename(file)
        return run

    def remove(self) -> None:
        """At the end, when the script has written what it makes of them."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _load(file: Path) -> c.Run:
    with np.load(file) as found:
        run: dict[str, Any] = {field.name: found.get(field.name) for field in fields(c.Run)}
    return c.Run(**run | {"status": str(run["status"]), "seconds": float(run["seconds"])})
