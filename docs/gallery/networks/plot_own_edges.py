"""
Every optimizer at its own edge
===============================

The top eigenvalue of the preconditioned Hessian over each rule's own threshold: 1 is the edge of stability of all.

A two-layer network on 100 digits. The thresholds are ηS = 2 for gradient descent, 2(1 + β) with momentum β, 2(1 + β)/(1 + 2β)
with Nesterov's; RMSProp and Adam divide by the root of a mean of squared gradients, and it is P⁻¹H that counts.
"""

# %%
import matplotlib.pyplot as plt

import meanfield
import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
task, network = meanfield.tasks.digits(100), meanfield.TwoLayerNetwork(input_dim=64)
risk, x0 = meanfield.Risk(network, task), network.initialize(100, seed=0)
rules = {
    "gradient descent": solvers.GradientDescent(1.0),
    "heavy ball, β = 0.3": solvers.HeavyBall(1.0, 0.3),
    "Nesterov, β = 0.3": solvers.Nesterov(0.8, 0.3),
    "RMSProp": solvers.RMSProp(0.02, eps=1e-2, bias_correction=True),
    "Adam, β₁ = 0.5": solvers.Adam(0.05, 0.5, 0.99, eps=1e-2),
}
fig, ax = plt.subplots(figsize=(4.8, 3.6), layout="constrained")
for (name, rule), look in zip(rules.items(), looks(rules).values(), strict=True):
    state, times, sharpness = x0, range(0, 301, 10), []
    for _ in times:
        run = solvers.solve(rule, risk, state, steps=0 if state is x0 else 10)
        state = run.state
        sharpness.append(solvers.effective_sharpness(rule, risk, state))
    print(f"{name}: {run.status}, risk {run.losses[-1]:.3g}, {sharpness[-1]:.3f} of its threshold")
    ax.plot(times, sharpness, **look.line, label=name)
ax.axhline(1, color="grey", linestyle="--", linewidth=0.8, label="edge of stability")
ax.set(xlabel="step k", ylabel="sharpness over its threshold", ylim=(0, 1.8))
fig.legend(loc="outside upper center", ncols=2)
