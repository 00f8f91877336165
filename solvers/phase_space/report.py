"""Diagnostics of the PDE's scheme."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PhaseSpaceReport:
    """Diagnostics of an `advance`.

    Attributes
    ----------
    substeps : int
        Time steps.
    outflow : float
        Mass that reached the boundary of the domain and was kept inside.
    growths : int
        How often the domain was enlarged.
    mass_error : float
        |mass − 1| at the end.
    dissipated : float
        ∫ (dF/dt) dt by the scheme's own fluxes, with dF/dt = −η‖∂_θF'‖² + η‖∂_uF'‖² and the contribution of the diffusion;
        F(t) − F(0) for the exact solution.

    Examples
    --------
    >>> free = solvers.energies.Potential(lambda x: 0 * x[:, 0])
    >>> pde = solvers.PhaseSpacePDE(0.1, cells=(8, 8), domain=((-1, 1), (-1, 1)))
    >>> law = pde.start(free, lambda theta, u: np.exp(-8 * theta**2 - 8 * u**2))
    >>> _, report = pde.advance(free, law, time=0.1)
    >>> report.growths, report.mass_error < 1e-12
    (0, True)
    """

    substeps: int
    outflow: float
    growths: int
    mass_error: float
    dissipated: float
