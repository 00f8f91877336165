"""
A flow of your own
==================

One class with an equation: the gradient flow of a modified loss, solved, compared, drawn like the others.

Gradient descent follows, to second order in η, the gradient flow of E + (η/4)|∇E|² (arXiv:2009.11162): as long as it
does not oscillate. Beyond the edge of stability that correction does not help.
"""

# %%
from dataclasses import dataclass
from typing import ClassVar

import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STEPS, STYLE, looks


@dataclass(frozen=True)
class ModifiedFlow(solvers.WithoutFluctuation, solvers.ContinuousFlow):
    """Gradient flow of the loss E + (η/4)|∇E|²."""

    learning_rate: float
    needs: ClassVar[tuple[str, ...]] = ("value", "gradient", "hvp")

    def start(self, objective, x0):
        return x0 - self.learning_rate / 2 * objective.gradient(x0)

    def velocity(self, objective, time, state):
        gradient, eta = objective.gradient(state), self.learning_rate
        return -eta * (gradient + eta / 2 * objective.hvp(state, gradient))


plt.style.use(STYLE)
eta, valley, start = 0.3, meanfield.landscapes.Valley(), [0.1, 5.5]
descent = solvers.solve(solvers.GradientDescent(eta), valley, start, steps=800)
flows = {"modified_flow": ModifiedFlow(eta), "gradient_flow": solvers.GradientFlow(eta)}

fig, ax = plt.subplots(figsize=(4.8, 3.6), layout="constrained")
for name, look in looks(flows).items():
    run = solvers.solve(flows[name], valley, start, steps=800)
    error = np.linalg.norm(run.centers - descent.centers, axis=1)
    ax.semilogy(run.times[1:], error[1:], **look.line, label=name.replace("_", " "))
edge = np.argmax(descent.centers[:, 1] > 2 / eta)
ax.axvline(edge, color="grey", linestyle="--", linewidth=0.8, label="sharpness passes 2/η")
ax.set(xlabel=STEPS, ylabel="distance to gradient descent")
_ = fig.legend(loc="outside upper center", ncols=2)
