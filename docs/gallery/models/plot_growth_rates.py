"""
How fast an oscillation grows
=============================

On a mode of curvature λ gradient descent multiplies the fluctuation by ηλ − 1 per step, and the center by 1 − ηλ.

The models have rates of their own, measured on E = ½λx² (marks) and in closed form (lines). Of u: ηλ − 2 for the
free-energy flow, log|ηλ − 1| but at least −2 with exact growth, Re 2W(½(ηλ − 2)) with the half-step delay, ¼(ηλ)² − 1 for the rod
flow. Of w: −ηλ, and Re 2W(−½ηλ) with the delay. Every fluctuation grows from ηλ = 2 on. Far below, only exact growth decays
as gradient descent does, whose rate has a pole at ηλ = 1. The delayed center is stable up to ηλ = π.
Marks are on the lines to 0.11, which is where the delayed solutions turn while they decay.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.special import lambertw

import meanfield
import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
p = np.linspace(0.02, 3.5, 870)
descent = np.log(abs(p - 1))
flow, silent = solvers.FreeEnergyFlow, {"fluctuation_floor": 0.0}
fluctuations = {  # the flow, its dt, its rate
    "gradient_descent": (solvers.GradientDescent(1.0), None, descent),
    "free_energy_flow": (flow(1.0, **silent), 1 / 8, p - 2),
    "exact growth": (flow(1.0, growth="exact", **silent), 1 / 8, np.maximum(descent, -2)),
    "half-step delay": (flow(1.0, delay=True, **silent), 1 / 8, 2 * lambertw(p / 2 - 1).real),
    "rod_flow": (solvers.RodFlow(1.0), 1 / 4, p**2 / 4 - 1),
}
centers = {  # of the free-energy flow it is a gradient flow here
    "gradient_descent": (solvers.GradientDescent(1.0), None, descent),
    "free_energy_flow": (solvers.GradientFlow(1.0), 1 / 8, -p),
    "half-step delay": (solvers.GradientFlow(1.0, delay=True), 1 / 8, 2 * lambertw(-p / 2).real),
}
style = looks(fluctuations)

fig, axes = plt.subplots(2, 1, figsize=(4.8, 6.4), sharex=True, layout="constrained")
parts = {"fluctuations": fluctuations, "centers": centers}
for ax, (part, models) in zip(axes, parts.items(), strict=True):
    for name, (flow, dt, rate) in models.items():
        products, found = np.linspace(0.75 if name == "rod_flow" else 0.15, 3.45, 10), []
        for k in products:
            bowl = meanfield.landscapes.Quartic(k, 1e-300)
            size = abs(getattr(solvers.solve(flow, bowl, [1.0], 48, dt=dt), part))
            found.append(np.log(size[33:].max() / size[17:33].max()) / 16)
        ax.plot(p, rate, **style[name].line, label=name.replace("_", " "))
        ax.plot(products, found, "o", color=style[name].colour, markersize=4, fillstyle="none")
        print(f"{part}, {name}: {abs(found - np.interp(products, p, rate)).max():.1e}")
    ax.axvline(2, color="grey", linestyle="--", linewidth=0.8, label="edge of stability")
    ax.set(ylabel=f"rate of the {part[:-1]} per iteration", ylim=(-4, 2))
axes[1].set(xlabel="ηλ", xticks=[0, 1, 2, 3, np.pi], xticklabels=["0", "1", "2", "3", " π"])
_ = fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
