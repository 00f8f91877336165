"""
Spikes of a matrix factorization
================================

The loss of gradient descent falls in spikes; the free-energy flow predicts between which two values it alternates
(arXiv:2606.05326).

½‖W₃W₂W₁ − M‖² of 2×2 matrices with η = 0.077, where the flattest minimum is just below the edge. The paper: the free-energy
flow tracks the envelope of the loss through its spikes. The band is E at the two ends w ± u. With the half-step delay the
spikes come when gradient descent's do; without it the first comes early. The page runs the 400 steps of three of the
processes of

.. code-block:: sh

    python scripts/fig_matrix_factorization.py --out figures
"""

# %%
import sys

import matplotlib.pyplot as plt
import numpy as np

from meanfield.study.figures import STYLE

sys.path.append("../../../scripts")  # of a clone
import _common as common
import fig_matrix_factorization as script

plt.style.use(STYLE)
landscape = script.MatrixFactorization()
start = np.array(landscape.start)
names = (common.GD, "gradient flow", "free-energy flow", "free-energy flow, delay")
runs = {
    name: common.measure(flow, landscape, start, 400, sharpness=False)
    for name, flow in common.models(script.ETA, *names).items()
}
fig, axes = plt.subplots(2, 1, figsize=(4.8, 5.4), sharex=True, layout="constrained")
for ax, name in zip(axes, names[2:], strict=True):
    script.draw_losses(ax, name, runs)
    ax.label_outer()
axes[0].plot(
    runs[names[1]].times, runs[names[1]].predicted, **common.LINES[names[1]], label=names[1]
)
_ = fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
for name in names[1:]:
    factor = script.factor(runs[name], runs[common.GD])
    first, descent = script.first_spike(runs[name]), script.first_spike(runs[common.GD])
    print(
        f"{name}: first spike at step {first} (gradient descent {descent}), loss off by {factor:.3g}"
    )
