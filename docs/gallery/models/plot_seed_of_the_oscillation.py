"""
The oscillation starts from rounding
====================================

Where the oscillation decays to rounding before the edge, rounding decides when it comes back.

This valley is entered far below the edge. The oscillation of gradient descent decays as far as float64 lets it and
grows again once y has passed 2/η. From starts one rounding apart it peaks some steps earlier or later. The model
receives the same rounding as noise (``fluctuation_floor="rounding"``, the default); without it, it is late by
hundreds of steps, as gradient descent in exact arithmetic would be.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STEPS, STYLE, looks

plt.style.use(STYLE)
eta, valley, start = (
    0.25,
    meanfield.landscapes.Valley(zeta=0.7, epsilon=0.005),
    np.array([0.0, 7.0]),
)
model = solvers.FreeEnergyFlow(eta, delay=True)
exact = solvers.FreeEnergyFlow(eta, delay=True, fluctuation_floor=0.0)
line = looks(["gradient_descent", "free_energy_flow", "exact"])
runs = {
    "gradient descent, four starts one rounding apart": [
        solvers.solve(solvers.GradientDescent(eta), valley, start * (1 + k * 2**-52), steps=2000)
        for k in range(4)
    ],
    "free-energy flow with delay, four seeds": [
        solvers.solve(solvers.FreeEnergyFlow(eta, delay=True, seed=k), valley, start, steps=2000)
        for k in range(4)
    ],
    "the same without rounding": [solvers.solve(exact, valley, start, steps=2000)],
}

fig, ax = plt.subplots(figsize=(4.8, 3.8), layout="constrained")
for (name, several), look in zip(runs.items(), line.values(), strict=True):
    for run in several:
        label = name if run is several[0] else None
        ax.plot(run.times, run.centers[:, 1], **look.line | {"linewidth": 1}, label=label)
    print(f"{name}: peaks at {[int(run.centers[:, 1].argmax()) for run in several]}")
ax.axhline(2 / eta, color="grey", linestyle="--", linewidth=0.8, label="edge of stability, 2/η")
ax.set(xlabel=STEPS, ylabel="sharpness y of the floor")
fig.legend(loc="outside upper center", ncols=1)
