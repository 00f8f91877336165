"""
Mini-batches have a floor of noise
==================================

With gradients of batches the fluctuation never dies, however far below the edge, and at the edge it has no bound.

x ← x − η(λx + ξ) with independent ξ of variance c rests in a law with Var x = ηc/(λ(2 − ηλ)) and Var u = η²c/(2(2 − ηλ)), where
u = ±½η(λx + ξ): η²c/4 far below the edge, and without bound as ηλ → 2. Runs of 4,000 steps on the mean of ½(x − a)² over four
samples a, so λ = 1, in batches of two drawn with replacement, have Var u to 3% and Var x to 5%, but for the smallest η, where
x changes so slowly that 4,000 steps are few independent ones.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import solvers
from meanfield.study.figures import STYLE, looks


class Targets:
    """E = mean over i of ½(x − a_i)², with its parts."""

    def __init__(self, targets):
        self.targets, self.samples = targets, len(targets)

    def batch(self, indices):
        return Targets(self.targets[indices])

    def value(self, x):
        return float(np.mean((x[0] - self.targets) ** 2)) / 2

    def gradient(self, x):
        return x - self.targets.mean()


plt.style.use(STYLE)
targets, batch, steps = np.array([-1.0, 0.2, 0.3, 0.5]), 2, 4_000
etas, c = np.array([0.1, 0.3, 0.6, 1.0, 1.3, 1.6, 1.8, 1.9]), targets.var() / batch
found = []
for eta in etas:
    flow = solvers.MiniBatch(solvers.GradientDescent(eta), batch, seed=1, replacement=True)
    run = solvers.solve(flow, Targets(targets), np.zeros(1), steps)
    found.append((run.iterates[200:, 0].var(), run.fluctuation_trace[200:].mean()))
fine = np.linspace(0.05, 1.97, 200)
closed = fine * c / (2 - fine), fine**2 * c / (2 * (2 - fine))
fig, ax = plt.subplots(figsize=(4.8, 3.8), layout="constrained")
look = looks("ab").values()
for name, values, exact, line in zip(
    ("Var x", "Var u"), np.transpose(found), closed, look, strict=True
):
    ax.semilogy(fine, exact, **line.line, label=f"{name}, closed form")
    ax.semilogy(etas, values, "o", color=line.colour, fillstyle="none", label=f"{name}, runs")
    print(f"{name}: runs over closed form", np.round(values / np.interp(etas, fine, exact), 3))
ax.semilogy(fine, fine**2 * c / 4, ":", color="grey", label="η²c/4")
ax.axvline(2, color="grey", linestyle="--", linewidth=0.8, label="edge of stability")
ax.set(xlabel="ηλ", ylabel="variance at rest", ylim=(1e-4, 10))
_ = fig.legend(loc="outside upper center", ncols=3)
