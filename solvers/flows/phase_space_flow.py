"""The phase-space PDE as a flow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar

import numpy as np

from solvers._support.annotations import Ge
from solvers.flow import SteppedFlow, Tolerance
from solvers.objective import Array
from solvers.phase_space.density import PhaseSpaceDensity
from solvers.phase_space.pde import PhaseSpacePDE

_CELL_ARRAYS = 40  # of the size of the grid that a step holds, measured: rounded up
_HEADER = 7  # particles, rows, columns, the first edge and the spacing of θ, those of u


@dataclass(frozen=True)
class PhaseSpaceFlow(SteppedFlow):
    """The kinetic equation solved by `PhaseSpacePDE`, started from N particles (N, 1) as gradient descent is.

    Risk, fluctuation, free energy and dissipation are those of the law on the grid. Center and fluctuation, (N, 1), are N equal
    particles of that law, its quantiles (see `PhaseSpaceDensity.particles`): particle i does not correspond to neuron i of
    gradient descent, so Wasserstein distances to it are meaningful and particle-by-particle distances are not.

    Parameters
    ----------
    learning_rate : float
        η > 0.
    temperature : float
        T ≥ 0 of the diffusion of the weights.
    cells : (int, int)
        Cells of the grid along θ and along u at the start.
    max_cells : int
        A domain that would grow beyond so many cells in all is refused.

    Raises
    ------
    ValueError
        For a parameter out of range, or particles of more than one coordinate.

    Notes
    -----
    Diagnostics, the largest over the iterations since the last observation: `substeps` in time, `outflow` (mass that reached the
    boundary of the domain and was kept inside), `growths` of the domain, `mass_error`. The state is one array: the number of
    particles, the number of cells, their positions and masses; `density` decodes it.

    References
    ----------
    Chodron de Courcel, arXiv:2606.05326.

    Examples
    --------
    In the potential 2θ² the mean of θ decays like e^(−4ηt), from w_0 = x_0 − (η/2)·4x_0.

    >>> energy = solvers.energies.Potential(lambda x: 2 * x[:, 0] ** 2)
    >>> x0 = np.linspace(0.5, 1.5, 200)[:, None]
    >>> solution = solvers.solve(solvers.PhaseSpaceFlow(0.1, cells=(64, 64)), energy, x0, steps=5)
    >>> round(float(solution.centers[-1].mean()), 2), round(float(0.8 * np.exp(-2)), 2)
    (0.11, 0.11)
    """

    learning_rate: float
    temperature: Annotated[float, Ge(0)] = 0.0
    cells: tuple[Annotated[int, Ge(4)], Annotated[int, Ge(4)]] = (128, 128)
    max_cells: Annotated[int, Ge(1)] = 2**22
    name: ClassVar[str] = "phase_space"
    diagnostic_names: ClassVar[tuple[str, ...]] = ("substeps", "outflow", "growths", "mass_error")
    order: ClassVar[int] = 2
    default_dt: ClassVar[float] = 1.0
    labelled: ClassVar[bool] = False
    tolerances: ClassVar[Mapping[str, Tolerance]] = {
        "mass_error": Tolerance(1e-10, "mass is lost or gained, up to")
    }

    @classmethod
    def other_bytes(cls, options: Mapping[str, Any]) -> int:
        rows, columns = options["cells"]
        return _CELL_ARRAYS * 8 * int(rows) * int(columns)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._pde  # noqa: B018  (refuses options that do not go together)

    @property
    def balanced(self) -> bool:
        return True

    @cached_property
    def _pde(self) -> PhaseSpacePDE:
        return PhaseSpacePDE(
            self.learning_rate, self.temperature, self.cells, max_cells=self.max_cells
        )

    def density(self, state: Array) -> PhaseSpaceDensity:
        """The law of centers and fluctuations encoded in a state."""
        _, rows, columns, theta, theta_step, u, u_step = state[:_HEADER]
        return PhaseSpaceDensity(
            theta + theta_step * np.arange(rows + 1),
            u + u_step * np.arange(columns + 1),
            state[_HEADER:].astype(np.float64).reshape(int(rows), int(columns)),
        )

    def start(self, objective: Any, x0: Array) -> Array:
        """The law of the particles on the grid."""
        return _packed(self._pde.start(objective, x0), len(x0))

    def advance(self, objective: Any, state: Array, dt: float) -> Array:
        return self.advance_reporting(objective, state, dt)[0]

    def advance_reporting(
        self, objective: Any, state: Array, dt: float
    ) -> tuple[Array, dict[str, float]]:
        density, report = self._pde.advance(objective, self.density(state), dt)
        names = (*self.diagnostic_names, "dissipated")
        numbers = {name: float(getattr(report, name)) for name in names}
        return _packed(density, int(state[0])), numbers

    def center(self, step: int, state: Array) -> Array:
        return self.density(state).particles(int(state[0]))[0]

    def fluctuation(self, step: int, state: Array) -> Array:
        return self.density(state).particles(int(state[0]))[1]

    def fluctuation_trace(self, objective: Any, step: int, state: Array) -> float:
        return self.density(state).fluctuation_trace

    def predicted_loss(self, objective: Any, step: int, state: Array) -> float:
        return self.density(state).mean_loss(objective)


def _packed(density: PhaseSpaceDensity, particles: int) -> Array:
    grid = density.grid
    (theta_step, u_step), shape = grid.spacings, grid.shape
    header = [particles, *shape, grid.theta_edges[0], theta_step, grid.u_edges[0], u_step]
    return np.concatenate([header, density.masses.ravel()])
