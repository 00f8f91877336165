"""Whether an MPI launcher started this process, told by the environment alone: without one nothing of MPI is ever imported."""

from __future__ import annotations

import os

# A launcher sets the variable of its kind: Hydra (MPICH, Intel MPI) and `srun --mpi=pmi2`, Open MPI, PMIx (`srun --mpi=pmix`).
_RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK")
_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


def launched_rank() -> int | None:
    """The number of this process in the job of an MPI launcher; None if none started it."""
    return _number(_RANKS)


def launched_size() -> int | None:
    """How many processes the launcher started, None if it does not say."""
    return None if launched_rank() is None else _number(_SIZES)


def is_first() -> bool:
    """Whether this process speaks for all: the first of a job, or the only one."""
    return launched_rank() in (None, 0)


def _number(names: tuple[str, ...]) -> int | None:
    for name in names:
        value = os.environ.get(name, "")
        if value.isdecimal():
            return int(value)
    return None
