"""
The zigzag in the valley
========================

Gradient descent, its center and its two ends in a valley that grows sharper along its floor.

Every iterate is x_k = w_k + (−1)ᵏ u_k, exactly: a center w that moves slowly and a fluctuation u that changes sides.
Here the sharpness of the floor is y. Once it has passed 2/η, u grows; it takes the iterates up the sides, from where
they slide back to a flatter place.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
eta = 0.3
valley = meanfield.landscapes.Valley(zeta=1.0, epsilon=0.01)
run = solvers.solve(solvers.GradientDescent(eta), valley, [0.0, 6.0], steps=700)
near = slice(440, 600)

x, y = np.meshgrid(np.linspace(-0.9, 0.9, 200), np.linspace(6.2, 7.6, 200))
levels = 0.5 * (y + x) * x**2 - 0.01 * (x + y)

fig, ax = plt.subplots(figsize=(4.8, 4.2), layout="constrained")
ax.contour(x, y, levels, levels=15, colors="grey", alpha=0.35, linewidths=0.7)
ax.plot(*run.iterates[near].T, ".-", color="grey", linewidth=0.4, markersize=4, label="iterates x")
model = looks(["gradient_descent", "free_energy_flow"])
ax.plot(*run.centers[near].T, **model["gradient_descent"].line, label="center w")
for sign in (1, -1):
    ends = run.centers[near] + sign * run.fluctuations[near]
    ax.plot(*ends.T, **model["free_energy_flow"].line, label="ends w ± u" if sign > 0 else None)
ax.axhline(2 / eta, color="grey", linestyle="--", label="edge of stability, y = 2/η")
ax.set(xlabel="x, across the valley", ylabel="y, the sharpness of its floor", xlim=(-0.9, 0.9))
_ = fig.legend(loc="outside upper center", ncols=2)

peak = run.centers[:, 1].argmax()
print(f"y of the center peaks at step {peak}: {run.centers[peak, 1]:.4f}; 2/η = {2 / eta:.4f}")
