"""
Labels that cannot be fitted
============================

With clean labels the oscillation dies once the data are fitted; with wrong labels it goes on.

At the edge of stability the oscillation raises the loss by tr Σ/η. On 100 digits the parity can be fitted by 100
neurons, on four times as many images, a fifth of them labelled wrong, not in this time.
"""

# %%
import matplotlib.pyplot as plt

import meanfield
import solvers
from meanfield.study.figures import STEPS, STYLE, looks

plt.style.use(STYLE)
eta = 1.0
tasks = {
    "100 digits": meanfield.tasks.digits(n=100),
    "400 digits, a fifth labelled wrong": meanfield.tasks.noisy_digits(n=400, fraction=0.2),
}

fig, (top, bottom) = plt.subplots(2, 1, figsize=(4.8, 4.8), sharex=True, layout="constrained")
for (name, task), look in zip(tasks.items(), looks("ab").values(), strict=True):
    risk = meanfield.Risk(meanfield.TwoLayerNetwork(64), task)
    x0 = risk.network.initialize(100, seed=0)
    run = solvers.solve(solvers.GradientDescent(eta), risk, x0, 600)
    top.semilogy(run.times, run.losses, **look.line, label=name)
    bottom.semilogy(run.times, run.fluctuation_trace / eta, **look.line)
    late = run.fluctuation_trace[-100:].mean() / eta
    print(f"{name}: risk {run.losses[-1]:.2g}, tr Σ/η over the last 100 steps {late:.2g}")
top.set(ylabel="risk at the center")
bottom.set(xlabel=STEPS, ylabel="oscillation energy tr Σ/η")
_ = fig.legend(loc="outside upper center", ncols=1)
