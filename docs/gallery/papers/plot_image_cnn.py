"""
A convolutional network on images
=================================

Gradient descent, the gradient flow and the free-energy flow on a classifier of images (arXiv:2606.05326).

The paper, on 500 images of CIFAR-10 with η = 0.02: convolutional networks reach the edge as MLPs do. Ours at that
size is in the results; the page runs 100 of the 8x8 digits, with η = 0.04 so that they reach the edge within 120
steps, in place of

.. code-block:: sh

    python scripts/fig_image_networks.py --only cnn --data PATH --out figures
"""

# %%
import dataclasses
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
problem = dataclasses.replace(script.PROBLEMS["cnn"][0](images, positive, 0), eta=0.04)
names = (common.GD, "gradient flow", "free-energy flow", "free-energy flow, delay")
runs = {
    name: common.measure(
        flow, problem.objective, problem.x0, 120, 6, **script.OPTIONS.get(name, {})
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
