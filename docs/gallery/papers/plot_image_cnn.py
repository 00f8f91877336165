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

from meanfield.study.figures import STYLE

sys.path.append("../../../scripts")  # of a clone
import fig_image_networks as script

plt.style.use(STYLE)
problem = dataclasses.replace(script.problem_on_digits("cnn"), eta=0.04)
fig, axes = plt.subplots(2, 1, figsize=(4.8, 5.4), sharex=True, layout="constrained")
script.draw_side_by_side(fig, axes, problem, steps=120, every=6)
