"""
An MLP that comes to the edge quietly
=====================================

Gradient descent, the gradient flow and the free-energy flow on a classifier of images (arXiv:2606.05326).

Three layers, every pixel standardized: the oscillation has decayed to rounding when ηS reaches 2 and comes back tens
of steps later, with ηS above 2 by then; a model must keep what is left of it. Ours on CIFAR-10 is in the results; the
page runs the first four classes of 150 of the 8x8 digits, with η = 0.95/S so that they reach the edge, in place of

.. code-block:: sh

    python scripts/fig_image_networks.py --only quiet --data PATH --out figures
"""

# %%
import dataclasses
import sys

import matplotlib.pyplot as plt
import numpy as np

import solvers
from meanfield import tasks
from meanfield.study.figures import STYLE

sys.path.append("../../../scripts")  # of a clone
import _common as common
import fig_image_networks as script

plt.style.use(STYLE)
images, positive = tasks.digits(150, target="classes"), (0, 2, 4, 6, 8)
problem = script.PROBLEMS["quiet"][0](images, positive, 0)
sharpness = solvers.top_eigenpairs(problem.objective, problem.x0).values[0]
problem = dataclasses.replace(problem, eta=0.95 / sharpness)
names = (common.GD, "gradient flow", "free-energy flow", "free-energy flow, delay")
runs = {
    name: common.measure(
        flow, problem.objective, problem.x0, 200, 8, **script.OPTIONS.get(name, {})
    )
    for name, flow in common.models(problem.eta, *names).items()
}
fig, (top, bottom) = plt.subplots(2, 1, figsize=(4.8, 5.4), sharex=True, layout="constrained")
common.plot_envelope(top, runs[common.GD])
common.plot(top, runs, lambda run: run.predicted, xlabel=None, yscale="log")
top.set(ylabel="loss, averaged over the oscillation")
common.plot_edge(bottom, 2, "edge of stability")
common.plot(bottom, runs, lambda run: problem.eta * run.sharpness, ylabel="ηS at the center")
handles = dict(zip(*reversed(top.get_legend_handles_labels()), strict=True))
_ = fig.legend(handles.values(), handles, loc="outside upper center", ncols=2)
print(f"{problem.title}, η = {problem.eta:.4g}")
for name, run in runs.items():
    gap = common.distances(problem.objective, run, runs[common.GD])
    peak = problem.eta * run.sharpness.max()
    print(f"{name}: largest ηS {peak:.3f}, RMS distance {np.sqrt(np.mean(gap**2)):.3g}")
