"""
An optimal transport plan
=========================

Which mass goes where at the least cost, and how exact the solver says it is.

Twenty points of equal weight go to a ring of thirty. The plan splits some points; its marginals are the weights to
rounding, and dual potentials bound how far its cost can be from the optimum.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
rng = np.random.default_rng(3)
x = 0.4 * rng.standard_normal((20, 2))
angle = np.linspace(0, 2 * np.pi, 30, endpoint=False)
y = np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.05 * rng.standard_normal((30, 2))
result = solvers.transport.w2(x, y)

fig, ax = plt.subplots(figsize=(4.8, 4.6), layout="constrained")
for i, j in zip(*np.nonzero(result.plan), strict=True):
    share = 20 * result.plan[i, j]
    ax.plot(*np.stack([x[i], y[j]]).T, color="grey", alpha=0.7, linewidth=2.5 * share)
one, other = (look.colour for look in looks("ab").values())
ax.plot(*x.T, "o", color=one, label="20 points")
ax.plot(*y.T, "s", color=other, markersize=4, label="30 points")
ax.set(xlabel="x₁", ylabel="x₂", aspect="equal")
_ = fig.legend(loc="outside upper center", ncols=2)
print(f"W2 = {result.distance:.6f}, proved to {result.gap:.0e}; marginals to {result.error:.0e}")
print(f"sliced {solvers.transport.w2(x, y, method='sliced').distance:.4f}")
