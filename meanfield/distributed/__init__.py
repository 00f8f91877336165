"""One particle system spread over the processes of an MPI job.

Particles are cut into G ≤ 16 groups, and every process has some of the groups. A gradient needs of the other processes
only the network's outputs at the n data: each sums a σ(w·x) over its own groups, one in-place ``Allreduce`` of (G, n, c) numbers
puts the sums of all groups in all processes, and each adds them up in the order of the groups. As a number plus zero is that
number, the result is the same bit for bit however many processes there are, one without MPI included.

`spread` and `gathered` turn a `Risk` into one of the two objectives of this kind, to be used by all processes together.
"""

from __future__ import annotations

from typing import Any

from meanfield._kernels.threads import use_cores
from meanfield.distributed.agreement import describe_risk, require_same
from meanfield.distributed.processes import Processes
from meanfield.distributed.risk import GatheredRisk, SpreadRisk
from meanfield.risk import Risk

__all__ = ["GatheredRisk", "Processes", "SpreadRisk", "gathered", "require_same", "spread"]


def spread(risk: Risk, n_particles: int, comm: Any = None) -> SpreadRisk:
    """The risk of N particles of which each process of a communicator has its share.

    ``solvers.solve`` moves the shares, for every flow that is `particlewise`: of N × D arrays a process only ever holds its own
    rows, and the scalars of a solution are those of the whole.

    Parameters
    ----------
    risk : Risk
        The same on every process, which is checked.
    n_particles : int
        N. Of processes there may be as many as groups: ⌈N/32⌉, but from min(N, 4) to 8; ⌈N/256⌉ if that is more, up to 16.
    comm : mpi4py.MPI.Comm, optional
        By default ``MPI.COMM_WORLD``.

    Raises
    ------
    ValueError
        For fewer groups of particles than processes; on every process, where the risk or N is not the same on all.
    ImportError
        Without a communicator, where mpi4py is not installed.
    """
    processes = _processes(comm)
    require_same(processes.comm, describe_risk(risk) | {"n_particles": n_particles})
    return SpreadRisk(risk, n_particles, processes)


def gathered(risk: Risk, comm: Any = None) -> GatheredRisk:
    """The risk of particles that each process of a communicator has all of, evaluated by all of them together.

    For what needs the particles together, such as rod flow, or an integrator with an error control. Every process does the same
    on the same arrays; an evaluation's work is shared, and the rows of a gradient go around (``Allgatherv``).

    Parameters
    ----------
    risk : Risk
        The same on every process, which is checked.
    comm : mpi4py.MPI.Comm, optional
        By default ``MPI.COMM_WORLD``.

    Raises
    ------
    ValueError
        On every process, where the risk is not the same on all.
    ImportError
        Without a communicator, where mpi4py is not installed.
    """
    processes = _processes(comm)
    require_same(processes.comm, describe_risk(risk))
    return GatheredRisk(risk, processes)


def _processes(comm: Any) -> Processes:
    processes = Processes.world() if comm is None else Processes(comm)
    use_cores(processes.cores())
    return processes
