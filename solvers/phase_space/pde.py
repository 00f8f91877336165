"""The kinetic equation of weights and fluctuations on a grid, for weights of one dimension."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from solvers._kernels import finite_volume
from solvers._support.arguments import (
    array,
    choice,
    count,
    instance,
    real,
    refusal,
    settle,
    wrong_shape,
)
from solvers.flow import as_iterate, check_learning_rate
from solvers.integrators import SchemeError
from solvers.measures.quantile_functions import Float64
from solvers.measures.representations import Grid
from solvers.phase_space.density import PhaseSpaceDensity, PhaseSpaceGrid
from solvers.phase_space.report import PhaseSpaceReport

LIMITERS = finite_volume.LIMITERS

# Masses and velocities of both stages and temporary arrays: ten arrays in float64.
_BYTES_PER_CELL = 80
# The velocities change with the law, at most by a small factor within an iteration.
_LARGEST_STEP = 1 / 8


@dataclass(frozen=True)
class PhaseSpacePDE:
    """The kinetic equation of gradient descent in the mean-field limit, for θ and u on the line:

        ∂_t p + ∂_θ (p θ̇) + ∂_u (p u̇) = η T ∂²_θ p,      θ̇ = −η ∂_θ F'[p],    u̇ = +η ∂_u F'[p],    t in iterations,

        F[p] = ½ (R[μ₊] + R[μ₋]) − (1/η) ∫ u² dp,      μ± = law of θ ± u under p,

    so that θ̇ = −(η/2) (g₊(θ + u) + g₋(θ − u)) and u̇ = (η/2) (g₊(θ + u) − g₋(θ − u)) − 2u with g± = ∇R'[μ±]. Its particle system
    is `FreeEnergyFlow`.

    Unsplit finite volumes with limited slopes and upwind fluxes; in time Heun's method, which is SSP: mass is conserved to
    rounding and never negative. On the grid μ± are measures on lattices of about rows + columns points, and g± are evaluated at
    as many points: the velocities are exactly those of the law on the grid.

    Order in the width h of the cells: two where p is smooth, in L1 and in the bulk of the marginals; at the ends of a compact
    support, where slopes are limited, W2 decreases slightly more slowly. Fluctuations that contract end in a law thinner than a
    cell, and W2 decreases like h. For a law on a curve, as for a start from particles, the limiter removes all slopes: while it
    moves across the cells it is spread as by upwind differences, and W2 decreases at least like √h.

    Parameters
    ----------
    learning_rate : float
        η > 0.
    temperature : float
        T ≥ 0, the noise of mean-field Langevin dynamics on θ.
    cells : (rows, columns)
        Along θ and along u, at least 4 each.
    domain : ((θ_min, θ_max), (u_min, u_max)), optional
        The initial domain of the grid; one side is widened, by at most √3, so that one spacing is an odd multiple of the
        other. By default square cells, on a domain 1.5 times as large as the start along θ and twice as large along u.
    max_cells : int
        The domain grows by half on every side that mass reaches, up to this number of cells, of 80 bytes each.
    limiter : {"mc", "minmod", "upwind"}
        Slope limiter; "upwind" uses no slopes and is of first order.
    cfl : float
        Time steps are this fraction, below 1, of the bound for positive masses (see ``_kernels.finite_volume``), and at most ⅛.
    outflow_tolerance : float
        The rate, in mass per iteration, at which mass may reach one side of the boundary (where it is kept) without the domain
        growing.

    Raises
    ------
    ValueError
        For a parameter out of range, or a grid larger than max_cells.

    Notes
    -----
    u relaxes at the rate 2: near u = U it crosses 2U/h cells per iteration, and a grid of n columns about 0 takes 2n steps.

    References
    ----------
    Chodron de Courcel, arXiv:2606.05326 (the equation). van Leer, J. Comput. Phys. 32, 101 (1979) (the slopes). Gottlieb, Shu,
    Tadmor, SIAM Rev. 43, 89 (2001) (positivity in time).

    Examples
    --------
    Without forces the centers stay where they are, and the fluctuations contract like e^(−2t).

    >>> free = solvers.energies.Potential(lambda x: 0 * x[:, 0])
    >>> pde = solvers.PhaseSpacePDE(0.1, cells=(32, 64), domain=((-1, 1), (-2, 2)))
    >>> law = pde.start(free, lambda theta, u: np.exp(-8 * theta**2 - 2 * (u - 1) ** 2))
    >>> later, report = pde.advance(free, law, time=1.0)
    >>> round(float(later.u_marginal().mean()[0] / law.u_marginal().mean()[0]), 2), round(float(np.exp(-2)), 2)
    (0.14, 0.14)
    >>> report.mass_error < 1e-12
    True
    """

    learning_rate: float
    temperature: float = 0.0
    cells: tuple[int, int] = (128, 128)
    domain: tuple[tuple[float, float], tuple[float, float]] | None = None
    max_cells: int = 2**22
    limiter: str = "mc"
    cfl: float = 0.9
    outflow_tolerance: float = 1e-9

    order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        settle(
            self,
            learning_rate=check_learning_rate(self.learning_rate),
            temperature=real("temperature", self.temperature, least=0),
            outflow_tolerance=real("outflow_tolerance", self.outflow_tolerance, least=0),
            cells=_checked_cells(self.cells),
            max_cells=count("max_cells", self.max_cells),
            cfl=real("cfl", self.cfl, above=0, below=1),
            limiter=choice("limiter", self.limiter, LIMITERS),
            domain=None if self.domain is None else _checked_domain(self.domain),
        )
        if self.cells[0] * self.cells[1] > self.max_cells:
            raise ValueError(
                f"cells must be fewer, got {self.cells}: {_excess(self.cells, self.max_cells)}"
            )

    def start(
        self, objective: Any, x0: Any | Callable[[Float64, Float64], Float64]
    ) -> PhaseSpaceDensity:
        """The law at t = 0.

        Parameters
        ----------
        objective : objective on measures
            ``value(x, weights)`` and ``gradient(x, weights, at)`` for particles x (N, 1), as of `meanfield.Risk`.
        x0 : (N,) or (N, 1), or a function
            The start of gradient descent: fluctuations u_0 = (η/2)∇R'[μ_0](x_0), centers x_0 − u_0, equal masses.
            Or p_0(θ, u) up to a factor, arrays (M,) in and out, averaged over the cells of `domain`.

        Raises
        ------
        ValueError
            For particles that are not finite, of another dimension than one or outside the domain, a function without a domain,
            with values that are negative or not finite, an objective that has no such methods.
        """
        if callable(x0):
            if self.domain is None:
                raise refusal("domain", "given where x0 is a function", None)
            grid = PhaseSpaceGrid.covering(self.domain, self.cells)
            cells = Grid.from_density(
                (grid.theta_edges, grid.u_edges), lambda x: x0(x[:, 0], x[:, 1]), nodes=4
            )
            density = PhaseSpaceDensity(grid.theta_edges, grid.u_edges, cells.masses)
            _check_on_measures(objective, density.mean_center)
            return density
        x = as_iterate(x0).astype(np.float64)
        x = x[:, None] if x.ndim == 1 else x
        if x.ndim != 2 or x.shape[1] != 1:
            raise wrong_shape("x0", "(N, 1), as θ has one dimension", x.shape)
        _check_on_measures(objective, x[0, 0])
        u = 0.5 * self.learning_rate * np.array(objective.gradient(x), dtype=np.float64)[:, 0]
        w = x[:, 0] - u
        domain = _domain_of(w, u, self.cells) if self.domain is None else self.domain
        return PhaseSpaceDensity.of_particles(PhaseSpaceGrid.covering(domain, self.cells), w, u)

    def advance(
        self, objective: Any, density: PhaseSpaceDensity, time: float, dt: float | None = None
    ) -> tuple[PhaseSpaceDensity, PhaseSpaceReport]:
        """The law a given time later, in iterations, and diagnostics.

        Parameters
        ----------
        dt : float, optional
            A fixed time step (the last one may be shorter); by default chosen at every step.

        Raises
        ------
        ValueError
            For a time or dt that is not a finite number above zero; a dt that does not keep the masses positive.
        SchemeError
            When mass would leave a domain that cannot grow further.
        FloatingPointError
            When the velocities are not finite.
        """
        instance("density", density, PhaseSpaceDensity)
        time = real("time", time, above=0)
        dt = None if dt is None else real("dt", dt, above=0)
        run = _Run(self, objective, density)
        while run.time < time:
            run.step(time, dt)
        report = PhaseSpaceReport(
            substeps=run.substeps,
            outflow=run.outflow,
            growths=run.growths,
            mass_error=abs(float(run.masses.sum()) - 1.0),
            dissipated=run.dissipated,
        )
        return PhaseSpaceDensity(run.grid.theta_edges, run.grid.u_edges, run.masses), report


class _Stage:
    """The velocities of a law, and derived quantities."""

    def __init__(self, pde: PhaseSpacePDE, objective: Any, grid: PhaseSpaceGrid, masses: Float64):
        (rows, columns), (h_theta, h_u), eta = grid.shape, grid.spacings, pde.learning_rate
        self.masses, self.limiter = masses, LIMITERS.index(pde.limiter)
        # In cells per unit of time, as are the velocities.
        self.diffusion = eta * pde.temperature / h_theta**2
        self.squares = -(h_theta**2) / eta, h_u**2 / eta
        gradients = [
            np.array(objective.gradient(x[:, None], weights=p, at=at[:, None]), np.float64)[:, 0]
            for x, p, at in zip(grid.lattices, grid.laws(masses), grid.face_lattices, strict=True)
        ]
        if not all(np.all(np.isfinite(g)) for g in gradients):
            raise FloatingPointError("the velocity is not finite")
        self.down, self.right = np.empty((rows + 1, columns)), np.empty((rows, columns + 1))
        scales = 0.5 * eta / h_theta, 0.5 * eta / h_u, 2.0 / h_u
        finite_volume.face_velocities(
            *gradients, grid.u_edges, *grid.strides, *scales, self.down, self.right
        )

    def largest_dt(self) -> float:
        """The largest time step for which no mass becomes negative."""
        rate = finite_volume.largest_loss_rate(self.diffusion, self.masses, self.down, self.right)
        # Reduced by a margin for rounding.
        return (1.0 - 1e-12) / rate if rate > 0 else math.inf

    def outflows(self) -> Float64:
        """Rates at which mass would leave through each side, lower and upper in θ, then in u, if it were not kept inside."""
        m, down, right = self.masses, self.down, self.right
        return np.array(
            [
                m[0] @ (np.maximum(-down[0], 0.0) + self.diffusion),
                m[-1] @ (np.maximum(down[-1], 0.0) + self.diffusion),
                m[:, 0] @ np.maximum(-right[:, 0], 0.0),
                m[:, -1] @ np.maximum(right[:, -1], 0.0),
            ]
        )

    def rates(self) -> tuple[Float64, float]:
        """ṁ, and dF/dt: over every face, the flux times the jump of F', which is −θ̇ h/η or u̇ h/η."""
        rates = np.empty_like(self.masses)
        powers = finite_volume.mass_rates(
            self.limiter, self.diffusion, self.masses, self.down, self.right, rates
        )
        return rates, self.squares[0] * powers[0] + self.squares[1] * powers[1]


