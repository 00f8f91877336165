"""Energies of weighted particles with every derivative written out, for the tests of minimising movements."""

import numpy as np


class ParticleTestEnergy:
    """x (N, D), weights p (N,) or None for 1/N each; the gradient is ∇E'[μ], not multiplied by the weight."""

    @staticmethod
    def masses(x, weights):
        return np.full(len(x), 1 / len(x)) if weights is None else np.asarray(weights)


class Quadratic(ParticleTestEnergy):
    """½λ ∫|x|² dμ + ½κ ∬ ½|x − y|² dμ dμ."""

    def __init__(self, confinement=1.0, attraction=0.0):
        self.confinement, self.attraction = confinement, attraction

    def value(self, x, weights=None):
        p = self.masses(x, weights)
        variance = p @ np.sum((x - p @ x) ** 2, axis=1)
        return 0.5 * (self.confinement * p @ np.sum(x**2, axis=1) + self.attraction * variance)

    def gradient(self, x, weights=None):
        return self.hvp(x, x, weights)

    def hvp(self, x, v, weights=None):
        mean = self.masses(x, weights) @ v
        return self.confinement * v + self.attraction * (v - mean)


class AttractiveRepulsive(ParticleTestEnergy):
    """½ ∬ W dμ dμ on the line with W(z) = ½z² − |z|: its steady state is the uniform law on an interval of length two."""

    def value(self, x, weights=None):
        p, z = self.masses(x, weights), x - x.T
        return 0.5 * p @ (0.5 * z**2 - np.abs(z)) @ p

    def gradient(self, x, weights=None):
        z = x - x.T
        return ((z - np.sign(z)) @ self.masses(x, weights))[:, None]


class Wavy(ParticleTestEnergy):
    """∫ (½λ|x|² + Σ_k a_k cos(b_k·x + φ_k)) dμ + ½ ∬ c exp(−½|x − y|²) dμ dμ, with random coefficients: not convex."""

    def __init__(self, seed, dimension, waves=4):
        rng = np.random.default_rng(seed)
        self.confinement = rng.uniform(0.1, 2.0)
        self.amplitudes = rng.normal(size=waves)
        self.waves = rng.normal(scale=1.5, size=(waves, dimension))
        self.phases = rng.uniform(0, 2 * np.pi, size=waves)
        self.interaction = rng.normal()

    def value(self, x, weights=None):
        p = self.masses(x, weights)
        potential = 0.5 * self.confinement * np.sum(x**2, axis=1)
        potential += np.cos(x @ self.waves.T + self.phases) @ self.amplitudes
        return p @ potential + 0.5 * p @ self._kernel(x)[1] @ p

    def gradient(self, x, weights=None):
        p = self.masses(x, weights)
        force = np.sin(x @ self.waves.T + self.phases) * self.amplitudes
        z, kernel = self._kernel(x)
        pairs = np.einsum("ij,ijd,j->id", kernel, z, p)
        return self.confinement * x - force @ self.waves - pairs

    def hvp(self, x, v, weights=None):
        p = self.masses(x, weights)
        stiffness = np.cos(x @ self.waves.T + self.phases) * self.amplitudes * (v @ self.waves.T)
        z, kernel = self._kernel(x)
        dv = v[:, None] - v
        along = np.sum(z * dv, axis=2)
        pairs = np.einsum("ij,ijd,j->id", kernel, along[..., None] * z - dv, p)
        return self.confinement * v - stiffness @ self.waves + pairs

    def _kernel(self, x):
        z = x[:, None] - x
        return z, self.interaction * np.exp(-0.5 * np.sum(z**2, axis=2))


class WithoutHessian:
    """The same energy, its Hessian hidden."""

    def __init__(self, energy):
        self.value, self.gradient = energy.value, energy.gradient
