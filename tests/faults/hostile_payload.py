"""What a hostile file would run if anything ran it."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import numpy as np

COMMAND = "true hostile-payload"


class Payload:
    """Pickles as a call of something that no data file has a need to call."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.call = CALLS[rng.integers(len(CALLS))]

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


CALLS: tuple[tuple[Any, tuple[Any, ...]], ...] = (
    (os.system, (COMMAND,)),
    (eval, ("__import__('os').getpid()",)),
    (exec, ("import os",)),
    (subprocess.call, (["true"],)),
    (os.mkdir, ("hostile-payload-folder",)),
    (open, ("hostile-payload-file", "w")),
    (__import__, ("antigravity_that_is_not_there",)),
)
