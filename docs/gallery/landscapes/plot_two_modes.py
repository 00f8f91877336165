"""
Two critical modes
==================

Two eigenvalues reach 2/η one after the other, and both stay: the central flow has a covariance of rank two.

In this river valley two curvatures grow. The balance needs Σ = ε·I, a fluctuation of equal size in both directions.
That of gradient descent is one vector u, so it can hold the balance only on average, and turns for ever; the central
flow's Σ holds it at every time. The free-energy flow with two fluctuations, Σ = u₁u₁ᵀ + u₂u₂ᵀ, of which each adds its
½[E(w + u_r) + E(w − u_r)] − E(w) − u_r²/η to the free energy, swings about it, one fluctuation in each direction.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STEPS, STYLE, looks

plt.style.use(STYLE)
eta = 0.3
river = meanfield.landscapes.RiverValley(codimension=2)
line = looks(["gradient_descent", "central_flow", "two_fluctuations"])
fig, (top, bottom) = plt.subplots(2, 1, figsize=(4.8, 5.2), sharex=True, layout="constrained")
for flow, name in (
    (solvers.GradientDescent(eta), "gradient_descent"),
    (solvers.CentralFlow(eta), "central_flow"),
    (solvers.FreeEnergyFlow(eta, rank=2), "two_fluctuations"),
):
    run = solvers.solve(flow, river, river.start, steps=1500, eigenvalues=2, eigenvalues_every=5)
    look = line[name].line | {"linewidth": 1.2}
    for i in range(2):
        label = name.replace("_", " ") if i == 0 else None
        top.plot(run.eigenvalue_times, eta * run.eigenvalues[:, i], **look, label=label)
    bottom.semilogy(run.times, run.fluctuation_trace, **look)
    late = run.fluctuations[-300:].reshape(-1, len(river.start))
    covariance = late.T @ late / 300
    print(f"{name}: mean of uuᵀ over the last 300 steps\n{np.round(covariance[:2, :2], 4)}")
top.axhline(2, color="grey", linestyle="--", linewidth=0.8, label="edge of stability")
bottom.axhline(2 * 0.01, color="grey", linestyle=":", label="2ε")
top.set(ylabel="η times the two top eigenvalues")
bottom.set(xlabel=STEPS, ylabel="tr Σ", ylim=(1e-4, 1))
fig.legend(loc="outside upper center", ncols=2)
