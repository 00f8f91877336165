"""Two-layer networks in mean-field scaling."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from meanfield import _evaluation
from meanfield._kernels.data import Data
from meanfield.activations import ACTIVATIONS
from meanfield.initializers import Initializer, Normal
from solvers._support.arguments import (
    array,
    choice,
    count,
    flag,
    float_dtype,
    instance,
    refusal,
    settle,
    wrong_shape,
)
from solvers._support.memory import fitting

_STANDARD_NORMAL = Normal()


@dataclass(frozen=True)
class TwoLayerNetwork:
    """Two-layer network in mean-field scaling, one particle per neuron.

    A neuron is a particle θ = (a, w, b) in R^D, D = c + d + 1 (c + d without bias), and the network is the average

        f_ρ(x) = ∫ a σ(w·x + b) dρ(θ) = (1/N) Σ_i a_i σ(w_i·x + b_i).

    With ``train_output=False`` the output weights are fixed at a = 1 and the particles are θ = (w, b), D = d + 1, or w alone:
    with one input and no bias they are points on the line, f_ρ(x) = ∫ σ(θx) dρ(θ).

    With ``output_bias=True`` every particle has c further coordinates v, the last, and

        f_ρ(x) = ∫ (a σ(w·x + b) + v) dρ(θ) = (1/N) Σ_i (a_i σ(w_i·x + b_i) + v_i).

    The mean of the v_i is the trainable bias of the outputs; all v_i have the same gradient, up to weight decay.

    Parameters
    ----------
    input_dim, output_dim : int
        d and c, at least 1.
    activation : str
        σ, one of `meanfield.activations.ACTIVATIONS`. For relu the derivative at the kink is 0, and higher derivatives are
        0 everywhere.
    bias : bool
        Whether particles have the coordinate b.
    train_output : bool
        Whether particles have the coordinates a; without them there is one output.
    output_bias : bool
        Whether particles have the coordinates v, whose mean is the bias of the outputs.

    Raises
    ------
    ValueError
        For a dimension below 1, an unknown activation, or several outputs with fixed weights.

    References
    ----------
    Mei, Montanari, Nguyen, arXiv:1804.06561. Chizat, Bach, arXiv:1805.09545.

    Examples
    --------
    Two neurons θ = (a, w, b) on the line: f(x) = ½ (tanh(x) + 3 tanh(2x)).

    >>> network = meanfield.TwoLayerNetwork(input_dim=1)
    >>> network.parameter_names
    ['a0', 'w0', 'b']
    >>> f = network.forward(np.array([[1.0, 1.0, 0.0], [3.0, 2.0, 0.0]]), [[1.0]])
    >>> round(float(f[0, 0]), 6), round(float(np.tanh(1) + 3 * np.tanh(2)) / 2, 6)
    (1.826838, 1.826838)
    """

    input_dim: int
    output_dim: int = 1
    activation: str = "tanh"
    bias: bool = True
    train_output: bool = True
    output_bias: bool = False

    def __post_init__(self) -> None:
        settle(
            self,
            input_dim=count("input_dim", self.input_dim),
            output_dim=count("output_dim", self.output_dim),
            activation=choice("activation", self.activation, ACTIVATIONS),
            bias=flag("bias", self.bias),
            train_output=flag("train_output", self.train_output),
            output_bias=flag("output_bias", self.output_bias),
        )
        if not self.train_output and self.output_dim != 1:
            raise refusal("output_dim", "1 where train_output=False", self.output_dim)

    @cached_property
    def architecture(self) -> _evaluation.Architecture:
        """The parameters that the evaluation needs."""
        return _evaluation.Architecture(
            self.activation, self.output_dim, self.train_output, self.output_bias
        )

    @property
    def parameter_count(self) -> int:
        """D, the number of coordinates of a particle."""
        outputs = self.output_dim * (self.train_output + self.output_bias)
        return outputs + self.input_dim + self.bias

    @property
    def parameter_names(self) -> list[str]:
        """Names of the D coordinates in order: a0 … , w0 … , b, c0 … , the last being the output biases v."""
        names = [f"a{i}" for i in range(self.output_dim * self.train_output)]
        names += [f"w{j}" for j in range(self.input_dim)]
        names += ["b"] * self.bias
        return names + [f"c{i}" for i in range(self.output_dim * self.output_bias)]

    def initialize(
        self,
        n_particles: int,
        seed: int = 0,
        dtype: DTypeLike = "float64",
        init: Initializer = _STANDARD_NORMAL,
    ) -> NDArray[np.floating[Any]]:
        """Draw N independent particles, by default from the standard normal law on R^D.

        The first n rows of a wider draw with the same seed are the narrower draw, so widths can be compared on nested starts;
        float32 particles are the rounded float64 ones.

        Parameters
        ----------
        n_particles : int
            N, at least 1.
        seed : int
            Seed of the `numpy.random.Generator` behind the draw.
        dtype : dtype
            float64 or float32.
        init : Initializer
            Their law, one of `meanfield.initializers`: `Normal` or `Uniform` with a scale for each kind of coordinate, or `Npz`,
            particles from a file.

        Returns
        -------
        particles : (N, D)

        Raises
        ------
        ValueError
            For n_particles < 1, a negative seed, a dtype other than float64 and float32; for particles of a file that cannot be
            read or has others; for particles that are not finite in this dtype.
        """
        n_particles, seed = count("n_particles", n_particles), count("seed", seed, 0)
        dtype = float_dtype("dtype", dtype)
        fitting("n_particles", n_particles, n_particles, self.parameter_count)
        init = instance("init", init, Initializer, "for instance initializers.Normal()")
        draw = init.draw(self.parameter_names, n_particles, seed)
        with np.errstate(over="ignore", invalid="ignore"):  # of casts; found below
            particles = draw.astype(dtype, order="C")
        bad = np.argwhere(~np.isfinite(particles))
        if len(bad):
            where = tuple(map(int, bad[0]))
            raise ValueError(
                f"init must give finite {dtype} particles, got {particles[where]} at index {where}"
            )
        return particles

    def augment(self, inputs: ArrayLike, dtype: DTypeLike = "float64") -> NDArray[np.floating[Any]]:
        """Inputs (n, d) with, if the network has a bias, a last column of ones: the bias is the weight of a constant input."""
        x = np.ascontiguousarray(array("inputs", inputs), dtype=float_dtype("dtype", dtype))
        if x.ndim != 2 or x.shape[1] != self.input_dim:
            raise wrong_shape("inputs", f"(n, {self.input_dim})", x.shape)
        return np.column_stack([x, np.ones(len(x), x.dtype)]) if self.bias else x

    def forward(
        self, particles: NDArray[np.floating[Any]], inputs: ArrayLike
    ) -> NDArray[np.floating[Any]]:
        """The network's outputs f_ρ(x_k), shape (n, c), for particles (N, D) of equal weight and inputs (n, d).

        Raises
        ------
        ValueError
            For shapes that do not fit the network.
        """
        particles = self.check_particles("particles", particles)
        data = Data.of(self.augment(inputs, particles.dtype))
        return _evaluation.network_jet(self.architecture, particles, data)[0]

    def check_particles(self, name: str, value: ArrayLike) -> NDArray[np.floating[Any]]:
        """The array as contiguous particles (N, D), float64 unless it is float32; raises a ValueError for other shapes."""
        x = np.ascontiguousarray(array(name, value))
        if x.ndim != 2 or x.shape[1] != self.parameter_count or len(x) < 1:
            raise wrong_shape(name, f"(N, {self.parameter_count}) with N ≥ 1", x.shape)
        return x
