"""
Two maps and the flows along the minimizers
===========================================

Normalized gradient descent and descent on √E creep along the minimizers; as η → 0 each follows a flow
(arXiv:2205.09745).

On (1 + x²)y² from x = 1.5 the limits at τ = η²k = 2 are known: x = 1.01523, the root of log x + ½x² = log 1.5 +
½·1.5² − 1, and 1.5/e = 0.55182. The page runs

.. code-block:: sh

    python scripts/fig_sharpness_flow.py --out figures

with 400 to 6,400 steps in place of 1,250 to 80,000.
"""

# %%
import sys

import matplotlib.pyplot as plt
import numpy as np

from meanfield.study.figures import STYLE, looks

sys.path.append("../../../scripts")  # of a clone
import _common as common
import fig_sharpness_flow as script

plt.style.use(STYLE)
fig, axes = plt.subplots(2, 1, figsize=(4.8, 5.4), layout="constrained")
laws = {"normalized": 1.01523, "sqrt_loss": 1.5 / np.e}
colour = looks(["maps"])["maps"].colour
for (law, limit), ax in zip(laws.items(), axes, strict=True):
    runs = [script.compare(law, steps) for steps in (400, 1600, 6400)]
    ax.plot(runs[-1].times, runs[-1].limit, color=common.PALE, linewidth=4, label="sharpness flow")
    for i, run in enumerate(runs):
        ax.plot(run.times[i::3], run.x[i::3], "os^"[i], color=colour, markersize=4,
                fillstyle="none", label=f"η = {run.eta:.3f}")  # fmt: skip
        print(f"{law}, η = {run.eta:.4f}: x = {run.x[-1]:.5f}, limit {limit:.5f}")
    ax.set(title=script.LAWS[law][0].replace("ised", "ized"), xlabel="τ = η²k", ylabel="x")
_ = fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
