"""
The top of the spectrum of a PyTorch module
===========================================

Not one eigenvalue reaches the edge but several, one after the other.

Any PyTorch module with its data is an objective. Gradient descent on a small classifier of digits; the five largest
eigenvalues of its Hessian are measured every ten steps.
"""

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn

import meanfield
import solvers
from meanfield.study.figures import STEPS, STYLE, looks

plt.style.use(STYLE)
torch.manual_seed(0)
eta = 0.3
task = meanfield.tasks.digits(n=100, target="classes")
module = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10)).double()
objective = meanfield.TorchObjective(module, "squared", task.inputs, task.targets)

descent = solvers.GradientDescent(eta)
run = solvers.solve(
    descent, objective, objective.initial(), 600, eigenvalues=5, eigenvalues_every=10
)

fig, ax = plt.subplots(figsize=(4.8, 3.6), layout="constrained")
for i, look in enumerate(looks("abcde").values()):
    ax.plot(run.eigenvalue_times, eta * run.eigenvalues[:, i], **look.line, label=f"λ{i + 1}")
ax.axhline(2, color="grey", linestyle="--", linewidth=0.8, label="edge")
ax.set(xlabel=STEPS, ylabel="η times eigenvalue")
_ = fig.legend(loc="outside upper center", ncols=6)
beyond = (eta * run.eigenvalues > 1.9).sum(axis=1)
print(f"eigenvalues above 1.9/η at the end: {beyond[-1]}, at most: {beyond.max()}")
