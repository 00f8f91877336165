"""
A bifurcation diagram, run backwards
====================================

Gradient descent on ½(1 − xyzw)² passes through chaos, period four and period two before it settles just below 2/η
(arXiv:2210.03294).

The product xy over ηS* of the minimizer passed, which falls with time. Grey: the orbit of period two, p = ½(√(1 +
3/r) ± √(1 − 1/r)), r = ηS*/2. The paper's end: a minimum whose sharpness is just below 2/η = 200. The page runs
gradient descent's 300,000 steps; the models beside it, a quarter of an hour, by

.. code-block:: sh

    python scripts/fig_degree_four.py --out figures
"""

# %%
import sys

import matplotlib.pyplot as plt
import numpy as np

from meanfield.study.figures import STYLE

sys.path.append("../../../scripts")  # of a clone
import _common as common
import fig_degree_four as script

plt.style.use(STYLE)
landscape = script.DegreeFour()
start = np.array(landscape.start)
run = common.solve(
    script.solvers.GradientDescent(script.ETA), landscape, start, 300_000, save_every=10
)
place = script.passed(run.centers)
ends = [run.centers + sign * run.fluctuations for sign in (1, -1)]  # two consecutive iterates

fig, ax = plt.subplots(figsize=(4.8, 4.0), layout="constrained")
r = np.linspace(1, place.max() / 2, 400)
for sign in (1, -1):
    orbit = 0.5 * (np.sqrt(1 + 3 / r) + sign * np.sqrt(1 - 1 / r))
    label = "orbit of period two" if sign > 0 else None
    ax.plot(2 * r, orbit, color=common.PALE, linewidth=4, label=label)
for end, label in zip(ends, ("gradient descent", None), strict=True):
    ax.plot(place, script.product(end), **script.DOTS, label=label)
ax.set(xlim=(place.max() + 0.01, 1.98), xlabel="ηS* of the minimizer passed", ylabel="xy")
_ = fig.legend(loc="outside upper center", ncols=2, markerscale=6)
x, y = run.iterates[-1, :2]
sharpness = script.solvers.top_eigenpairs(landscape, run.iterates[-1]).values[0]
print(f"after {run.times[-1]:,.0f} steps: x = {x:.5f}, y = {y:.6f}, S = {sharpness:.3f} < 200")
