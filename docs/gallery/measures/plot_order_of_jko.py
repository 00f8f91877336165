"""
Minimizing movements are of first order
=======================================

The Ornstein–Uhlenbeck process from standard deviation 2: three representations of the law, one error.

The exact standard deviation at t = 1 is √(1 + 3e⁻²). Quantiles, a grid and particles with a spacing estimate of their
entropy take steps of size τ; the scheme's own recursion s'(1 + τ) − τ/s' = s, in closed form, is the line. Particles
err by their number too, in the other direction.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

import solvers
from meanfield.study.figures import STYLE, looks
from solvers.measures.energies import Entropy, Potential

plt.style.use(STYLE)
confinement = Potential(lambda x: 0.5 * x[:, 0] ** 2)
exact, taus = np.sqrt(1 + 3 * np.exp(-2)), np.array([0.2, 0.1, 0.05])


def recursion(tau):
    s = 2.0
    for _ in range(round(1 / tau)):
        s = (s + np.sqrt(s**2 + 4 * tau * (1 + tau))) / (2 * (1 + tau))
    return s


def spread(scheme, energy, state):
    for _ in range(round(1 / scheme.step_size)):
        state = scheme.step(energy, state).state
    cells = state.cell_variances()[0] if isinstance(state, solvers.Grid) else 0.0
    return np.sqrt((np.var(state) if energy is confinement else state.covariance()[0, 0]) - cells)


grid = solvers.Grid.from_density(np.linspace(-12, 12, 161), lambda x: norm.pdf(x[:, 0], scale=2))
points = 2 * norm.ppf((np.arange(200) + 0.5) / 200)[:, None]
quantiles, energy = solvers.Quantiles.of(grid, 100), confinement + Entropy()
runs = {
    "grid of 160 cells": lambda tau: spread(solvers.GridJKO(tau), energy, grid),
    "quantiles, 100": lambda tau: spread(solvers.QuantileJKO(tau), energy, quantiles),
    "particles, 200": lambda tau: spread(solvers.JKO(tau, temperature=1.0), confinement, points),
}
fig, ax = plt.subplots(figsize=(4.8, 3.8), layout="constrained")
ax.loglog(taus, [recursion(t) - exact for t in taus], color="grey", label="the scheme, exactly")
for (name, run), look, mark in zip(runs.items(), looks("abc").values(), "os^", strict=True):
    errors = [run(tau) - exact for tau in taus]
    ax.loglog(taus, np.abs(errors), mark, color=look.colour, label=name)
    print(name, np.round(errors, 4))
ax.set(xlabel="step size τ", ylabel="error of the standard deviation at t = 1")
ax.set_xticks(taus, [f"{t:g}" for t in taus])
ax.set_yticks([0.01, 0.02, 0.05], ["0.01", "0.02", "0.05"])
ax.minorticks_off()
_ = fig.legend(loc="outside upper center", ncols=2)
