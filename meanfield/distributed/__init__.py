"""One particle system distributed over MPI ranks.

Particles are divided into G ≤ 16 groups, and every rank has some of the groups. A gradient needs from the other ranks
only the network's outputs at the n data: each sums a σ(w·x) over its own groups, one in-place ``Allreduce`` of (G, n, c) numbers
gives all ranks the sums of all groups, and each adds them up in the order of the groups. As a number plus zero is that
number, the result is the same bit for bit for any number of ranks, and without MPI.

`spread` and `gathered` turn a `Risk` into one of the two objectives of this kind, whose methods are collective.
"""

from __future__ import annotations

import warnings
from typing import Any

from meanfield._kernels.threads import use_cores
from meanfield.distributed.agreement import describe_risk, require_same
from meanfield.distributed.communicator import Communicator
from meanfield.distributed.risk import GatheredRisk, SpreadRisk
from meanfield.risk import Risk
from solvers._support.moved import keep_importable

__all__ = ["Communicator", "GatheredRisk", "SpreadRisk", "gathered", "require_same", "spread"]

keep_importable({"meanfield.distributed.processes": "meanfield.distributed.communicator"})


def __getattr__(name: str) -> Any:
    """Old names, for one more version."""
    if name == "Processes":
        warnings.warn(
            "meanfield.distributed.Processes is now called Communicator; the old name goes in the next version",
            DeprecationWarning,
            stacklevel=2,
        )
        return Communicator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def spread(risk: Risk, n_particles: int, comm: Any = None) -> SpreadRisk:
    """The risk of N particles of which each rank of a communicator has a share.

    ``solvers.solve`` moves the shares, for every flow that is `particlewise`: a rank only stores its own
    rows of N × D arrays, and the scalars of a solution are those of the whole.

    Parameters
    ----------
    risk : Risk
        The same on every process, which is checked.
    n_particles : int
        N. There may be as many ranks as groups: ⌈N/32⌉, but from min(N, 4) to 8; ⌈N/256⌉ if that is more, up to 16.
    comm : mpi4py.MPI.Comm, optional
        By default ``MPI.COMM_WORLD``.

    Raises
    ------
    ValueError
        For fewer groups of particles than ranks; on every rank, if the risk or N differs between ranks.
    ImportError
        Without a communicator, where mpi4py is not installed.

    Examples
    --------
    On one rank, as here, it is the risk of all particles; with ``mpiexec -n 2`` each rank has half of them.

    >>> from meanfield import distributed
    >>> task = meanfield.tasks.Task([[1.0], [-1.0]], [1.0, -1.0])
    >>> risk = meanfield.Risk(meanfield.TwoLayerNetwork(input_dim=1), task)
    >>> x0 = risk.network.initialize(64, seed=0)

    >>> spread = distributed.spread(risk, n_particles=64)
    >>> spread.value(spread.own(x0)) == risk.value(x0)
    True
    """
    communicator = _communicator(comm)
    require_same(communicator.comm, describe_risk(risk) | {"n_particles": n_particles})
    return SpreadRisk(risk, n_particles, communicator)


def gathered(risk: Risk, comm: Any = None) -> GatheredRisk:
    """The risk of particles that every rank of a communicator stores completely, evaluated by all of them together.

    For methods that need all particles, such as rod flow, or an integrator with error control. Every rank does the same
    on the same arrays; the work of an evaluation is shared, and the rows of a gradient are exchanged (``Allgatherv``).

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

    Examples
    --------
    >>> from meanfield import distributed
    >>> task = meanfield.tasks.Task([[1.0], [-1.0]], [1.0, -1.0])
    >>> risk = meanfield.Risk(meanfield.TwoLayerNetwork(input_dim=1), task)
    >>> x0 = risk.network.initialize(64, seed=0)

    >>> gathered = distributed.gathered(risk)
    >>> np.array_equal(gathered.gradient(x0), risk.gradient(x0))
    True
    """
    communicator = _communicator(comm)
    require_same(communicator.comm, describe_risk(risk))
    return GatheredRisk(risk, communicator)


def _communicator(comm: Any) -> Communicator:
    communicator = Communicator.world() if comm is None else Communicator(comm)
    use_cores(communicator.cores())
    return communicator
