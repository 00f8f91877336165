"""
Eight activations on one target
===============================

The same particles, the same sine, another nonlinearity: what 400 steps of gradient descent make of it.

Networks of 200 neurons on a line learn sin 2x from 40 points. The outputs at the end are drawn over the data, one
panel for each activation. Neurons a(wx + b)² make a parabola together, whatever their number: of this target they
reach its best straight line.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
x = np.linspace(-2, 2, 40)[:, None]
task = meanfield.tasks.Task(x, np.sin(2 * x), "sine")
line = looks(["gradient_descent", "sine"])["sine"].line
names = ["tanh", "erf", "sigmoid", "sin", "relu", "gelu", "softplus", "quadratic"]

fig, axes = plt.subplots(4, 2, figsize=(4.8, 6.4), sharex=True, sharey=True, layout="constrained")
for name, ax in zip(names, axes.flat, strict=True):
    risk = meanfield.Risk(meanfield.TwoLayerNetwork(1, activation=name), task)
    x0 = risk.network.initialize(200, seed=1)
    eta = 0.5 / solvers.top_eigenpairs(risk, x0).values[0]  # a quarter of the edge
    run = solvers.solve(solvers.GradientDescent(eta), risk, x0, 400, save_every=400)
    ax.plot(x, task.targets, ".", color="grey", markersize=3, label="data")
    ax.plot(x, risk.network.forward(run.centers[-1], x), **line, label="network")
    ax.set_title(f"{name}: risk {run.losses[-1]:.2g}")
fig.supxlabel("input x", fontsize="medium")
fig.supylabel("output f(x)", fontsize="medium")
_ = fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2)
