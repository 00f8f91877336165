"""
The minimal valley
==================

Every model of gradient descent in the valley of arXiv:2606.18080: which of them peaks where gradient descent does?

At rest all models that know the fluctuation have to agree. The central flow (arXiv:2410.24206) rests at x =
−0.002995, y = 6.67565 with u² = 0.01999, which follows from ∇E + ½u²∇S = 0 and S = 2/η. The page runs the computation
of

.. code-block:: sh

    python scripts/fig_minimal_valley.py --out figures

for 1,500 of its 2,000 steps.
"""

# %%
import sys

import matplotlib.pyplot as plt
import numpy as np

from meanfield.study.figures import STYLE

sys.path.append("../../../scripts")  # of a clone
import _common as common
import fig_minimal_valley as script

plt.style.use(STYLE)
valley = script.Valley(zeta=1.0, epsilon=0.01)
start = np.array(valley.start)
flows = common.models(script.ETA)
runs = {n: common.measure(f, valley, start, 1500, sharpness=False) for n, f in flows.items()}

fig, ax = plt.subplots(figsize=(4.8, 4.2), layout="constrained")
common.plot(
    ax, runs, lambda run: run.centers[:, 1], ylabel="sharpness y of the floor", ylim=(5.9, 7.7)
)
common.plot_edge(ax, script.EDGE, "edge of stability, 2/η")
_ = fig.legend(loc="outside upper center", ncols=2)
print(f"{'':32}   peak of y   at step   y at the end       u²")
for name, run in runs.items():
    y, u = run.centers[:, 1], run.fluctuation[-1]
    print(f"{name:32} {y.max():11.4f} {y.argmax():9d} {y[-1]:14.4f} {u**2:8.5f}")
print(f"{'central flow at rest, exactly':32} {'':11} {'':9} {6.67565:14.4f} {0.01999:8.5f}")
