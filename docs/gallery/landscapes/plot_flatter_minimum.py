"""
A large learning rate ends in a flatter minimum
===============================================

The gradient flow ends at the same minimum for every η; gradient descent does not.

E = ½(xy − 1)² has a curve of minima xy = 1, of sharpness x² + y². The gradient flow keeps c = x² − y² and ends at
sharpness √(c² + 4). Gradient descent obeys c ← c(1 − η²r²) with the residual r = xy − 1, exactly: every step off the
curve leads to a flatter minimum, and none that it reaches is sharper than 2/η.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
landscape = meanfield.landscapes.ScalarFactorization(depth=2, target=1.0)
start = [3.0, 0.2]
etas = np.linspace(0.01, 0.36, 71)


def final_sharpness(flow):
    run = solvers.solve(flow, landscape, start, steps=3000, save_every=3000)
    return solvers.top_eigenpairs(landscape, run.centers[-1]).values[0]


descent = [final_sharpness(solvers.GradientDescent(eta)) for eta in etas]
flow = final_sharpness(solvers.GradientFlow(0.1))
line = looks(["gradient_descent", "gradient_flow"])

fig, ax = plt.subplots(figsize=(4.8, 3.6), layout="constrained")
ax.plot(etas, 2 / etas, color="grey", linestyle="--", label="edge of stability, 2/η")
ax.axhline(flow, **line["gradient_flow"].line, label="gradient flow")
ax.plot(etas, descent, ".", color=line["gradient_descent"].colour, label="gradient descent")
ax.set(xlabel="learning rate η", ylabel="sharpness of the minimum", ylim=(0, 12))
fig.legend(loc="outside upper center", ncols=3)

c = start[0] ** 2 - start[1] ** 2
print(f"gradient flow {flow:.4f}, √(c² + 4) = {np.hypot(c, 2):.4f}")
print("largest ηS where gradient descent ends:", round(float(np.max(etas * descent)), 4))
