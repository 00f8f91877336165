"""Whether the mass of a flow with diffusion gathers in a point, as in a blow-up, and what a step that fails then says.

The law of the second moment, with μ_λ the density drawn together by λ towards its mean and a = d/d(log λ) E[μ_λ] at λ = 1:

    d/dt ∫ |x|² dμ = −2 η a

For E = T Ent + ½ ∬ s log|x − y|, a = ½ s − T d does not depend on μ, so that a density with a > 0 ends by the time m₂/(2 η a). A
minimising movement x from y has E[x·(x − y)] = −η τ a for the optimal plan. So m₂ falls by at least 2 η τ a in every step, as
E|x − y|² ≥ 0, and there is none if η τ > m₂/(4 a), as E|x|² + η τ a = E[x·y] ≤ (m₂ E|x|²)^½.
"""

from __future__ import annotations

import numpy as np

from solvers.jko.grid.energy import GridEnergy
from solvers.measures.energies import (
    Congestion,
    Domain,
    Energy,
    Functional,
    Interaction,
    Potential,
    Sum,
)
from solvers.measures.representations import Grid

#: Cells per axis, 1/Σ m² of them in all, on which the mass of a flow with diffusion is not resolved any more.
_CONCENTRATED = 1.25
#: Of a derivative by differences, and far inside of a cell.
_NEAR, _FAR = 1.0 - 2.0**-10, 2.0**-20
#: A decrease below this relative amount is rounding.
_ROUNDING = 1e-9
#: Of the longest step that has a minimiser, in units of m₂/(4 a): what densities bear whose shape changes too.
_SHARE = 0.5


def reason(
    energy: Energy, grid: Grid, state: Grid, pace: float, step_size: float, failure: str
) -> str:
    """Why the step of a pace ητ from one grid to another does not hold: a blow-up, or the failure that was found; or ""."""
    on_few = _on_few_cells(energy, grid, state)
    if not on_few and not failure:
        return ""
    known = _attracts(energy)
    endless = known and _falls_without_bound(energy, grid)
    if not endless:
        if not on_few:
            return failure
        why = (
            "the density is finer than the grid; give smaller cells"
            if known
            else "the density blows up, or is finer than the grid; give smaller cells to tell which"
        )
        return f"{on_few}: {why}"
    rate = _rate(energy, grid)
    moment = float(np.trace(np.atleast_2d(grid.covariance())))
    longest = moment / (4.0 * rate) if rate > 0 else np.inf
    too_long = pace > _SHARE * longest
    if not on_few and not too_long:
        return failure
    return _told(on_few, step_size, step_size / pace * longest if too_long else None)


def _told(on_few: str, step_size: float, longest: float | None) -> str:
    what = f"{on_few}: the density" if on_few else "the step has no minimiser: the density"
    what += " blows up, as the energy has no lower bound where mass gathers"
    if longest is None:
        return f"{what}; smaller cells and a smaller step_size come nearer to it, and nothing leads beyond"
    return (
        f"{what}, within about {2 * longest:.3g} from here; step_size must be below about {_SHARE * longest:.3g}, got "
        f"{step_size:g}, to follow it until then, and nothing leads beyond"
    )


def _on_few_cells(energy: Energy, grid: Grid, state: Grid) -> str:
    """That the new density is not resolved by the grid, or ""."""
    before, after = 1 / float(np.sum(grid.masses**2)), 1 / float(np.sum(state.masses**2))
    fewest = _CONCENTRATED**grid.dimension * 2**grid.dimension
    if not (after < min(before, fewest) and state.masses.size > 4 * fewest):
        return ""
    if not GridEnergy(energy, grid).diffuses:
        return ""
    return f"the mass concentrates on {after:.3g} cells in spite of diffusion"


def _attracts(energy: Energy) -> bool:
    """Whether it is known how the energy changes as mass gathers, and an interaction may be the cause."""
    if any(isinstance(term, Functional | Congestion) for term in energy.terms):
        return False
    return any(isinstance(term, Interaction) for term in energy.terms)


def _falls_without_bound(energy: Energy, grid: Grid) -> bool:
    """Whether the energy decreases as the density is drawn together far beyond the size of the cells."""
    terms = [term for term in energy.terms if not isinstance(term, Potential | Domain)]
    first, second = (_drawn_together(Sum(*terms), grid, scale, 0.0) for scale in (_FAR, 0.5 * _FAR))
    rounding = _ROUNDING * first.size(grid.masses)
    return bool(first.value(grid.masses) - second.value(grid.masses) > rounding)


def _rate(energy: Energy, grid: Grid) -> float:
    """a of the law of the second moment."""
    terms = Sum(*(term for term in energy.terms if not isinstance(term, Domain)))
    mean = grid.mean()
    whole, part = (
        _drawn_together(terms, grid, scale, mean).value(grid.masses) for scale in (1.0, _NEAR)
    )
    return float((whole - part) / -np.log(_NEAR))


def _drawn_together(energy: Energy, grid: Grid, scale: float, center: object) -> GridEnergy:
    """The energy on cells that are drawn together about the mean of the grid, which is moved to a center."""
    centers = np.broadcast_to(np.asarray(center, float), (grid.dimension,))
    edges = tuple(
        middle + scale * (axis - own)
        for axis, own, middle in zip(grid.edges, grid.mean(), centers, strict=True)
    )
    return GridEnergy(energy, Grid(edges, grid.masses))
