"""Where the processor seconds of a run go: timers around public calls, each counting only what no other one inside it counts."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

# What is timed: module, attribute (of a class behind a dot), and what its time is called.
_RISK = "meanfield.risk"
_WRITER = "meanfield.study.storage.writer"
CALLS = (
    (_RISK, "Risk.value", "kernels: value"),
    (_RISK, "Risk.gradient", "kernels: gradient"),
    (_RISK, "Risk.hvp", "kernels: Hessian product"),
    (_RISK, "Risk.third", "kernels: third derivative"),
    ("solvers", "top_eigenpairs", "eigenpairs"),
    ("meanfield.study.engine.center_distances", "Distances.between", "transport and distances"),
    (_WRITER, "RunWriter.observe", "output"),
    (_WRITER, "RunWriter.snapshot", "output"),
    (_WRITER, "RunWriter.position", "output"),
    (_WRITER, "RunWriter.compare", "output"),
    (_WRITER, "RunWriter.finish", "output"),
    (_WRITER, "RunWriter.__enter__", "output"),
    (_WRITER, "RunWriter.__exit__", "output"),
    (_WRITER, "read_run", "output"),
    ("meanfield.study.figures", "save_figures", "figures"),
)
#: Whatever is evaluated inside one of these is its own.
_CLOSED = {"eigenpairs", "transport and distances", "figures"}
REST = "the rest: flows, Python"


class Clock:
    """Exclusive seconds of processors by name: a timer pauses the one around it, unless that keeps what is inside for itself."""

    def __init__(self) -> None:
        self.shares: dict[str, float] = {REST: 0.0}
        self.calls: dict[str, int] = {}
        self._open = [REST]
        self._since = time.process_time()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            if self._open[-1] in _CLOSED:
                return function(*args, **options)
            self.calls[name] = self.calls.get(name, 0) + 1
            self._turn()
            self._open.append(name)
            try:
                return function(*args, **options)
            finally:
                self._turn()
                self._open.pop()

        return call

    def _turn(self) -> None:
        now = time.process_time()
        name = self._open[-1]
        self.shares[name] = self.shares.get(name, 0.0) + now - self._since
        self._since = now

    def stop(self) -> None:
        self._turn()


@contextmanager
def _timers(clock: Clock) -> Iterator[list[str]]:
    """Within it the calls are timed; yields those that there are not."""
    missing, undo = [], []
    for module, path, name in CALLS:
        *owners, attribute = path.split(".")
        try:
            owner = import_module(module)
            for part in owners:
                owner = getattr(owner, part)
            before = getattr(owner, attribute)
        except (ImportError, AttributeError):
            missing.append(f"{module}.{path}")
            continue
        own = attribute in vars(owner)
        setattr(owner, attribute, clock.timed(name, before))
        undo.append((owner, attribute, before, own))
    try:
        yield missing
    finally:
        for owner, attribute, before, own in undo:
            if own:
                setattr(owner, attribute, before)
            else:
                delattr(owner, attribute)


def profile(settings: Sequence[str] = ()) -> dict[str, Any]:
    """Run the default study with these settings, figures and all: seconds, shares and calls by name, what was not found."""
    from meanfield.study.config.run_config import load

    config = load(None, tuple(settings))
    runner, reader = import_module("meanfield.study.engine.run"), import_module(_WRITER)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, _timers(clock) as missing:
        path = runner.run(config, Path(folder) / "run")
        figures = import_module("meanfield.study.figures")
        record = reader.read_run(path)
        _draw(figures, record, path.parent / "figures")
        clock.stop()
    return {
        "seconds": sum(clock.shares.values()),
        "shares": clock.shares,
        "calls": clock.calls,
        "missing": missing,
    }


def _draw(figures: Any, record: Any, folder: Path) -> None:
    save = getattr(figures, "save_figures", None)
    if save is not None:
        save(record, folder)
