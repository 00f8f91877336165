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

from meanfield.study.figures import STYLE

sys.path.append("../../../scripts")  # of a clone
import fig_image_networks as script

plt.style.use(STYLE)
problem = script.problem_on_digits("meanfield")
fig, axes = plt.subplots(2, 1, figsize=(4.8, 5.4), sharex=True, layout="constrained")
script.draw_side_by_side(fig, axes, problem, steps=150, every=6)
