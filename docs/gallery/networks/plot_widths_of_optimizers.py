"""
Optimizers have a mean-field limit, too
=======================================

Momentum and adaptive rules of N neurons approach those of the limit like N^(−1/2), at one learning rate for all widths.

With the mean-field gradient g_i = N ∂R/∂θ_i every rule moves particles (θ_i, m_i, ν_i) by one velocity field of their law, so its
learning rate is that of the limit. Neurons sin θx with θ normal at the start, 10 steps; the limit is a run of 4,096 quantiles of
the normal law. RMS over inputs and 64 draws of the distance of the outputs: slopes of −0.44 to −0.48, with a statistical error of
about 0.05.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

import meanfield
import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
x = np.linspace(-2.0, 2.0, 20)[:, None]
network = meanfield.TwoLayerNetwork(1, activation="sin", bias=False, train_output=False)
risk = meanfield.Risk(network, meanfield.tasks.Task(x, 0.6 * np.sin(2 * x), "sine"))
rules = {
    "heavy ball": solvers.HeavyBall(0.5, 0.5),
    "Nesterov": solvers.Nesterov(0.5, 0.5),
    "scalar RMSProp": solvers.ScalarRMSProp(0.02),
    "RMSProp": solvers.RMSProp(0.02, eps=1e-3),
    "Adam": solvers.Adam(0.02, eps=1e-3),
}
widths, steps = np.array([64, 256, 1024]), 10


def outputs(rule, x0):
    run = solvers.solve(rule, risk, x0, steps, save_every=steps)
    return network.forward(run.iterates[-1], x)


fig, ax = plt.subplots(figsize=(4.8, 4.0), layout="constrained")
for (name, rule), look in zip(rules.items(), looks(rules).values(), strict=True):
    limit = outputs(rule, norm.ppf((np.arange(4096) + 0.5) / 4096)[:, None])
    errors = []
    for width in widths:
        draws = [np.random.default_rng(seed).standard_normal((width, 1)) for seed in range(64)]
        errors.append(np.sqrt(np.mean([(outputs(rule, x0) - limit) ** 2 for x0 in draws])))
    slope = np.polyfit(np.log(widths), np.log(errors), 1)[0]
    ax.loglog(widths, errors, **look.line, marker="o", label=f"{name}: {slope:.2f}")
ax.loglog(widths, 0.2 * widths**-0.5, ":", color="grey", label="N^(−1/2)")
ax.set(xlabel="width N (neurons)", ylabel="distance of the outputs to the limit")
ax.minorticks_off()
ax.set(xticks=widths, xticklabels=widths, yticks=(ticks := [0.005, 0.01, 0.02, 0.04]))
ax.set_yticklabels(ticks)
_ = fig.legend(loc="outside upper center", ncols=2, title="rule and slope")
