"""
A landscape from a function
===========================

A Python function of an array is a landscape: the bifurcations of gradient descent on one that flattens outwards.

Derivatives come from complex steps, to rounding. On ½ log(1 + x²) the edge of stability is η = 2: from there on
gradient descent rests on the two-cycle 1 + x² = η/2, until that loses its stability at η = 4. (Compiled by
``numba.njit``, such a function takes millions of steps in seconds.)
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STYLE, looks


def flattening(x):
    return 0.5 * np.log(1 + x[0] ** 2)


plt.style.use(STYLE)
landscape = meanfield.landscapes.Landscape(flattening, dimension=1)
etas = np.linspace(1.5, 8, 131)
colours = [look.colour for look in looks("ab").values()]

fig, ax = plt.subplots(figsize=(4.8, 3.6), layout="constrained")
errors = []
for eta in etas:
    for start, colour in zip((0.3, -0.3), colours, strict=True):
        run = solvers.solve(solvers.GradientDescent(eta), landscape, [start], steps=400)
        orbit = run.iterates[-60:, 0]
        ax.plot(np.full(60, eta), orbit, ".", color=colour, markersize=1.2)
        if 2.2 < eta < 3.8:
            errors.append(abs(1 + orbit**2 - eta / 2).max())
for start, colour in zip(("0.3", "−0.3"), colours, strict=True):
    ax.plot([], [], "o", color=colour, markersize=4, label=f"from x = {start}")
for edge in (2, 4):
    ax.axvline(edge, color="grey", linestyle="--", linewidth=0.8)
ax.set(xlabel="learning rate η (edge of stability: 2)", ylabel="the last 60 iterates")
_ = fig.legend(loc="outside upper center", ncols=2)
print(f"1 + x² = η/2 holds for 2.2 < η < 3.8 to {max(errors):.0e}")
