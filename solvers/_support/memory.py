"""Available memory."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def fitting(name: str, value: object, *shape: int) -> None:
    """Check that there is memory for a few float64 arrays of a shape.

    Raises
    ------
    ValueError
        Not enough memory is available; the message names the argument that determines the shape.
    """
    amount, available = 4 * 8 * math.prod(shape), available_memory()
    if amount > (2**40 if available is None else available):
        raise ValueError(
            f"{name} must be smaller, got {value}: its arrays take {amount // 10**9:,} GB, more than is available"
        )


def available_memory() -> int | None:
    """Bytes that this process may still allocate, by the machine and its control group; None where unknown."""
    found = [amount for amount in (_of_machine(), *_of_groups()) if amount is not None]
    return min(found, default=None)


def _of_machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (OSError, ValueError, AttributeError, IndexError):
        return None


def _of_groups() -> list[int]:
    """Bytes left in the process's control groups and their ancestors, of cgroup version 1 or 2."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    left = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, limit, used = CGROUPS, "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            root, limit, used = CGROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        folder = root / path.lstrip("/")
        while folder.is_relative_to(root):
            amounts = [_number(folder / name) for name in (limit, used)]
            if None not in amounts:
                left.append(max(0, amounts[0] - amounts[1]))  # type: ignore[operator]
            if folder == root:
                break
            folder = folder.parent
    return left


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # there is no such group, or "max"
        return None
