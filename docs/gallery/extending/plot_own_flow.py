"""
A flow of your own
==================

One class with an equation: the gradient flow of a modified loss, solved, compared, drawn like the others.

Gradient descent follows, to second order in η, the gradient flow of E + (η/4)·|∇E|² (arXiv:2009.11162). In the valley, over
the same time ηk, its error falls like η² and that of the gradient flow like η; where ηS is not small it is no better.
"""

# %%
from dataclasses import dataclass
from typing import ClassVar

import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STYLE, looks


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
valley, start, time = meanfield.landscapes.Valley(), [1.0, 5.0], 8.0
etas = 0.02 * 2.0 ** np.arange(5)
flows = {"modified_flow": ModifiedFlow, "gradient_flow": solvers.GradientFlow}


def end(flow):
    steps = round(time / flow.learning_rate)
    return solvers.solve(flow, valley, start, steps, save_every=steps).centers[-1]


fig, ax = plt.subplots(figsize=(4.8, 3.6), layout="constrained")
for name, look in looks(flows).items():
    errors = [
        np.linalg.norm(end(flows[name](eta)) - end(solvers.GradientDescent(eta))) for eta in etas
    ]
    ax.loglog(etas, errors, **look.line, marker="o", label=name.replace("_", " "))
    print(f"{name}: order {np.log2(errors[1] / errors[0]):.2f} at the smallest η")
ax.set(xlabel="learning rate η", ylabel="distance to gradient descent at ηk = 8")
ax.set_xticks(etas, [f"{eta:g}" for eta in etas])
ax.minorticks_off()
_ = fig.legend(loc="outside upper center", ncols=2)
