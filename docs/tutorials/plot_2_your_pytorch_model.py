"""
Your own PyTorch model against all models of gradient descent
=============================================================

A module of your own becomes an objective; gradient descent on it is compared with six continuous-time models, in
accuracy and in cost.

You need the extra ``torch``. The page runs in about a minute on one core.
"""

# %%
# A module and its data
# ---------------------
#
# Anything that PyTorch differentiates will do. Here a classifier with a residual connection, and 120 digits in four
# classes. The module should be in double precision: below the edge the oscillation decays by many orders, and in
# single precision it is lost earlier.

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

import meanfield
import solvers
from meanfield.study.figures import STEPS, STYLE, looks


class Residual(nn.Module):
    """64 pixels → 4 classes, through a hidden layer that is added to itself."""

    def __init__(self):
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(64, 16), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, images):
        hidden = torch.tanh(self.first(images))
        return self.last(hidden + torch.tanh(self.inner(hidden)))


torch.manual_seed(0)
module = Residual().double()
digits = meanfield.tasks.digits(n=300, target="classes", mean_square=0.25)
chosen = np.flatnonzero(digits.targets.argmax(axis=1) < 4)[:100]
inputs, targets = digits.inputs[chosen], digits.targets[chosen, :4]

objective = meanfield.TorchObjective(module, "squared", inputs, targets)
x0 = objective.initial()
print(f"{objective.dimension} parameters, loss {objective.value(x0):.4f} at the start")

# %%
# The objective is a function of one flat vector of parameters, with exact gradients, Hessian products and third
# derivatives. Before they are used they are checked against differences, because ``detach()`` in a module, or a
# function of your own with a wrong backward pass, would make them those of another function. You can ask for the
# check:

for name, difference in meanfield.check_objective(objective, x0).items():
    print(f"{name}: relative difference {difference:.0e}")

# %%
# Which learning rate?
# --------------------
#
# One that makes the run interesting: so that the sharpness starts below 2/η and reaches it soon.

plt.style.use(STYLE)
sharpness = solvers.top_eigenpairs(objective, x0).values[0]
eta = 1.5 / sharpness
print(f"sharpness at the start {sharpness:.3f}; with η = {eta:.3f} the edge is at {2 / eta:.3f}")

# %%
# All models at once
# ------------------
#
# ``meanfield.run`` takes the objective in place of a task; the processes are named in the configuration, each with
# its options. Every process starts from the module's own parameters.

config = meanfield.RunConfig(
    learning_rate=eta,
    steps=120,
    output={"snapshot_every": 5, "sharpness_every": 5, "eigenvalues": 2},
    processes={
        "gradient_descent": {},
        "gradient_flow": {},
        "free_energy_flow": {},
        "delayed": {"flow": "free_energy_flow", "delay": True},
        "rod_flow": {},
        "edge_flow": {},
        "central_flow": {},
    },
)
result = meanfield.run(config, objective=objective, start=x0)
for name, process in result.items():
    print(f"{name}: {process.status}, risk {process.observables['train_loss'][-1]:.2e} at the end")

# %%
# What happened
# -------------
#
# The two largest eigenvalues of the Hessian at the center, for gradient descent and two of the models:

fig, ax = plt.subplots(figsize=(4.8, 3.8), layout="constrained")
for name, look in looks(["gradient_descent", "gradient_flow", "delayed"]).items():
    observables = result[name].observables
    eigenvalues = eta * observables["hessian_eigs"]
    measured = np.isfinite(eigenvalues[:, 0])
    for i in range(2):
        label = name.replace("_", " ") if i == 0 else None
        ax.plot(observables["time"][measured], eigenvalues[measured, i], **look.line, label=label)
ax.axhline(2, color="grey", linestyle="--", linewidth=0.8, label="edge of stability")
ax.set(xlabel=STEPS, ylabel="η times the two top eigenvalues")
_ = fig.legend(loc="outside upper center", ncols=2)

# %%
# The first eigenvalue of gradient descent passes the edge and goes on rising, until the oscillation that this lets grow
# is large: then it falls back to 2/η and is held there. Soon the second one arrives, and from then on both are at the
# edge. The delayed flow has the same curves. Those of the gradient flow go on, it does not know the edge.
#
# How far does each model stay from gradient descent?

result.figures["distance"]

# %%
# The vertical line is the onset of the oscillation. There the gradient flow leaves gradient descent for good, and so does
# the rod flow, which on this network misses the onset. The others make their largest error in that first spike, where
# being late or early by a step or two counts, and come closer again afterwards.
#
# Accuracy and cost
# -----------------
#
# A run counts evaluations: gradients and Hessian products per iteration. Together with the distances they tell what
# each model's accuracy costs.

rows = {row["process"]: row for row in result.compare()}
models = [name for name in config.processes if name != "gradient_descent"]
fig, ax = plt.subplots(figsize=(4.8, 3.8), layout="constrained")
print(f"{'model':18} gradients  products  largest distance")
for name, look in looks(models).items():
    row = rows[name]
    gradients, products = row["gradients_per_step"], row["hvps_per_step"]
    distance = row["max_distance"]
    fill = "full" if look.dashes == "-" else "none"
    ax.semilogy(gradients + products, distance, "o", color=look.colour, markersize=8,
                fillstyle=fill, label=name.replace("_", " "))  # fmt: skip
    print(f"{name:18} {gradients:9.1f} {products:9.1f} {distance:17.4f}")
ax.set(xlabel="gradients and Hessian products per iteration", ylabel="largest distance to GD")
_ = fig.legend(loc="outside upper center", ncols=3)

best = min(models, key=lambda name: rows[name]["max_distance"])
print(f"closest: {best}")

# %%
# Further down is better, further left is cheaper, at the default time steps. For other modules the order may differ: repeat
# the run with other seeds before you conclude anything from it.
#
# What the oscillation adds to the loss
# -------------------------------------
#
# All models with a fluctuation predict more than the center: the loss averaged over the oscillation, and how large
# that is.

result.figures["oscillation"]

# %%
# The broad line is measured on gradient descent, the thin ones are predictions. Averaged over the oscillation the loss is
# raised by about tr Σ/η. The delayed flow comes up when gradient descent does; the free-energy flow and the edge flow are a
# few steps early, the central flow is at its balance as soon as it may be, and the rod flow's oscillation dies.
#
# The parameters are yours again: ``unflatten`` gives them by name, in their shapes.

final = result["gradient_descent"].snapshots[-1]
parameters = objective.unflatten(final.position[0])
for name, values in parameters.items():
    print(f"{name}: {values.shape}")

# %%
# A file of your own run is opened again by ``meanfield.load``; ``meanfield.resume`` and ``meanfield.extend`` need
# the same objective and start, and refuse others: a module whose data changed would go on as something else.
