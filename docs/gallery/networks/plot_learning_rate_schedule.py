"""
A learning rate that changes
============================

The sharpness goes where 2/η goes: down at once when η grows, up slowly when it falls.

The model follows through the first switch and is a little ahead of gradient descent after it. A schedule is a list of
pairs, each rate with the step from which on it holds. In a configuration file the same list is the key
``learning_rate``.
"""

# %%
import matplotlib.pyplot as plt

import meanfield
import solvers
from meanfield.study.figures import STEPS, STYLE, looks

plt.style.use(STYLE)
schedule = [[0, 0.6], [150, 1.2], [300, 0.8]]
risk = meanfield.Risk(meanfield.TwoLayerNetwork(64), meanfield.tasks.digits(n=100))
x0 = risk.network.initialize(100, seed=0)
models = {
    "gradient_descent": solvers.GradientDescent(0.6),
    "free_energy_flow": solvers.FreeEnergyFlow(0.6, delay=True),
}
line = looks(models)

fig, ax = plt.subplots(figsize=(4.8, 3.6), layout="constrained")
for name, flow in models.items():
    run = solvers.solve(solvers.Scheduled(flow, schedule), risk, x0, 450, save_every=450,
                        eigenvalues=1, eigenvalues_every=5)  # fmt: skip
    label = (
        "free-energy flow with delay" if flow is models["free_energy_flow"] else "gradient descent"
    )
    ax.plot(run.eigenvalue_times, run.eigenvalues[:, 0], **line[name].line, label=label)
times = [0, 150, 150, 300, 300, 450]
edges = [2 / rate for _, rate in schedule for _ in range(2)]
ax.plot(times, edges, color="grey", linestyle="--", linewidth=0.9, label="edge of stability, 2/η")
ax.set(xlabel=STEPS, ylabel="sharpness S")
_ = fig.legend(loc="outside upper center", ncols=2)
