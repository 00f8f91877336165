"""
A Wasserstein gradient flow by minimizing movements
===================================================

One energy, three ways to hold a measure: particles, a grid, quantiles. Then the free energy of gradient descent, whose
movement is not a minimum but a saddle.

The page runs in about a minute on one core.
"""

# %%
# The scheme of Jordan, Kinderlehrer and Otto
# -------------------------------------------
#
# The Wasserstein gradient flow of an energy E is the curve of measures that goes down E as steeply as possible,
# where the length of a step is the cost of transporting the mass. In steps of size τ,
#
# .. math:: \mu_{n+1} = \operatorname{argmin}_\mu\; E[\mu] + \frac{W_2^2(\mu, \mu_n)}{2\tau}.
#
# Take a double well and a temperature,
#
# .. math:: E[\mu] = \int V \, d\mu + T \int \rho \log \rho, \qquad
#           \partial_t \rho = \nabla\cdot(\rho \nabla V) + T \Delta \rho,
#
# a Fokker–Planck equation whose limit is the Gibbs measure exp(−V/T).

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

import meanfield
import solvers
from meanfield.study.figures import STYLE, looks
from solvers.measures.energies import Entropy, Potential

plt.style.use(STYLE)
temperature, tau, steps = 0.3, 0.1, 30


def V(x):
    return 0.25 * (x[:, 0] ** 2 - 1) ** 2 + 0.2 * x[:, 0]


well = Potential(V, lambda x: x**3 - x + 0.2, lambda x: (3 * x**2 - 1)[..., None])
energy = well + Entropy(temperature)

# %%
# Three representations of one start
# ----------------------------------
#
# A normal law to the right of the barrier, as densities of cells, as quantiles, and as particles. Particles have no
# density, so their entropy is estimated, on the line from the gaps between neighbours.

edges = np.linspace(-3, 3.5, 131)
grid = solvers.Grid.from_density(edges, lambda x: norm.pdf(x[:, 0], 0.8, 0.3))
levels = (np.arange(150) + 0.5) / 150
states = {
    "grid": grid,
    "quantiles": solvers.Quantiles.of(grid, 150),
    "particles": norm.ppf(levels, 0.8, 0.3)[:, None],
}
schemes = {
    "grid": solvers.GridJKO(tau),
    "quantiles": solvers.QuantileJKO(tau),
    "particles": solvers.JKO(tau, temperature=temperature),
}

history = {name: [] for name in states}
for name, scheme in schemes.items():
    for _ in range(steps):
        step = scheme.step(well if name == "particles" else energy, states[name])
        states[name] = step.state
        history[name].append(step)


def density(state):
    """Points and density of a measure on the line."""
    if isinstance(state, solvers.Grid):
        return state.centers[0], state.density
    values = state.values if isinstance(state, solvers.Quantiles) else np.sort(state[:, 0])
    cells = len(values) - isinstance(state, solvers.Quantiles)
    return 0.5 * (values[1:] + values[:-1]), 1 / cells / np.diff(values)


x = np.linspace(-2.6, 2.6, 400)
gibbs = np.exp(-V(x[:, None]) / temperature)
gibbs /= gibbs.sum() * (x[1] - x[0])
fig, ax = plt.subplots(figsize=(4.8, 3.8), layout="constrained")
ax.plot(*density(grid), color="grey", linestyle=":", label="start")
ax.plot(x, gibbs, color="grey", linewidth=4, alpha=0.4, label="Gibbs measure, t = ∞")
for (name, state), look in zip(states.items(), looks("abc").values(), strict=True):
    ax.plot(*density(state), **look.line, label=f"{name}, t = {tau * steps:g}")
ax.set(xlabel="x", ylabel="density ρ", xlim=(-2.6, 2.6))
_ = fig.legend(loc="outside upper center", ncols=2)

pairs = [("grid", "quantiles"), ("grid", "particles"), ("quantiles", "particles")]
for a, b in pairs:
    print(f"W2({a}, {b}) = {solvers.transport.w2(states[a], states[b]).distance:.4f}")

# %%
# The mass has begun to cross the barrier, and is on its way to the Gibbs measure, which has more of it on the left.
# The three
# curves cannot be told apart. How far the measures are from one another is printed: a distance is exact for every
# pair of kinds.
#
# Certificates
# ------------
#
# Every step says how well it was solved. The first certificate is the energy inequality, E_{n+1} + W2²/2τ ≤ E_n;
# the second the residual of the optimality condition. A step that cannot be solved raises, it is never returned in
# silence.

fig, ax = plt.subplots(figsize=(4.8, 3.4), layout="constrained")
for (name, taken), look in zip(history.items(), looks("abc").values(), strict=True):
    energies = np.array([step.energy for step in taken])
    ax.plot(tau * (1 + np.arange(steps)), energies, **look.line, label=name)
    before = np.concatenate([[taken[0].energy_before], energies[:-1]])
    spent = energies + [step.transport_cost / (2 * tau) for step in taken] - before
    residual = max(step.residual for step in taken)
    print(f"{name}: largest E' + W2²/2τ − E = {spent.max():.1e}, largest residual {residual:.0e}")
