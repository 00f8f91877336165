"""What a measure is represented by: the cells of a grid, particles, or quantiles."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated

import numpy as np

import solvers
from meanfield.study.config.measure.laws import Law
from solvers._support.annotations import Ge, checked
from solvers._support.arguments import refusal

Count = Annotated[int, Ge(1)]
_PLAN_BYTES = (
    16  # for every pair of particles: the costs of an exact plan and what it is found from
)


class Space(ABC):
    """A representation."""

    @abstractmethod
    def start(self, law: Law, seed: int) -> solvers.Grid | solvers.Particles | solvers.Quantiles:
        """A law in it."""

    @abstractmethod
    def bytes(self) -> int:
        """Estimated, of a step."""


class Grid(Space):
    """A grid of equal cells on an interval, a rectangle or a box, whose walls no mass crosses.

    Parameters
    ----------
    cells : array of integers
        Along each of one to three axes.
    low, high : array of numbers
        The ends of each axis.
    """

    @checked
    def __init__(
        self, cells: tuple[Count, ...], low: tuple[float, ...], high: tuple[float, ...]
    ) -> None:
        if not 1 <= len(cells) <= 3:
            raise refusal("cells", "of one to three integers", cells)
        for name, ends in (("low", low), ("high", high)):
            if len(ends) != len(cells):
                raise refusal(name, f"of as many numbers as there are cells, {len(cells)}", ends)
        if not all(a < b for a, b in zip(low, high, strict=True)):
            raise refusal("high", f"above low along every axis, {low}", high)
        self.cells, self.low, self.high = cells, low, high

    def start(self, law: Law, seed: int) -> solvers.Grid:
        axes = zip(self.low, self.high, self.cells, strict=True)
        return law.on_grid(tuple(np.linspace(a, b, n + 1) for a, b, n in axes))

    def bytes(self) -> int:
        from solvers.jko.grid.steps import step_bytes

        return step_bytes(self.cells)


class Particles(Space):
    """Particles of equal masses, of any dimension; with an .npz file of any masses.

    Parameters
    ----------
    count : int
        N ≥ 1.
    dimension : int
        D ≥ 1.
    """

    @checked
    def __init__(self, count: Count, dimension: Count = 1) -> None:
        self.count, self.dimension = count, dimension

    def start(self, law: Law, seed: int) -> solvers.Particles:
        return law.as_particles(self.count, self.dimension, seed)

    def bytes(self) -> int:
        return self.count * (self.dimension * 1000 + _PLAN_BYTES * min(self.count, 2000))


class Quantiles(Space):
    """The quantile function of a measure on the line.

    Parameters
    ----------
    cells : int
        n ≥ 1, each of mass 1/n.
    """

    @checked
    def __init__(self, cells: Count) -> None:
        self.cells = cells

    def start(self, law: Law, seed: int) -> solvers.Quantiles:
        return law.on_line(self.cells)

    def bytes(self) -> int:
        return 1000 * self.cells


#: A new representation is its class and its line here.
SPACES: Mapping[str, type[Space]] = {"grid": Grid, "particles": Particles, "quantiles": Quantiles}


def cells_in_words(space: Space) -> str:
    """How many cells or particles there are."""
    if isinstance(space, Grid):
        return f"{' × '.join(map(str, space.cells))} = {math.prod(space.cells)} cells"
    return f"{space.count} particles" if isinstance(space, Particles) else f"{space.cells} cells"  # type: ignore[attr-defined]
