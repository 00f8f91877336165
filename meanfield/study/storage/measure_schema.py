"""The snapshots of a measure in a run's file: a density on a grid, a quantile function, or weighted points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

import solvers
from solvers.measures.representations import Measure

#: The name of the process of a measure, and of its flow.
PROCESS, FLOW = "evolution", "wasserstein_gradient_flow"

Floats = NDArray[np.float64]
About = tuple[str, str]
TIME: About = ("time t of the Wasserstein gradient flow", "1")
#: Long name and units of what is measured at every step; the first row is the start, which no step has led to.
OBSERVABLES: dict[str, About] = {
    "energy": ("energy E of the measure", "1"),
    "balance": ("E(0) − E(t) less Σ W2²/ητ, of the order of the scheme in τ", "1"),
    "step_size": ("τ of the step that ends here", "1"),
    "transport_cost": ("W2² of that step", "1"),
    "excess": ("by how much its energy inequality is exceeded: at most 0 up to rounding", "1"),
    "residual": ("of its optimality conditions, as the scheme gives them", "1"),
    "iterations": ("of its inner solver", "1"),
    "error": ("W2 between the steps of both orders, NaN for steps of given size", "1"),
    "rejected": ("steps that were taken again, shorter, since the start", "1"),
    "wall_time": ("time on the clock since the process started", "s"),
}
_VARIABLES = {"grid": "density", "quantiles": "quantile", "particles": "position"}
_AXES = ("x1", "x2", "x3")


@dataclass(frozen=True, eq=False)
class MeasureLayout:
    """What snapshots of measures like this one consist of."""

    like: Measure

    @property
    def kind(self) -> str:
        """Grid, quantiles or particles."""
        return type(self.like).__name__.lower()

    @property
    def variable(self) -> str:
        """The name of the variable."""
        return _VARIABLES[self.kind]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one snapshot."""
        return self.values(self.like).shape

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """x1, x2, …"""
        return tuple(f"x{k + 1}" for k in range(self.like.dimension))

    def values(self, measure: Measure) -> Floats:
        """The array of a snapshot."""
        if isinstance(measure, solvers.Grid):
            return measure.density
        return measure.values if isinstance(measure, solvers.Quantiles) else measure.positions

    def scales(self) -> dict[str, tuple[Any, About]]:
        """The dimensions after time, with their coordinates."""
        if isinstance(self.like, solvers.Grid):
            axes = zip(_AXES, self.like.centers, strict=False)
            return {name: (centers, ("center of the cell", "1")) for name, centers in axes}
        if isinstance(self.like, solvers.Quantiles):
            levels = np.linspace(0.0, 1.0, len(self.like.values))
            return {"level": (levels, ("level of the quantile", "1"))}
        names = np.array(self.parameter_names, dtype=object)
        return {
            "particle": (np.arange(len(self.like.positions)), ("index of particle", "1")),
            "parameter": (names, ("coordinate of particle", "1")),
        }

    def constants(self) -> dict[str, tuple[Floats, tuple[str, ...], About]]:
        """Variables that do not change, with their dimensions."""
        if isinstance(self.like, solvers.Grid):
            bounds = zip(_AXES, self.like.edges, strict=False)
            about = ("edges of the cell", "1")
            return {
                f"{name}_bounds": (
                    np.stack([edges[:-1], edges[1:]], axis=1),
                    (name, "bound"),
                    about,
                )
                for name, edges in bounds
            }
        if isinstance(self.like, solvers.Particles):
            return {"weight": (self.like.weights, ("particle",), ("mass of particle", "1"))}
        return {}

    @property
    def about(self) -> About:
        """Long name and units of the variable."""
        names = {
            "density": "density of the measure, constant in each cell",
            "quantile": "quantile function of the measure, linear in between",
            "position": "positions of the particles",
        }
        return names[self.variable], "1"


def read_measure(group: h5py.Group, index: int) -> Measure:
    """A snapshot, from the group of the snapshots.

    Raises
    ------
    ValueError
        It is not a measure.
    """
    if "quantile" in group:
        return solvers.Quantiles(group["quantile"][index])
    if "position" in group:
        return solvers.Particles(group["position"][index], group["weight"][:])
    density = group["density"][index].astype(np.float64)
    bounds = [group[f"{name}_bounds"][:] for name in _AXES[: density.ndim]]
    edges = tuple(np.append(pairs[:, 0], pairs[-1:, 1]) for pairs in bounds)
    grid = solvers.Grid(edges, np.full(density.shape, 1.0 / density.size))
    masses = density * grid.volumes
    return solvers.Grid(edges, masses / masses.sum())


def points_of(measure: Measure) -> tuple[Floats, Floats]:
    """Points (N, D) and their masses: centers of the cells of a grid, and of those between quantiles."""
    if isinstance(measure, solvers.Grid):
        return measure.points, measure.masses.ravel()
    if isinstance(measure, solvers.Particles):
        return measure.positions, measure.weights
    q = measure.values
    return 0.5 * (q[1:] + q[:-1])[:, None], np.full(len(q) - 1, 1.0 / (len(q) - 1))


def names_of_snapshots(group: h5py.Group) -> tuple[dict[str, int], dict[str, int]]:
    """The variables of a group of snapshots, with their numbers of dimensions: those over time, and constants."""
    if "density" in group:
        dimension = next((k for k, name in enumerate(_AXES) if name not in group), len(_AXES))
        axes = _AXES[:dimension]
        return {"density": dimension + 1}, dict.fromkeys(axes, 1) | {f"{a}_bounds": 2 for a in axes}
    if "quantile" in group:
        return {"quantile": 2}, {"level": 1}
    return {"position": 3}, {"weight": 1}
