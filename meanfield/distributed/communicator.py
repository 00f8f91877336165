"""Communication between MPI ranks: the only module that imports mpi4py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from meanfield._cores import allowed_cores

Array = NDArray[np.floating[Any]]


class SupportsArrays(Protocol):
    """The collective operations that the objectives need."""

    @property
    def rank(self) -> int: ...
    @property
    def size(self) -> int: ...
    def add(self, array: Array) -> None: ...
    def join(self, rows: Array, counts: Sequence[int]) -> Array: ...
    def numbers(self, own: float) -> NDArray[np.float64]: ...


class Communicator:
    """An mpi4py communicator; arrays are exchanged as buffers, never pickled.

    Examples
    --------
    >>> from meanfield import distributed
    >>> ranks = distributed.Communicator.world()  # started without mpiexec
    >>> ranks.rank, ranks.size, ranks.numbers(2.5)
    (0, 1, array([2.5]))
    """

    def __init__(self, comm: Any) -> None:
        self.comm = comm

    @classmethod
    def world(cls) -> Communicator:
        """All ranks of the job.

        Raises
        ------
        ImportError
            mpi4py is not installed, or finds no MPI library.
        """
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            raise ImportError(
                f'mpi4py cannot be used: {error}; pip install "meanfield-eos[mpi]"'
            ) from error
        return cls(MPI.COMM_WORLD)

    @property
    def rank(self) -> int:
        """The number of this rank, from 0."""
        rank: int = self.comm.Get_rank()
        return rank

    @property
    def size(self) -> int:
        """The number of ranks."""
        size: int = self.comm.Get_size()
        return size

    def add(self, array: Array) -> None:
        """Overwrite the array with its sum over the ranks."""
        from mpi4py import MPI

        self.comm.Allreduce(MPI.IN_PLACE, array)

    def join(self, rows: Array, counts: Sequence[int]) -> Array:
        """The rows of all ranks concatenated; rank r has counts[r] of them."""
        rows = np.ascontiguousarray(rows)
        whole = np.empty((sum(counts), *rows.shape[1:]), rows.dtype)
        width = whole[:1].size
        self.comm.Allgatherv(rows, [whole, [count * width for count in counts]])
        return whole

    def numbers(self, own: float) -> NDArray[np.float64]:
        """One number of every rank, (size,)."""
        numbers = np.empty(self.size)
        self.comm.Allgather(np.array([own], dtype=np.float64), numbers)
        return numbers

    def cores(self) -> int:
        """Number of cores for this rank: a core shared by ranks of a machine counts in equal parts."""
        from mpi4py import MPI

        machine = self.comm.Split_type(MPI.COMM_TYPE_SHARED)
        allowed = allowed_cores()
        sharing = machine.allgather(allowed)
        machine.Free()
        return max(1, int(sum(1 / sum(core in cores for cores in sharing) for core in allowed)))


Processes = Communicator  # the name until version 0.2, for ``from meanfield.distributed.processes import Processes``
