"""
A mean-field network on images
==============================

Gradient descent, the gradient flow and the free-energy flow on a classifier of images (arXiv:2606.05326).

The same experiment with a two-layer network in mean-field scaling, η = 2/S with the sharpness S that the gradient
flow has when the risk is a third of what it was. Ours on CIFAR-10 is in the results, the page runs 100 of the 8x8
digits in place of

.. code-block:: sh

    python scripts/fig_image_networks.py --only meanfield --data PATH --out figures
"""

# %%
import sys

import matplotlib.pyplot as plt
import numpy as np

from meanfield import tasks
from meanfield.study.figures import STYLE

sys.path.append("../../../scripts")  # of a clone
import _common as common
import fig_image_networks as script

plt.style.use(STYLE)
images, positive = tasks.digits(100, target="classes"), (0, 2, 4, 6, 8)
problem = script.PROBLEMS["meanfield"][0](images, positive, 0)
names = (common.GD, "gradient flow", "free-energy flow", "free-energy flow, delay")
runs = {
    name: common.measure(
        flow, problem.objective, problem.x0, 150, 6, **script.OPTIONS.get(name, {})
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
