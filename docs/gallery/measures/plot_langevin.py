"""
Mean-field Langevin dynamics
============================

Noise turns the minimizers into a Gibbs measure: 20,000 particles in a double well.

θ ← θ − h∇V(θ) + √(2hT) ξ samples exp(−V/T). For interacting particles, a network's neurons, V is the first variation
of the risk, and the law is a fixed point.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
temperature = 0.2
well = solvers.energies.Potential(
    lambda x: 0.25 * (x[:, 0] ** 2 - 1) ** 2 + 0.1 * x[:, 0],
    lambda x: x**3 - x + 0.1,
)
x0 = np.full((20_000, 1), 1.0)
flow = solvers.Langevin(0.1, temperature, steps_per_iteration=4)
run = solvers.solve(flow, well, x0, steps=400, save_every=40)

fig, ax = plt.subplots(figsize=(4.8, 3.6), layout="constrained")
bins = np.linspace(-2, 2, 61)
for k, look in zip((1, 4, 10), looks("abc").values(), strict=True):
    density, _ = np.histogram(run.centers[k], bins=bins, density=True)
    label = f"t = {0.1 * run.times[k]:g}"
    ax.stairs(density, bins, color=look.colour, linewidth=1.3, label=label)
x = np.linspace(-2, 2, 401)
gibbs = np.exp(-well.field.values(x[:, None]) / temperature)
gibbs /= gibbs.sum() * (x[1] - x[0])
ax.plot(x, gibbs, color="grey", linewidth=3, alpha=0.5, zorder=0, label="exp(−V/T)")
ax.set(xlabel="θ", ylabel="density")
_ = fig.legend(loc="outside upper center", ncols=4)
left = np.mean(run.centers[-1] < 0)
print(
    f"left of the barrier: {left:.3f}, of the Gibbs measure {gibbs[x < 0].sum() / gibbs.sum():.3f}"
)
