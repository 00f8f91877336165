"""
A sweep as a table
==================

Two seeds of four learning rates: one call, one folder, one table.

``meanfield.sweep`` runs a configuration with every combination of some values and goes on where it was stopped. A
column of its table over another: how far each model is from gradient descent at the end, over η.
"""

# %%
import matplotlib.pyplot as plt

import meanfield
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
config = meanfield.RunConfig(
    steps=60,
    task={"name": "digits", "n": 50},
    network={"width": 50},
    output={"snapshot_every": 20, "sharpness_every": 20, "rounding_spread": False},
    processes={"gradient_descent": {}, "gradient_flow": {}, "free_energy_flow": {"delay": True}},
)
sweep = meanfield.sweep(config, {"learning_rate": [0.2, 0.4, 0.8, 1.2], "seed": [0, 1]})
table = sweep.to_dataframe()

fig, ax = plt.subplots(figsize=(4.8, 3.6), layout="constrained")
for name, look in looks(["gradient_flow", "free_energy_flow"]).items():
    rows = table[table["process"] == name]
    label = {"gradient_flow": "gradient flow"}.get(name, "free-energy flow with delay")
    ax.semilogy(rows["learning_rate"], rows["final_distance"], "o", color=look.colour, label=label)
    mean = rows.groupby("learning_rate")["final_distance"].mean()
    ax.semilogy(mean.index, mean, **look.line)
ax.set(xlabel="learning rate η", ylabel="distance to gradient descent after 60 steps")
_ = fig.legend(loc="outside upper center", ncols=2)
print(sweep)
