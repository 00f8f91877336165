"""
The kinetic equation in phase space
===================================

Weights descend, fluctuations ascend: the joint law of both, as a density and as particles.

A network on a line with one coordinate per neuron has a phase space of two dimensions, θ and u. A finite-volume
scheme carries the density; particles of the same system are drawn over it. They start on a curve, as gradient descent
does, with u = ½η∇R'(θ): the grid blurs it over some cells. Below, the free energy F[μ] of both, and what the fluxes of the grid
say of it, F(0) + ∫(−η∫|∇_θF'|²dμ + η∫|∇_uF'|²dμ)dt.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

import meanfield
import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
x = np.linspace(-2.0, 2.0, 40)[:, None]
network = meanfield.TwoLayerNetwork(1, activation="sin", bias=False, train_output=False)
risk = meanfield.Risk(network, meanfield.tasks.Task(x, 0.6 * np.sin(2 * x), "sine"))
x0 = norm.ppf((np.arange(400) + 0.5) / 400)[:, None]
eta = 2.5

pde = solvers.PhaseSpaceFlow(eta, cells=(192, 192))
run = solvers.solve(pde, risk, x0, steps=6)
particles = solvers.solve(solvers.FreeEnergyFlow(eta), risk, x0, steps=6)
law = pde.density(run.state.values)

fig, (ax, below) = plt.subplots(2, 1, figsize=(4.8, 6.0), layout="constrained")
grid = law.grid
image = ax.pcolormesh(grid.theta_edges, grid.u_edges, np.sqrt(law.masses.T), cmap="Greys")
fig.colorbar(image, ax=ax, label="√ mass of the cell")
colour = looks(["particles"])["particles"].colour
ax.plot(particles.centers[-1, ::8], particles.fluctuations[-1, ::8], ".", color=colour, markersize=2.5,
        label="particles at t = 6")  # fmt: skip
ax.set(xlabel="weight θ", ylabel="fluctuation u", xlim=(-1, 2.6), ylim=(-0.25, 0.25))
circles = {"color": colour, "fillstyle": "none", "label": "F of the particles"}
below.plot(particles.times, particles.free_energies, "o", **circles)
broad = {"color": "grey", "linewidth": 4, "alpha": 0.5, "label": "F of the grid"}
below.plot(run.times, run.free_energies, **broad)
change = run.free_energies[0] + run.dissipated
below.plot(run.times, change, "k--", linewidth=1, label="F(0) and dissipation")
below.set(xlabel="time t (iterations)", ylabel="free energy F")
_ = fig.legend(loc="outside upper center", ncols=2)
distance = solvers.transport.w2(law.theta_marginal(), solvers.Particles(particles.centers[-1]))
print(f"W2 of the laws of θ: {distance.distance:.4f}; a cell is {grid.spacings[0]:.4f} wide")
print(f"largest difference of F and the dissipation: {abs(change - run.free_energies).max():.1e}")
