"""
Every optimizer and its three models
====================================

Heavy ball, Nesterov's rule, scalar RMSProp, RMSProp and Adam at their edges, each beside the flows that model it.

In the valley ½(y + ζx)x² − ε(x + y), from the state of the rule after 25 steps: y of the center, and the size of u across it.
The split with the half-step delay, ċ = ½[V(c + u) + V(c − u)] and u̇ = −2u − ½[V(c + u) − V(c − u)] of half an iteration
before, follows every swing. The central flow, once at the edge, is the average: its Σ keeps λ₁(P⁻¹H) at the threshold, that of
heavy ball at 2(1 + β)/η = 8.667, where y = 8.674, and of Nesterov's rule at 5.417, where y = 5.428. The rod flow follows the
swings of both momenta, which it damps too much, and of scalar RMSProp; those of RMSProp and Adam it has none of, as here the
slope along the floor is the leading axis of its Σ.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
mean = {"beta2": 0.99, "eps": 0.05}
rules = {  # the rule, ζ, its start
    "heavy ball": (solvers.HeavyBall(0.3, 0.3), 1.0, [0.02, 8.6]),
    "Nesterov": (solvers.Nesterov(0.3, 0.3), 1.0, [0.02, 5.35]),
    "scalar RMSProp": (solvers.ScalarRMSProp(0.05, 0.99, second_moment=0.0225), 0.0, [1e-3, 6.0]),
    "RMSProp": (solvers.RMSProp(0.02, second_moment=1e-4, **mean), 0.0, [1e-3, 5.9]),
    "Adam": (solvers.Adam(0.02, 0.2, **mean), 0.0, [1e-3, 9.4]),
}
names = ["gradient_descent", "free_energy_flow", "central_flow", "rod_flow"]
fig, axes = plt.subplots(5, 2, figsize=(4.8, 8.0), sharex=True, layout="constrained")
for (name, (rule, zeta, x0)), row in zip(rules.items(), axes, strict=True):
    valley = meanfield.landscapes.Valley(zeta, 0.01)
    warm = solvers.solve(rule, valley, x0, steps=25).state
    flows = {"the rule": rule, "split with delay": solvers.FreeEnergyFlow(rule, delay=True)}
    flows |= {"central flow": solvers.CentralFlow(rule), "rod flow": solvers.RodFlow(rule)}
    for (label, flow), look in zip(flows.items(), looks(names).values(), strict=True):
        run = solvers.solve(flow, valley, warm, steps=250)
        modes = run.fluctuations.reshape(len(run.times), -1, 2)  # the central flow has two
        size = np.linalg.norm(modes[:, :, 0], axis=1)
        row[0].plot(run.times, run.centers[:, 1], **look.line, label=label)
        row[1].plot(run.times, size, **look.line)
        print(
            f"{name}, {label}: y = {run.centers[-1, 1]:.4f}, mean u² {np.mean(size[50:] ** 2):.2e}"
        )
    row[0].set(ylabel=name)
    row[1].set(ylim=(0, 1.3 * row[1].lines[0].get_ydata().max()))
for ax, title in zip(axes[0], ("y of the center", "|u| across the valley"), strict=True):
    ax.set(title=title)
fig.supxlabel("time t (iterations)", fontsize="medium")
_ = fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
