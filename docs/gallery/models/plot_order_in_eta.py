"""
Orders in the learning rate
===========================

Below the edge of stability: how fast does each model approach gradient descent as η → 0?

Over the same time ηk gradient descent and a model of it differ by a power of η. The gradient flow has order one; half
a step of delay makes it two, at no extra gradient. The rod flow's correction of the drift has order two as well. The
two gradient flows start where gradient descent does and follow its iterates, the others its centers, the means of two
consecutive iterates.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
landscape, start, time = meanfield.landscapes.ScalarFactorization(), [1.5, 0.2], 1.0
etas = np.array([0.04, 0.02, 0.01, 0.005])
flows = {
    "gradient_flow": solvers.GradientFlow,
    "free_energy_flow": solvers.FreeEnergyFlow,
    "rod_flow": solvers.RodFlow,
    "delayed gradient flow": lambda eta: solvers.GradientFlow(eta, delay=True),
    "delayed free-energy flow": lambda eta: solvers.FreeEnergyFlow(eta, delay=True),
}


def error(flow):
    steps = round(time / flow.learning_rate)
    descent = solvers.GradientDescent(flow.learning_rate)
    model, run = (
        solvers.solve(each, landscape, start, steps, save_every=steps, **options)
        for each, options in ((flow, {"dt": 1 / 16}), (descent, {}))
    )
    followed = run.iterates if isinstance(flow, solvers.GradientFlow) else run.centers
    return np.linalg.norm(model.centers[-1] - followed[-1])


fig, ax = plt.subplots(figsize=(4.8, 4.0), layout="constrained")
for (name, flow), look in zip(flows.items(), looks(flows).values(), strict=True):
    errors = [error(flow(eta)) for eta in etas]
    order = np.polyfit(np.log(etas), np.log(errors), 1)[0]
    label = f"{name.replace('_', ' ').replace('free energy', 'free-energy')}: {order:.2f}"
    ax.loglog(etas, errors, **look.line, marker="o", label=label)
ax.set(xlabel="learning rate η", ylabel="distance to gradient descent at ηk = 1")
ax.set_xticks(etas, [f"{eta:g}" for eta in etas])
ax.minorticks_off()
fig.legend(loc="outside upper center", ncols=1, title="model and order of its error")
