"""
Swings that grow or shrink
==========================

A drift of the next order in η decides whether gradient descent settles at the edge of stability.

Near rest y − 2/η and log u swing. To first order (arXiv:2209.15594) the swings keep their size; the determinant of
two steps at the two-cycle gives their growth, γ = ½η²ε(2 − 9ζ²). The half-step delay has it; a flow without has
−(9/2)η²εζ² and never grows. The page runs three of the five ζ and two of the four processes of

.. code-block:: sh

    python scripts/fig_minimal_valley.py --out figures
"""

# %%
import sys

import matplotlib.pyplot as plt

from meanfield.study.figures import STEPS, STYLE

sys.path.append("../../../scripts")  # of a clone
import _common as common
import fig_minimal_valley as script

plt.style.use(STYLE)
fig, axes = plt.subplots(3, 1, figsize=(4.8, 5.4), sharex=True, sharey=True, layout="constrained")
for ax, zeta in zip(axes, (0.0, 2**0.5 / 3, 1.0), strict=True):
    for name in (common.GD, "free-energy flow"):
        swing = script.swing(name, zeta, 3000)
        ax.plot(1000 * swing, **common.LINES[name], label=name)
        print(f"ζ = {zeta:.3f}, {name}: γ/η²ε = {script.growth(swing):z.3f}")
    ax.set(title=f"ζ = {zeta:.3f}: γ/η²ε = {1 - 4.5 * zeta**2:z.3f} by the determinant")
    ax.set(ylabel="1000 (y − 2/η)")
axes[-1].set(xlabel=STEPS)
_ = fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