free = -temperature * np.log(np.sum(np.exp(-V(x[:, None]) / temperature)) * (x[1] - x[0]))
ax.axhline(free, color="grey", linestyle="--", label="least energy, −T log ∫exp(−V/T)")
ax.set(xlabel="time t", ylabel="energy E")
_ = fig.legend(loc="outside upper center", ncols=2)

# %%
# The energy falls ever more slowly towards its least value, as the mass has to leak across the barrier. That of the
# particles lies a little higher, by the estimate of their entropy. What is printed second is negative for all
# three: at every step the energy falls by more than the transport costs.
#
# How accurate is a step?
# -----------------------
#
# The scheme is of first order. On a parabola, V = x²/2 with T = 1, the law stays normal and its standard deviation
# at t = 1 is known, √(1 + 3e⁻²) from 2.

parabola = Potential(lambda x: 0.5 * x[:, 0] ** 2, lambda x: x, lambda x: np.ones((len(x), 1, 1)))
exact = np.sqrt(1 + 3 * np.exp(-2))
for step_size in (0.2, 0.1, 0.05):
    law = solvers.Quantiles(norm.ppf(np.linspace(0.001, 0.999, 200), scale=2))
    law = solvers.Quantiles(law.values * 2 / np.sqrt(law.covariance()[0, 0]))
    for _ in range(round(1 / step_size)):
        law = solvers.QuantileJKO(step_size).step(parabola + Entropy(), law).state
    print(f"τ = {step_size}: error {np.sqrt(law.covariance()[0, 0]) - exact:+.4f}")

# %%
# Half the step, about half the error.
#
# The saddle of the free energy
# -----------------------------
#
# The kinetic equation of gradient descent at the edge of stability is a Wasserstein flow too: of the free energy
#
# .. math:: F[\mu] = \tfrac12 (R[\mu_+] + R[\mu_-]) - \frac1\eta \int |u|^2\, d\mu,
#           \qquad \mu_\pm = \mathrm{law}(\theta \pm u),
#
# for a metric that counts u negatively. Weights go down F, fluctuations go up, so a movement is a saddle: a minimum
# over weights and a maximum over fluctuations, each with its transport cost. Take a network on the line with one
# weight per neuron,

points = np.linspace(-2.0, 2.0, 40)[:, None]
network = meanfield.TwoLayerNetwork(1, activation="sin", bias=False, train_output=False)
risk = meanfield.Risk(network, meanfield.tasks.Task(points, 0.6 * np.sin(2 * points), "sine"))
x0 = norm.ppf((np.arange(100) + 0.5) / 100)[:, None]
eta = 2.5

runs = {
    "free_energy_flow": solvers.solve(solvers.FreeEnergyFlow(eta), risk, x0, steps=20),
    "jko": solvers.solve(solvers.JKOFlow(eta, saddle=True), risk, x0, steps=20, dt=1 / 4),
}
descent = solvers.solve(solvers.GradientDescent(eta), risk, x0, steps=20)

fig, (top, bottom) = plt.subplots(2, 1, figsize=(4.8, 4.8), sharex=True, layout="constrained")
for name, look in looks(["gradient_descent", *runs]).items():
    run = descent if name == "gradient_descent" else runs[name]
    label = {"jko": "movements, τ = ¼"}.get(name, name.replace("_", " "))
    top.plot(run.times, run.free_energies, **look.line, label=label)
    bottom.semilogy(run.times, run.fluctuation_trace, **look.line)
top.set(ylabel="free energy F")
bottom.set(xlabel="time t (iterations of gradient descent)", ylabel="tr Σ")
_ = fig.legend(loc="outside upper center", ncols=3)
distance = solvers.transport.w2(runs["jko"].centers[-1], runs["free_energy_flow"].centers[-1])
print(f"W2 of movements and free-energy flow at t = 20: {distance.distance:.4f}")

# %%
# The movements follow the explicit flow, with an error of first order in τ. Gradient descent, the broad line, differs
# from both by the error of the model. One step in detail: the certificate has
# two sides now, as neither part may gain by going back.

w, u = runs["free_energy_flow"].centers[0], runs["free_energy_flow"].fluctuations[0]
step = solvers.JKO(0.25, learning_rate=eta, saddle=True).step(risk, np.stack([w, u]))
print(f"F: {step.energy_before:.6f} → {step.energy:.6f}")
print(
    f"transport of weights {step.transport_parts[0]:.2e}, of fluctuations {step.transport_parts[1]:.2e}"
)
print(f"residual {step.residual:.0e}, plan is the identity: {step.plan_is_identity}")
for certificate in step.certificates:
    print(certificate)

# %%
# Where the plan is the identity, every neuron keeps its mass and the movement is one step of the implicit Euler
# scheme of the free-energy flow. That is worth its cost where explicit steps are unstable, where an energy has no
# gradient on particles, or where a certificate is wanted. The ascent has a solution only while τ(ηS − 2) < 1; the
# solver checks that, and takes shorter steps where it fails.
