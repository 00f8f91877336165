"""
Where the neurons go
====================

Each neuron is a particle: the measure of 300 of them, before and after, and the paths of a few.

A ReLU neuron a·max(0, wx + b) bends the function at x = −b/w and is the stronger the larger aw is in size. Most particles
hardly move; those that bend the function where the target bends grow.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
x = np.linspace(-2, 2, 60)[:, None]
task = meanfield.tasks.Task(x, np.abs(x) - 1, "roof")
risk = meanfield.Risk(meanfield.TwoLayerNetwork(1, activation="relu"), task)
x0 = risk.network.initialize(300, seed=0)
run = solvers.solve(solvers.GradientDescent(0.3), risk, x0, 1000, save_every=20)


def kinks(particles):
    a, w, b = np.moveaxis(particles, -1, 0)
    return -b / w, a * np.abs(w)


fig, ax = plt.subplots(figsize=(4.8, 3.8), layout="constrained")
colour = looks(["end"])["end"].colour
moved = np.linalg.norm(run.centers[-1] - x0, axis=1)
for i in np.argsort(moved)[-12:]:
    ax.plot(*kinks(run.centers[:, i]), color=colour, linewidth=0.7, alpha=0.7)
ax.plot(*kinks(x0), ".", color="grey", markersize=3, label="start")
ax.plot(*kinks(run.centers[-1]), ".", color=colour, markersize=4, label="after 1,000 steps")
ax.set(xlim=(-2.5, 2.5), xlabel="where the neuron bends, −b/w", ylabel="by how much, a|w|")
_ = fig.legend(loc="outside upper center", ncols=2)
near = np.abs(kinks(run.centers[-1])[0]) < 0.25
print(f"risk {run.losses[0]:.3f} → {run.losses[-1]:.1e}; mean a|w| of the neurons within ¼ of 0:")
print(f"{kinks(x0)[1][near].mean():.2f} → {kinks(run.centers[-1])[1][near].mean():.2f}")
