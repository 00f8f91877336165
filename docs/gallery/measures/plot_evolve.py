"""
A gradient flow in one call
===========================

A crowd in a double well with diffusion: its density over time, and the energy with its certificate.

`solvers.evolve` chooses the scheme by the kind of measure, here a grid, and the step sizes by a tolerance: short while
the mass runs down into the wells, long while it leaks across the barrier. The energy is certified to fall at every
step, and what it has lost is what the transport has dissipated, up to the error of the scheme.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import solvers
from meanfield.study.figures import STYLE, looks
from solvers.measures.energies import Entropy, Potential

plt.style.use(STYLE)
wells = Potential(lambda x: (x[:, 0] ** 2 - 1) ** 2 + 0.1 * x[:, 0])
edges = np.linspace(-2.2, 2.2, 161)
start = solvers.Grid.from_density(edges, lambda x: np.exp(-8 * (x[:, 0] - 0.3) ** 2))
result = solvers.evolve(wells + Entropy(0.3), start, t=2.0, tolerance=5e-3, order=2)

fig, (top, bottom) = plt.subplots(2, 1, figsize=(4.8, 5.4), layout="constrained")
shown = [int(np.argmin(np.abs(result.times - t))) for t in (0.0, 0.1, 0.5, 2.0)]
for k, look in zip(shown, looks("abcd").values(), strict=True):
    label = f"t = {result.times[k]:.2g}"
    top.plot(start.centers[0], result.measures[k].density, **look.line, label=label)
top.set(xlabel="x", ylabel="density ρ")
top.legend()
energy, spent = looks("ab").values()
bottom.plot(result.times, result.energies, **energy.line, label="energy E(t)")
dissipated = result.energies[0] - result.dissipated
bottom.plot(result.times, dissipated, **spent.line, label="E(0) − Σ W2²/τ")
bottom.set(xlabel="time t", ylabel="energy")
_ = bottom.legend()
taus = result.step_sizes
print(f"{len(taus)} steps of τ from {taus.min():.3f} to {taus.max():.3f}")
print(f"largest excess of an energy inequality: {result.excesses.max():.1e}")
print(
    f"E(0) − E(t) = {result.energies[0] - result.energies[-1]:.4f}, dissipated {result.dissipated[-1]:.4f}"
)
