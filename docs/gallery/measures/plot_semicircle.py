"""
Repulsion that ends in a semicircle
===================================

Particles that attract like springs and repel like charges on a line rest in Wigner's law.

E = ½∬W(x − y) with W = x²/2 − log|x|: from two clusters, minimizing movements of 80 quantile cells. At rest the
density is √(2 − x²)/π.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
energy = solvers.energies.Interaction(
    lambda r: 0.5 * r[:, 0] ** 2 - np.log(np.abs(r[:, 0])),
    lambda r: r - 1 / r,
    lambda r: (1 + 1 / r**2)[..., None],
)
n = 80
half = np.linspace(1.5, 2.0, n // 2)
state = solvers.Quantiles(np.concatenate([-half[::-1], [0.0], half]))
paths = [state.values]
for _ in range(40):
    step = solvers.QuantileJKO(0.1).step(energy, state)
    state = step.state
    paths.append(state.values)

fig, (left, right) = plt.subplots(2, 1, figsize=(4.8, 5.4), layout="constrained")
colour = looks(["paths"])["paths"].colour
left.plot(0.1 * np.arange(41), np.array(paths)[:, ::4], color=colour, linewidth=0.7)
left.set(xlabel="time t", ylabel="quantiles")
x = np.linspace(-np.sqrt(2), np.sqrt(2), 200)
right.plot(
    x,
    np.sqrt(np.clip(2 - x**2, 0, None)) / np.pi,
    color="grey",
    linewidth=3,
    alpha=0.6,
    label="√(2 − x²)/π",
)
middle = 0.5 * (state.values[1:] + state.values[:-1])
right.plot(middle, 1 / n / np.diff(state.values), ".", color=colour, label="quantiles at t = 4")
right.set(xlabel="x", ylabel="density")
_ = fig.legend(loc="outside upper center", ncols=2)
print(
    f"variance {state.covariance()[0, 0]:.4f}, of the semicircle 0.5; last residual {step.residual:.0e}"
)
