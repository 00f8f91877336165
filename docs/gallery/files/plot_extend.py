"""
A run goes on
=============

A finished run is extended; the file is that of a run of so many steps from the beginning, bit for bit.

Sixty steps, then sixty more; beside them 120 at once. The difference of the two curves is zero, not small.
"""

# %%
import tempfile

import matplotlib.pyplot as plt
import numpy as np

import meanfield
from meanfield.study.figures import STEPS, STYLE, looks

plt.style.use(STYLE)
config = meanfield.RunConfig(
    learning_rate=0.8,
    steps=60,
    task={"name": "digits", "n": 50},
    network={"width": 50},
    processes={"gradient_descent": {}, "free_energy_flow": {}},
)
with tempfile.TemporaryDirectory() as folder:
    before = meanfield.run(config, out=folder)["free_energy_flow"].observables["train_loss"]
    extended = meanfield.extend(folder, steps=120)["free_energy_flow"].observables["train_loss"]
whole = meanfield.run(config.replace(steps=120))["free_energy_flow"].observables["train_loss"]

fig, ax = plt.subplots(figsize=(4.8, 3.4), layout="constrained")
style = looks(["extended", "before"])
ax.semilogy(whole, color="grey", linewidth=4, alpha=0.5, label="120 steps at once")
ax.semilogy(extended, **style["extended"].line, label="60 + 60 steps")
ax.semilogy(before, **style["before"].line | {"linestyle": "--"}, label="60 steps")
ax.set(xlabel=STEPS, ylabel="risk at the center")
_ = fig.legend(loc="outside upper center", ncols=3)
print("largest difference:", np.abs(extended - whole).max())
