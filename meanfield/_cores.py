"""Processor cores available to this process."""

from __future__ import annotations

import os


def allowed_cores() -> frozenset[int]:
    """Numbers of the cores that this process may use; all cores where the system does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))
