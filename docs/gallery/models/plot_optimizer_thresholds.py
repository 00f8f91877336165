"""
Six thresholds are one
======================

Each rule has its own threshold of the sharpness; over it, the oscillation of every rule begins to grow at 1.

On E = ½λx², with the mean of squares held at ν, the rules are linear maps of weights and memory. They have the eigenvalue −1
at ηλ = 2 for gradient descent, 2(1 + β) for heavy ball, 2(1 + β)/(1 + 2β) for Nesterov's rule, and, with P = (√ν + ε)/η, at
λ/P = 2 for RMSProp and 2(1 + β₁)/(1 − β₁) for Adam. Drawn is how fast u grows per step, measured over 80 steps: all curves
cross 0 at 1, and differ elsewhere. (With held means RMSProp is gradient descent. Where the eigenvalues are complex, heavy ball
and Adam decay by ½ log β per step.)
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
held = {"beta2": 1 - 2.0**-53, "eps": 0.2}  # ν stays at 0
rules = {
    "gradient descent": solvers.GradientDescent(0.1),
    "heavy ball, β = 0.5": solvers.HeavyBall(0.1, 0.5),
    "Nesterov, β = 0.5": solvers.Nesterov(0.1, 0.5),
    "scalar RMSProp": solvers.ScalarRMSProp(0.1, **held),
    "RMSProp": solvers.RMSProp(0.1, **held),
    "Adam, β₁ = 0.2": solvers.Adam(0.1, 0.2, bias_correction=False, **held),
}
fractions = np.arange(14, 27) / 20


def bowl(curvature):
    return meanfield.landscapes.Quartic(curvature, 1e-300)


fig, ax = plt.subplots(figsize=(4.8, 4.0), layout="constrained")
for (name, rule), look, mark in zip(rules.items(), looks(rules).values(), "os^xv+", strict=True):
    unit = solvers.solve(rule, bowl(1.0), [1e-100], steps=0)
    threshold = 1 / solvers.effective_sharpness(rule, bowl(1.0), unit.state)
    growth = []
    for fraction in fractions:
        run = solvers.solve(rule, bowl(fraction * threshold), [1e-100], steps=80)
        size = abs(run.fluctuations[:, 0])
        growth.append(np.log(size[61:].max() / size[41:61].max()) / 20)
    ax.plot(fractions, growth, **look.line, marker=mark, markersize=6, fillstyle="none", label=name)
    print(f"{name}: threshold λ = {threshold:.4f}, growth there {growth[6]:z.1e} per step")
ax.axhline(0, color="grey", linewidth=0.8)
ax.axvline(1, color="grey", linestyle="--", linewidth=0.8, label="edge of stability")
ax.set(xlabel="sharpness over its threshold", ylabel="growth of log|u| per step", ylim=(-1, 0.8))
_ = fig.legend(loc="outside upper center", ncols=2)
