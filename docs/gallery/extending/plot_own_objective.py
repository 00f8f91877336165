"""
An objective of your own
========================

Any object with ``value``, ``gradient`` and ``hvp`` will do: logistic regression in NumPy, at the edge of stability.

``check_objective`` compares the derivatives with differences before anything is run. The loss is convex and has one
minimum; with η a fifth beyond its 2/S gradient descent does not end there but steps across it for ever, where the
loss is flatter. The free-energy flow has the size of that oscillation.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STEPS, STYLE, looks


class LogisticRegression:
    """(1/n) Σ log(1 + exp(−y_k x_k·w))."""

    def __init__(self, inputs, labels):
        self.z = inputs * labels[:, None]

    def value(self, w):
        return np.logaddexp(0, -self.z @ w).mean()

    def gradient(self, w):
        return -(1 / (1 + np.exp(self.z @ w))) @ self.z / len(self.z)

    def hvp(self, w, v):
        p = 1 / (1 + np.exp(self.z @ w))
        return (p * (1 - p) * (self.z @ v)) @ self.z / len(self.z)


plt.style.use(STYLE)
rng = np.random.default_rng(0)
labels = rng.choice([-1.0, 1.0], 60)
objective = LogisticRegression(rng.standard_normal((60, 5)) + 0.3 * labels[:, None], labels)
w0 = np.zeros(5)
print({k: f"{v:.0e}" for k, v in meanfield.check_objective(objective, w0).items()})
minimum = solvers.solve(solvers.GradientDescent(1.0), objective, w0, 2000).centers[-1]
eta = 2.4 / solvers.top_eigenpairs(objective, minimum).values[0]

fig, ax = plt.subplots(figsize=(4.8, 3.6), layout="constrained")
flows = {
    "gradient_descent": solvers.GradientDescent(eta),
    "free_energy_flow": solvers.FreeEnergyFlow(eta),
}
for name, look in looks(flows).items():
    run = solvers.solve(flows[name], objective, w0, 100)
    ax.plot(run.times, np.sqrt(run.fluctuation_trace), **look.line, label=name.replace("_", " "))
    print(f"{name}: |u| = {np.sqrt(run.fluctuation_trace[-1]):.6f} at the end")
ax.set(xlabel=STEPS, ylabel="size of the oscillation |u|")
_ = fig.legend(loc="outside upper center", ncols=2)
