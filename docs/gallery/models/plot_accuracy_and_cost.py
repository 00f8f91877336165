"""
What accuracy costs
===================

Gradients and Hessian products per iteration of every model, and how close to gradient descent they bring it.

An objective that counts its calls is wrapped around the valley. Every model runs with its default scheme for 1,500
iterations; the error is that of the center, RMS over time.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STYLE, looks


class Counted:
    """The valley; each gradient and each Hessian product counts once."""

    def __init__(self):
        self.valley, self.calls = meanfield.landscapes.Valley(), 0

    def value(self, x):
        return self.valley.value(x)

    def gradient(self, x):
        self.calls += 1
        return self.valley.gradient(x)

    def hvp(self, x, v):
        self.calls += 1
        return self.valley.hvp(x, v)


plt.style.use(STYLE)
eta, start, steps = 0.3, [0.0, 6.0], 1500
flows = {
    "gradient_flow": solvers.GradientFlow(eta),
    "free_energy_flow": solvers.FreeEnergyFlow(eta),
    "edge_flow": solvers.EdgeFlow(eta),
    "central_flow": solvers.CentralFlow(eta),
    "rod_flow": solvers.RodFlow(eta),
    "free_energy_flow, exact growth": solvers.FreeEnergyFlow(eta, growth="exact"),
    "free_energy_flow, delay": solvers.FreeEnergyFlow(eta, delay=True),
}
descent = solvers.solve(solvers.GradientDescent(eta), Counted(), start, steps)
fig, ax = plt.subplots(figsize=(4.8, 4.2), layout="constrained")
for (name, flow), look in zip(flows.items(), looks(flows).values(), strict=True):
    objective = Counted()
    run = solvers.solve(flow, objective, start, steps, save_every=1)
    error = np.sqrt(np.mean(np.sum((run.centers - descent.centers) ** 2, axis=1)))
    label = name.replace("_", " ").replace("free energy", "free-energy")
    ax.semilogy(objective.calls / steps, error, "o", color=look.colour, markersize=8, label=label,
              fillstyle="full" if look.dashes == "-" else "none")  # fmt: skip
ax.set(xlabel="gradients and Hessian products per iteration", ylabel="RMS distance of the center",
       xlim=(0, None))  # fmt: skip
fig.legend(loc="outside upper center", ncols=2)
