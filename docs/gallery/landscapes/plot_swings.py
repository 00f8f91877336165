"""
Self-stabilization turns in circles
===================================

Sharpness and oscillation chase one another: the model conserves a quantity, gradient descent does so nearly.

Near the edge the sharpness y drives log u, and u² drives y back. With the third derivatives frozen (self-stabilization)
this pair conserves ½U² + ¼βa² − ½α log a² and runs in closed curves. In the valley the asymmetry ζ decides what gradient
descent does: its swings grow for ζ < √2/3 and shrink above, at a rate of the next order in η.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
eta, epsilon = 0.3, 0.002
edge = [0.0, 2 / eta]
start = [1.5 * np.sqrt(2 * epsilon), 2 / eta]
line = looks(["gradient_descent", "self_stabilization"])

fig, axes = plt.subplots(2, 1, figsize=(4.8, 5.4), sharex=True, layout="constrained")
for ax, zeta in zip(axes, (0.0, 1.0), strict=True):
    valley = meanfield.landscapes.Valley(zeta=zeta, epsilon=epsilon)
    model = solvers.SelfStabilization.from_objective(valley, edge, eta)
    for flow, name in (
        (solvers.GradientDescent(eta), "gradient_descent"),
        (
            model,
            "self_stabilization",
        ),
    ):
        run = solvers.solve(flow, valley, start, steps=2000)
        swing = eta * run.centers[:, 1] - 2
        ax.plot(
            np.sqrt(run.fluctuation_trace), swing, **line[name].line, label=name.replace("_", " ")
        )
        first, last = np.ptp(swing[:500]), np.ptp(swing[-500:])
        print(f"ζ = {zeta:g}, {name}: height of the last swing over the first {last / first:.3f}")
    ax.set(xscale="log", ylabel="ηy − 2", title=f"ζ = {zeta:g}")
    ax.axvline(np.sqrt(2 * epsilon), color="grey", linestyle="--", linewidth=0.8, label="√(2ε)")
axes[-1].set(xlabel="size of the oscillation |u|")
handles, labels = axes[0].get_legend_handles_labels()
fig.legend(handles, labels, loc="outside upper center", ncols=3)
