"""A description of the machine, as far as it affects speed and last digits."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from meanfield._cores import allowed_cores
from meanfield._kernels.threads import most_threads

CPU_INFO = Path("/proc/cpuinfo")


def machine() -> dict[str, Any]:
    """Platform, processor, available cores, threads of a kernel; nothing that identifies the machine or its user."""
    return {
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(allowed_cores()),
        "threads": most_threads(),
    }


def _processor() -> str:
    """The name of the processor's model where the system gives it (Linux), otherwise Python's description."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()
