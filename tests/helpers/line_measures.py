"""Risks on the line and starts of the phase-space PDE, for its tests."""

import numpy as np

EPS = np.finfo(float).eps


class Quadratic:
    """R[μ] = (k/2) ∫θ² + (J/2) (∫θ)²: velocities linear in (θ, u) and in the means, under which Gaussians stay Gaussian."""

    def __init__(self, k, j=0.0):
        self.k, self.j = k, j

    def value(self, x, weights=None):
        p = np.full(len(x), 1 / len(x)) if weights is None else weights
        return 0.5 * self.k * float(p @ x[:, 0] ** 2) + 0.5 * self.j * float(p @ x[:, 0]) ** 2

    def gradient(self, x, weights=None, at=None):
        p = np.full(len(x), 1 / len(x)) if weights is None else weights
        return self.k * (x if at is None else at) + self.j * float(p @ x[:, 0])


class Interaction:
    """R[μ] = ½ ∫∫ cos(x − y) dμ dμ + ∫ x⁴/20 dμ, with nothing linear about it."""

    def value(self, x, weights=None):
        p = np.full(len(x), 1 / len(x)) if weights is None else weights
        return 0.5 * float(p @ np.cos(x - x.T) @ p) + 0.05 * float(p @ x[:, 0] ** 4)

    def gradient(self, x, weights=None, at=None):
        p = np.full(len(x), 1 / len(x)) if weights is None else weights
        at = x if at is None else at
        return -np.sin(at - x.T) @ p[:, None] + 0.2 * at**3


def hump(middle, radii):
    """(1 − |z|²)³ on an ellipse: twice differentiable, and nothing outside."""

    def density(theta, u):
        a, b = (theta - middle[0]) / radii[0], (u - middle[1]) / radii[1]
        return np.maximum(1 - a**2 - 0.5 * a * b - b**2, 0.0) ** 3

    return density


def block(theta, u):
    """Discontinuous on purpose."""
    return ((np.abs(theta - 0.2) < 0.3) & (np.abs(u - 0.1) < 0.15)).astype(float)


def fitted_order(cells, errors):
    return -np.polyfit(np.log(cells), np.log(errors), 1)[0]


def l1(a, b):
    assert np.allclose(a.theta_edges, b.theta_edges) and np.allclose(a.u_edges, b.u_edges)
    return np.abs(a.masses - b.masses).sum()
