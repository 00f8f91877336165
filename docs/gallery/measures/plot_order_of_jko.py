"""
Minimizing movements of first and second order
==============================================

The Ornstein–Uhlenbeck process from standard deviation 2: two orders, three representations of the law, one error each.

The exact standard deviation at t = 1 is √(1 + 3e⁻²). Quantiles, a grid and particles with a spacing estimate of their
entropy take steps of size τ, each from the last state or, at the same cost, from the last two; the schemes' own
recursions, in closed form, are the lines. The grid errs by its cells too, particles and quantiles by their number.
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
energy = confinement + Entropy()
exact, taus = np.sqrt(1 + 3 * np.exp(-2)), np.array([0.2, 0.1, 0.05])


def implicit(s, tau):
    return (s + np.sqrt(s**2 + 4 * tau * (1 + tau))) / (2 * (1 + tau))


def recursion(tau, order):
    path = [2.0, implicit(2.0, tau)]
    for _ in range(round(1 / tau) - 1):
        beyond = path[-1] + (path[-1] - path[-2]) / 3
        path.append(implicit(path[-1], tau) if order == 1 else implicit(beyond, 2 * tau / 3))
    return path[-1]


grid = solvers.Grid.from_density(np.linspace(-12, 12, 481), lambda x: norm.pdf(x[:, 0], scale=2))
points, quantiles = norm.ppf((np.arange(400) + 0.5) / 400), solvers.Quantiles.of(grid, 400)
unit = quantiles.values / np.sqrt(quantiles.covariance()[0, 0])
starts = {"grid, 480 cells": grid, "particles, 400": points[:, None] * 2 / np.std(points)}
starts["quantiles, 400"] = solvers.Quantiles(2 * unit)

fig, ax = plt.subplots(figsize=(4.8, 4.2), layout="constrained")
for order, line in ((1, "-"), (2, "--")):
    errors = [abs(recursion(tau, order) - exact) for tau in taus]
    ax.loglog(taus, errors, line, color="grey", label=f"order {order}, exactly")
for (name, start), look, mark in zip(starts.items(), looks("abc").values(), "os^", strict=True):
    for order in (1, 2):
        runs = [solvers.evolve(energy, start, 1.0, tau, order, save_every=100) for tau in taus]
        errors = [np.sqrt(run.measures[-1].covariance()[0, 0]) - exact for run in runs]
        ax.loglog(taus, np.abs(errors), mark, color=look.colour, label=name if order == 1 else None)
        print(f"{name}, order {order}:", np.round(errors, 5))
ax.set(xlabel="step size τ", ylabel="error of the standard deviation at t = 1")
ax.set_xticks(taus, [f"{t:g}" for t in taus])
ax.minorticks_off()
_ = fig.legend(loc="outside upper center", ncols=2)
