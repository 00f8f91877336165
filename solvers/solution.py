"""The result of `solve`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from solvers._support.reprs import described
from solvers.objective import Array
from solvers.state import State

if TYPE_CHECKING:
    import xarray


@dataclass
class Solution:
    """The result of `solve`. The first axis of arrays is the saved times.

    Examples
    --------
    >>> parabola = meanfield.landscapes.Landscape(lambda x: 2 * x[0] ** 2)
    >>> solution = solvers.solve(solvers.GradientDescent(0.4), parabola, [1.0], steps=4, save_every=2)
    >>> solution.status, solution.times, solution.centers.shape
    ('complete', array([0., 2., 4.]), (3, 1))
    """

    times: NDArray[np.float64]  #: (s,), in iterations of gradient descent
    centers: Array  #: (s, *x)
    fluctuations: Array  #: (s, *x) or (s, r, *x)
    fluctuation_trace: NDArray[np.float64]  #: (s,), tr Σ
    losses: NDArray[np.float64]  #: (s,), E at the center
    predicted_losses: NDArray[np.float64]  #: (s,), the loss averaged over the oscillation
    free_energies: NDArray[np.float64]  #: (s,), F = predicted loss − tr Σ/η
    dissipated: NDArray[np.float64]  #: (s,), ∫ (dF/dt) dt, by the integrator; NaN for maps
    iterates: Array | None  #: (s, *x), gradient descent only
    #: "complete"; "diverged", stopped at the first non-finite state, or some loss is not finite; "failed", the integrator could
    #: not continue, or memory ran out; or "interrupted", by Ctrl-C
    status: str
    message: str  #: where and why it ended, if it is not complete
    #: to continue from: ``solve(flow, objective, solution.state, …)``
    state: State = field(repr=False)
    #: (m, k), the largest of the Hessian at the center, NaN where they did not converge; None if they were not asked for
    eigenvalues: NDArray[np.float64] | None = None
    eigenvalue_times: NDArray[np.float64] | None = None  #: (m,)

    def __repr__(self) -> str:
        """Status and message first, the arrays by their shapes."""
        names = ("status", "message", *(f.name for f in fields(self) if f.repr))
        values = {name: getattr(self, name) for name in names}
        optional = ("eigenvalues", "eigenvalue_times")
        shown = {k: v for k, v in values.items() if not (k in optional and v is None)}
        return described("Solution", shown.items())

    def to_xarray(self) -> xarray.Dataset:
        """The solution as a dataset over `time`; status, message and the flow are its attributes.

        An array x (N, D) has the dimensions `particle` and `parameter`, one (D,) has `parameter`, any other `x1`, `x2`, ….

        Raises
        ------
        ImportError
            xarray is not installed: it comes with the extra `xarray`.
        """
        try:
            import xarray
        except ImportError as error:
            raise ImportError(
                'to_xarray needs the extra `xarray`: pip install "meanfield-eos[xarray]"'
            ) from error
        point = _dimensions(self.centers.ndim - 1)
        modes = ("mode",) * (self.fluctuations.ndim - self.centers.ndim)
        variables: dict[str, Any] = {
            "center": (("time", *point), self.centers),
            "fluctuation": (("time", *modes, *point), self.fluctuations),
            "fluctuation_trace": ("time", self.fluctuation_trace),
            "loss": ("time", self.losses),
            "predicted_loss": ("time", self.predicted_losses),
            "free_energy": ("time", self.free_energies),
            "dissipated": ("time", self.dissipated),
        }
        coordinates: dict[str, Any] = {"time": self.times}
        if self.iterates is not None:
            variables["iterate"] = (("time", *point), self.iterates)
        if self.eigenvalues is not None:
            variables["eigenvalues"] = (("eigenvalue_time", "eig"), self.eigenvalues)
            coordinates["eigenvalue_time"] = self.eigenvalue_times
            coordinates["eig"] = np.arange(1, self.eigenvalues.shape[1] + 1)
        about = {"status": self.status, "message": self.message, "flow": repr(self.state.flow)}
        return xarray.Dataset(variables, coordinates, about)


def _dimensions(axes: int) -> tuple[str, ...]:
    named = {1: ("parameter",), 2: ("particle", "parameter")}
    return named.get(axes, tuple(f"x{i + 1}" for i in range(axes)))
