"""Detection of MPI launchers from the environment: without one, nothing of MPI is imported."""

from __future__ import annotations

import os

# Variables set by launchers: Hydra (MPICH, Intel MPI) and `srun --mpi=pmi2`, Open MPI, PMIx (`srun --mpi=pmix`).
_RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK")
_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


def launched_rank() -> int | None:
    """The rank of this process in the job of an MPI launcher; None without one."""
    return _number(_RANKS)


def launched_size() -> int | None:
    """The number of ranks that the launcher started, None if unknown."""
    return None if launched_rank() is None else _number(_SIZES)


def is_first() -> bool:
    """Whether this process prints for all ranks: it is the first of a job, or the only one."""
    return launched_rank() in (None, 0)


def _number(names: tuple[str, ...]) -> int | None:
    for name in names:
        value = os.environ.get(name, "")
        if value.isdecimal():
            return int(value)
    return None
