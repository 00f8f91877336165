"""The flows on the valley, written out by hand and solved by SciPy or in closed form: only the landscape is the package's."""

import numpy as np
from numpy.polynomial import chebyshev
from scipy.integrate import solve_ivp

from tests.helpers.landscapes import Valley

VALLEY = Valley()


def hessian(w):
    x, y = w
    return np.array([[y + 3 * VALLEY.zeta * x, x], [x, 0.0]])


def dop853(velocity, start, time):
    """End of ż = velocity(z)."""
    return solve_ivp(
        lambda t, z: velocity(z), (0, time), start, "DOP853", rtol=1e-13, atol=1e-15
    ).y[:, -1]


def free_energy_velocity(z, eta):
    w, u = z[:2], z[2:]
    plus, minus = VALLEY.gradient(w + u), VALLEY.gradient(w - u)
    return np.concatenate([-eta / 2 * (plus + minus), eta / 2 * (plus - minus) - 2 * u])


def edge_velocity(z, eta):
    """z = (w, q, log m)."""
    w, q, u = z[:2], z[2:4], np.exp(z[4]) * z[2:4]
    image = hessian(w) @ q
    sharpness = q @ image / (q @ q)
    w_dot = -eta / 2 * (VALLEY.gradient(w + u) + VALLEY.gradient(w - u))
    return np.concatenate([w_dot, eta * (image - sharpness * q), [eta * sharpness - 2]])


def rod_velocity(z, eta):
    """z = (w, Σ) with Σ as a full matrix."""
    w, sigma = z[:2], z[2:].reshape(2, 2)
    values, vectors = np.linalg.eigh(sigma)
    u = np.sqrt(values[-1]) * vectors[:, -1]
    plus, minus = VALLEY.gradient(w + u), VALLEY.gradient(w - u)
    curved = (hessian(w + u) + hessian(w - u)) @ (plus + minus)
    sigma_dot = eta**2 / 4 * (np.outer(plus, plus) + np.outer(minus, minus)) - 2 * sigma
    return np.concatenate([-eta / 2 * (plus + minus) - eta**2 / 8 * curved, sigma_dot.ravel()])


def central_velocity(w, eta):
    """On S = 2/η, with the one-mode closed form σ² = max(0, −2⟨∇S, ∇E⟩/|∇S|²)."""
    v = np.linalg.eigh(hessian(w))[1][:, -1]
    slope, gradient = VALLEY.third(w, v), VALLEY.gradient(w)
    variance = max(0.0, -2 * slope @ gradient / (slope @ slope))
    return -eta * (gradient + 0.5 * variance * slope)


def delayed_end(velocity, start, time):
    """End of ż(t) = V(z(t − ½)): on every half iteration a quadrature of the polynomial before, in 24 Chebyshev coefficients."""
    nodes = chebyshev.chebpts1(24)  # of t = (s + 1)/4 in the half iteration
    past = np.array([start + (s - 1) / 4 * velocity(start) for s in nodes])  # z_0 + tV(z_0)
    for _ in range(round(2 * time)):
        coefficients = chebyshev.chebfit(nodes, np.array([velocity(z) for z in past]), 23)
        integral = chebyshev.chebint(coefficients, lbnd=-1, scl=0.25)
        past = start + chebyshev.chebval(nodes, integral).T
        start = start + chebyshev.chebval(1.0, integral)
    return start