class _Run:
    """The state of a running `advance`."""

    def __init__(self, pde: PhaseSpacePDE, objective: Any, density: PhaseSpaceDensity):
        self.pde, self.objective = pde, objective
        self.grid, self.masses = density.grid, density.masses
        self.time, self.substeps, self.growths = 0.0, 0, 0
        self.outflow, self.dissipated = 0.0, 0.0

    def step(self, end: float, fixed: float | None) -> None:
        """One time step, not beyond the end; where mass would leave in a stage, the domain grows instead."""
        first = self._stage(self.masses)
        if self._grow(first):
            return
        if fixed is None:
            wanted = min(self.pde.cfl * first.largest_dt(), _LARGEST_STEP)
        else:
            wanted = fixed
            self._check_fixed(fixed, first)
        remaining = end - self.time
        # Rounding must not leave a tiny last step.
        dt = remaining if wanted > (1.0 - 1e-9) * remaining else wanted
        first_rates, first_power = first.rates()
        while True:
            predicted = self._combine(1.0, self.masses, dt, first_rates)
            second = self._stage(predicted)
            if dt <= second.largest_dt():
                break
            if fixed is not None:
                self._check_fixed(fixed, second)
            dt = min(0.5 * dt, self.pde.cfl * second.largest_dt())
        if self._grow(second):
            return
        second_rates, second_power = second.rates()
        self.masses = self._combine(0.5, predicted, dt, second_rates)
        self.outflow += 0.5 * dt * float(np.sum(first.outflows() + second.outflows()))
        self.dissipated += 0.5 * dt * (first_power + second_power)
        self.substeps += 1
        self.time = end if dt == remaining else self.time + dt

    def _stage(self, masses: Float64) -> _Stage:
        return _Stage(self.pde, self.objective, self.grid, masses)

    def _combine(self, share: float, new: Float64, dt: float, rates: Float64) -> Float64:
        out = np.empty_like(new)
        finite_volume.combine(share, self.masses, new, dt, rates, out)
        return out

    def _check_fixed(self, dt: float, stage: _Stage) -> None:
        if dt > stage.largest_dt():
            raise ValueError(
                f"dt must be at most {stage.largest_dt():.3g} for positive masses "
                f"after {self.time:.6g} iterations, got {dt!r}"
            )

    def _grow(self, stage: _Stage) -> bool:
        """Enlarge the domain by half of its cells on every side that mass of this stage would leave; whether there is one."""
        leaking = stage.outflows() > self.pde.outflow_tolerance
        if not np.any(leaking):
            return False
        rows, columns = self.grid.shape
        more = np.repeat([(rows + 1) // 2, (columns + 1) // 2], 2)
        cells = [int(n) for n in np.where(leaking, more, 0)]
        larger = rows + cells[0] + cells[1], columns + cells[2] + cells[3]
        if larger[0] * larger[1] > self.pde.max_cells:
            raise SchemeError(
                f"mass would leave the domain, θ from {self.grid.theta_edges[0]:.6g} to {self.grid.theta_edges[-1]:.6g}, "
                f"u from {self.grid.u_edges[0]:.6g} to {self.grid.u_edges[-1]:.6g}, and a larger one has too many cells: "
                f"{_excess(larger, self.pde.max_cells)}"
            )
        self.grid = self.grid.padded(cells)
        self.masses = np.pad(self.masses, (tuple(cells[:2]), tuple(cells[2:])))
        self.growths += 1
        return True


def _excess(cells: tuple[int, int], max_cells: int) -> str:
    count = int(cells[0]) * int(cells[1])
    return (
        f"{count:,} cells would take {count * _BYTES_PER_CELL / 2**30:.3g} GiB, more than max_cells={max_cells:,} with "
        f"{max_cells * _BYTES_PER_CELL / 2**30:.3g} GiB"
    )


def _checked_cells(cells: Any) -> tuple[int, int]:
    if isinstance(cells, np.ndarray):
        cells = cells.tolist()
    if not isinstance(cells, Sequence) or isinstance(cells, str | bytes) or len(cells) != 2:
        raise refusal("cells", "two integers of at least 4", cells)
    return count("cells", cells[0], 4), count("cells", cells[1], 4)


def _checked_domain(domain: Any) -> tuple[tuple[float, float], tuple[float, float]]:
    bounds = array("domain", domain).astype(np.float64)
    if not (
        bounds.shape == (2, 2)
        and np.all(np.isfinite(bounds))
        and np.all(bounds[:, 0] < bounds[:, 1])
    ):
        condition = "((θ_min, θ_max), (u_min, u_max)) with finite, increasing bounds"
        raise refusal("domain", condition, domain)
    (low, high), (u_low, u_high) = bounds.tolist()
    return (low, high), (u_low, u_high)


def _domain_of(
    w: Float64, u: Float64, cells: tuple[int, int]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """A domain of square cells, 1.5 times as large as the particles' extent along θ and twice along u, about 0."""
    width, height = 1.5 * float(np.ptp(w)), 4.0 * float(np.max(np.abs(u)))
    spacing = max(width / cells[0], height / cells[1]) or 1.0 / max(cells)
    middle = 0.5 * float(w.min() + w.max())
    half_width, half_height = 0.5 * spacing * cells[0], 0.5 * spacing * cells[1]
    return (middle - half_width, middle + half_width), (-half_height, half_height)


def _check_on_measures(objective: Any, x: float) -> None:
    """Check, at one particle, that the objective takes weighted particles of one dimension."""
    point, weights = np.full((1, 1), x), np.ones(1)
    try:
        gradient = np.asarray(objective.gradient(point, weights=weights, at=point))
        float(objective.value(point, weights=weights))
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            "objective must have value(x, weights) and gradient(x, weights, at) for particles of one dimension, "
            f"got a {type(getattr(objective, 'original', objective)).__name__} that raises: {error}"
        ) from error
    if gradient.shape != (1, 1):
        raise wrong_shape("objective.gradient of x (1, 1)", (1, 1), gradient.shape)
