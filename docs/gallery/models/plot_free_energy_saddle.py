"""
The saddle of the free energy
=============================

Gradient descent does not go down its free energy: it goes down in the center and up in the fluctuation.

F = ½[E(w + u) + E(w − u)] − u²/η of a one-dimensional landscape is a function in the plane of w and u. The free-energy flow
descends it in w, ascends it in u, and so ends in its saddle, which is the two-cycle of gradient descent.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
eta = 0.25
quartic = meanfield.landscapes.Quartic(curvature=10.0, quartic=1.0)
F = solvers.FreeEnergy(quartic, eta)
w, u = np.linspace(-0.8, 0.8, 81), np.linspace(0, 2.2, 89)
values = np.array([[F.value([a], [b]) for a in w] for b in u])

fig, ax = plt.subplots(figsize=(4.8, 4.2), layout="constrained")
shown = ax.contourf(w, u, values, levels=20, cmap="Greys", alpha=0.6)
fig.colorbar(shown, label="free energy F(w, u)")
line = looks(["free_energy_flow"])["free_energy_flow"].line
for start in ([0.1], [0.5], [0.9]):
    run = solvers.solve(solvers.FreeEnergyFlow(eta), quartic, start, steps=60, dt=1 / 16)
    points = solvers.solve(solvers.GradientDescent(eta), quartic, start, steps=60)
    labels = ("free-energy flow", "gradient descent") if start == [0.1] else (None, None)
    ax.plot(run.centers[:, 0], abs(run.fluctuations[:, 0]), **line, label=labels[0])
    ax.plot(points.centers[:, 0], abs(points.fluctuations[:, 0]), "k.", label=labels[1])
saddle = np.sqrt(10 - 2 / eta)
ax.plot(0, saddle, "x", color="grey", markersize=12, zorder=5, label="saddle u² = S/Q − 2/(ηQ)")
ax.set(xlabel="center w", ylabel="fluctuation |u|")
fig.legend(loc="outside upper center", ncols=2)

slopes = np.ravel(F.gradient([0.0], [saddle]))
print(f"gradient of F at (0, {saddle:.6f}): {slopes.round(12)}")
print(f"the flow ends at ({run.centers[-1, 0]:.1e}, {abs(run.fluctuations[-1, 0]):.6f})")
