"""
A two-layer MLP on images
=========================

Gradient descent, the gradient flow and the free-energy flow on a classifier of images (arXiv:2606.05326).

The paper, on 500 images of CIFAR-10 with η = 0.02: the sharpness rises to 2/η and stays, and the free-energy flow
follows the loss averaged over its oscillation. Ours at that size is in the results, the page runs 100 of the 8x8
digits in place of

.. code-block:: sh

    python scripts/fig_image_networks.py --only mlp --data PATH --out figures
"""

# %%
import sys

import matplotlib.pyplot as plt

from meanfield.study.figures import STYLE

sys.path.append("../../../scripts")  # of a clone
import fig_image_networks as script

plt.style.use(STYLE)
problem = script.problem_on_digits("mlp")
fig, axes = plt.subplots(2, 1, figsize=(4.8, 5.4), sharex=True, layout="constrained")
script.draw_side_by_side(fig, axes, problem, steps=160, every=8)
