"""
A task of your own
==================

A function that returns inputs and targets, registered by name: then it is a table of configurations, with its
parameters as keys.

Two spirals are to be told apart. The run is that of ``[task] name = "spirals"`` with ``turns = 0.6``; a wrong key or
value is refused with what is allowed.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import meanfield
from meanfield.study.figures import STYLE


def spirals(n: int = 60, turns: float = 1.0) -> meanfield.tasks.Task:
    """n points on two spirals, of the classes ±1."""
    t = np.linspace(0.2, 1, n // 2)
    arm = np.stack([t * np.cos(2 * np.pi * turns * t), t * np.sin(2 * np.pi * turns * t)], axis=1)
    labels = np.repeat([1.0, -1.0], n // 2)
    return meanfield.tasks.Task(2 * np.concatenate([arm, -arm]), labels, name="spirals")


plt.style.use(STYLE)
meanfield.tasks.register("spirals", spirals)
config = meanfield.RunConfig(
    learning_rate=4.0,
    steps=600,
    task={"name": "spirals", "turns": 0.6},
    network={"width": 200, "init": {"name": "normal", "input_scale": 2.0}},
    output={"sharpness_every": 600, "snapshot_every": 600, "rounding_spread": False},
    processes={"gradient_descent": {}},
)
result = meanfield.run(config)
particles = result["gradient_descent"].snapshots[-1].position

x, y = np.meshgrid(np.linspace(-2.2, 2.2, 120), np.linspace(-2.2, 2.2, 120))
points = np.stack([x, y], axis=-1).reshape(-1, 2)
outputs = meanfield.TwoLayerNetwork(2).forward(particles, points)
fig, ax = plt.subplots(figsize=(4.8, 4.2), layout="constrained")
levels = np.linspace(-2, 2, 21)
shown = ax.contourf(x, y, outputs.reshape(x.shape), levels, cmap="PuOr", extend="both", alpha=0.8)
fig.colorbar(shown, label="output f")
task = spirals(turns=0.6)
for label, marker in (1, "o"), (-1, "s"):
    chosen = task.targets[:, 0] == label
    look = {"color": "black", "markersize": 4, "fillstyle": "full" if label > 0 else "none"}
    ax.plot(*task.inputs[chosen].T, marker, **look, label=f"class {label:+d}")
ax.set(xlabel="x₁", ylabel="x₂", aspect="equal")
_ = fig.legend(loc="outside upper center", ncols=2)
try:
    config.replace(**{"task.turns": "many"})
except ValueError as error:
    print(error)
