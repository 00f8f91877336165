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

import solvers
from meanfield.study.figures import STYLE

sys.path.append("../../../scripts")  # of a clone
import fig_image_networks as script

plt.style.use(STYLE)
problem = script.problem_on_digits("quiet", n=150)
sharpness = solvers.top_eigenpairs(problem.objective, problem.x0).values[0]
problem = dataclasses.replace(problem, eta=0.95 / sharpness)
fig, axes = plt.subplots(2, 1, figsize=(4.8, 5.4), sharex=True, layout="constrained")
script.draw_side_by_side(fig, axes, problem, steps=200, every=8)
