"""
Steps on a grid, and how exact they are
=======================================

A minimising movement on cells comes with a bound on how far it is from the minimum, and keeps a sharp front sharp.

The porous medium ∂ₜρ = Δρ², whose exact density is a parabola that ends in fronts, from t = 1 to 2 in 20 steps on 60 cells. The
exact step maximises ∫φᶜdμₙ − E*(−φ) ≤ E[μ] + W₂²(μ, μₙ)/2τ over φ: the gap between the two sides bounds what is missed of the
minimum, here below 10⁻⁸ where E falls by 0.002 and more. Entropic transport has no such bound. It is as close with the Sinkhorn
divergence S_ε; with OT_ε every step blurs by the variance ε/2, and mass is ahead of the front.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
C, tau, edges = (3 / (4 * np.sqrt(12))) ** (2 / 3), 0.05, np.linspace(-3, 3, 61)


def barenblatt(x, t):
    return np.clip(C - x**2 * t ** (-2 / 3) / 12, 0, None) * t ** (-1 / 3)


schemes = {
    "exact": solvers.GridJKO(tau),
    "entropic": solvers.GridJKO(tau, method="entropic"),
    "entropic, OT in place of S": solvers.GridJKO(tau, method="entropic", debias=False),
}
start, exact = (
    solvers.Grid.from_density(edges, lambda x, t=t: barenblatt(x[:, 0], t)) for t in (1.0, 2.0)
)
x = np.linspace(1.0, 3.0, 400)
fig, (top, bottom) = plt.subplots(2, 1, figsize=(4.8, 5.4), layout="constrained")
top.plot(x, barenblatt(x, 2.0), color="grey", linewidth=4, alpha=0.5, label="exact density")
for (name, scheme), look, mark in zip(schemes.items(), looks("abc").values(), "s.^", strict=True):
    state, steps = start, []
    for _ in range(20):
        steps.append(scheme.step(solvers.energies.PowerEntropy(2.0), state))
        state = steps[-1].state
    style = look.line | {"marker": mark, "fillstyle": "none", "label": name}
    top.plot(start.centers[0], state.density, **style)
    error = abs(state.masses - exact.masses).sum()
    print(f"{name}: L1 error {error:.4f}, largest gap {max(step.gap for step in steps):.1e}")
    if name == "exact":
        decrease = [step.energy_before - step.energy for step in steps]
        times, gaps = 1 + tau * np.arange(1, 21), [step.gap for step in steps]
        bottom.semilogy(times, decrease, "^", color="grey", label="decrease of E in a step")
        bottom.semilogy(times, gaps, "s", color=look.colour, label="gap of the step")
top.set(xlabel="x", ylabel="density at t = 2", xlim=(1.0, 3.0), ylim=(0, 0.2))
top.legend()
bottom.set(xlabel="time t", ylabel="energy")
_ = bottom.legend()
