"""
The porous medium's free boundary
=================================

Minimizing movements of quantiles carry a density with a sharp front, beside the exact solution.

∂ₜρ = Δρ² is the Wasserstein gradient flow of ∫ρ². Barenblatt's solution is a parabola on a support that grows like
t^(1/3). Between t = 1 and 2 the scheme's error halves with its step τ.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
C = (3 / (4 * np.sqrt(12))) ** (2 / 3)  # mass one


def barenblatt(x, t):
    return np.clip(C - x**2 * t ** (-2 / 3) / 12, 0, None) * t ** (-1 / 3)


edges = np.linspace(-4, 4, 2001)
start, exact = (
    solvers.Grid.from_density(edges, lambda x, t=t: barenblatt(x[:, 0], t)) for t in (1.0, 2.0)
)
fig, (ax, below) = plt.subplots(2, 1, figsize=(4.8, 5.0), sharex=True, layout="constrained")
x = exact.centers[0]
ax.plot(x, start.density, color="grey", linestyle=":", label="exact, t = 1")
ax.plot(x, exact.density, color="grey", linewidth=3, alpha=0.6, label="exact, t = 2")
for tau, look in zip((0.5, 0.25, 0.125), looks("abc").values(), strict=True):
    state = solvers.Quantiles.of(start, 200)
    for _ in range(round(1 / tau)):
        state = solvers.QuantileJKO(tau).step(solvers.energies.PowerEntropy(2.0), state).state
    middle = 0.5 * (state.values[1:] + state.values[:-1])
    density = 1 / 200 / np.diff(state.values)
    ax.plot(middle, density, **look.line, label=f"τ = {tau}, t = 2")
    below.plot(middle, density - barenblatt(middle, 2.0), **look.line)
    print(f"τ = {tau}: W2 to the exact law {solvers.transport.w2(state, exact).distance:.4f}")
ax.set(ylabel="density ρ", xlim=(-2.8, 2.8))
below.set(xlabel="x", ylabel="error of ρ at t = 2")
_ = fig.legend(loc="outside upper center", ncols=3)
