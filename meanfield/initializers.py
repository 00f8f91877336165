"""Initial particles of a network: the laws from which they are drawn, or a file that has them."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from meanfield.data_files.npz import read_arrays
from solvers._support.annotations import Interval, check
from solvers._support.arguments import settle, the_path

__all__ = ["Initializer", "Normal", "Npz", "Uniform"]

# up to where no draw overflows in float64
Scale = Annotated[float, Interval(ge=0, le=1e300)]


class Initializer(ABC):
    """Gives the initial particles of a network; see `meanfield.TwoLayerNetwork.initialize`.

    Examples
    --------
    >>> network = meanfield.TwoLayerNetwork(input_dim=1)
    >>> class Ones(meanfield.initializers.Initializer):
    ...     def draw(self, names, n_particles, seed):
    ...         return np.ones((n_particles, len(names)))
    >>> network.initialize(2, init=Ones())
    array([[1., 1., 1.],
           [1., 1., 1.]])
    """

    #: Whether it gives any number of particles, fewer being the first of more.
    any_width: ClassVar[bool] = True

    @abstractmethod
    def draw(self, names: Sequence[str], n_particles: int, seed: int) -> NDArray[Any]:
        """Particles (N, D) whose D coordinates have these names, those of `TwoLayerNetwork.parameter_names`.

        The first n rows of a wider draw with the same seed are the narrower draw.
        """


@dataclass(frozen=True)
class _Law(Initializer):
    """Independent coordinates of one law, times the scale of their kind."""

    output_scale: Scale = 1.0
    input_scale: Scale = 1.0
    bias_scale: Scale = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            settle(self, **{field.name: check(field.name, getattr(self, field.name), Scale)})

    @staticmethod
    @abstractmethod
    def _unscaled(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Coordinates of scale 1."""

    def draw(self, names: Sequence[str], n_particles: int, seed: int) -> NDArray[np.float64]:
        """See `Initializer.draw`."""
        scales = {"a": self.output_scale, "w": self.input_scale}
        scales |= {"b": self.bias_scale, "c": self.bias_scale}
        particles = self._unscaled(np.random.default_rng(seed), (n_particles, len(names)))
        particles *= [scales[name[0]] for name in names]
        return particles


@dataclass(frozen=True)
class Normal(_Law):
    """Independent normal coordinates of mean 0: ``a ~ N(0, s_a²)``, ``w ~ N(0, s_w²)``, ``b ~ N(0, s_b²)``.

    Parameters
    ----------
    output_scale : float
        Standard deviation s_a of the output weights a, from 0 to 1e300; no effect where they are fixed.
    input_scale : float
        Standard deviation s_w of the input weights w, from 0 to 1e300.
    bias_scale : float
        Standard deviation s_b of the biases b and of the output biases v, from 0 to 1e300; no effect where there are none.

    Raises
    ------
    ValueError
        A scale is out of range.

    Examples
    --------
    Output weights of scale 0 make the network start at f = 0.

    >>> network = meanfield.TwoLayerNetwork(input_dim=2)
    >>> start = network.initialize(100, seed=0, init=meanfield.initializers.Normal(output_scale=0.0))
    >>> start.shape, float(abs(start[:, 0]).max())
    ((100, 4), 0.0)
    """

    @staticmethod
    def _unscaled(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
        return rng.standard_normal(shape)


@dataclass(frozen=True)
class Uniform(_Law):
    """Independent coordinates, uniform on ``[−s, s)`` with the scale s of their kind; their variance is s²/3.

    Parameters
    ----------
    output_scale : float
        s for the output weights a, from 0 to 1e300; no effect where they are fixed.
    input_scale : float
        s for the input weights w, from 0 to 1e300.
    bias_scale : float
        s for the biases b and the output biases v, from 0 to 1e300; no effect where there are none.

    Raises
    ------
    ValueError
        A scale is out of range.

    Examples
    --------
    >>> network = meanfield.TwoLayerNetwork(input_dim=2)
    >>> start = network.initialize(100, seed=0, init=meanfield.initializers.Uniform(input_scale=0.5))
    >>> bool(abs(start[:, 1:3]).max() <= 0.5)
    True
    """

    @staticmethod
    def _unscaled(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
        particles = rng.random(shape)
        particles *= 2
        particles -= 1
        return particles


@dataclass(frozen=True)
class Npz(Initializer):
    """The particles in the array ``particles`` (N, D) of an .npz file, the columns in the order of `parameter_names`.

    They must be as many as the network has; the seed is without effect.

    Parameters
    ----------
    path : path
        The file, read when the particles are needed. Nothing in it is ever unpickled.

    Raises
    ------
    ValueError
        The path is none. On use: there is no such file, it has no such array of real numbers, or the array has another shape.

    Examples
    --------
    >>> np.savez("start.npz", particles=[[1.0, 2.0, 3.0]])
    >>> network = meanfield.TwoLayerNetwork(input_dim=1)
    >>> network.initialize(1, init=meanfield.initializers.Npz("start.npz"))
    array([[1., 2., 3.]])
    """

    any_width: ClassVar[bool] = False

    path: str | os.PathLike[str]

    def __post_init__(self) -> None:
        settle(self, path=the_path("path", self.path))

    def draw(self, names: Sequence[str], n_particles: int, seed: int) -> NDArray[Any]:
        """See `Initializer.draw`."""
        path = the_path("path", self.path)
        try:
            particles = read_arrays(path, ("particles",))["particles"]
        except (OSError, ValueError) as error:
            missing = isinstance(error, FileNotFoundError)
            reason = "there is no such file" if missing else error
            raise ValueError(
                f"init.path must be an .npz file with an array 'particles', got {str(path)!r}: {reason}"
            ) from error
        if particles.shape != (n_particles, len(names)):
            raise ValueError(
                f"init.path must be of particles of shape {(n_particles, len(names))}, one row for each neuron, "
                f"got {str(path)!r} with shape {particles.shape}"
            )
        return particles


#: The initializers by the name that a configuration gives them; the keys of ``network.init`` are their parameters.
INITIALIZERS: dict[str, type[Initializer]] = {"normal": Normal, "uniform": Uniform, "npz": Npz}
