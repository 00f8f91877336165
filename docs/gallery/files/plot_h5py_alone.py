"""
Reading a run with h5py alone
=============================

A colleague without this package reads your file: groups, datasets, attributes.

Every dataset has units and a long name, and the group of a process has its observables and snapshots. The same layout
opens in MATLAB and Julia.
"""

# %%
import h5py
import matplotlib.pyplot as plt
import numpy as np

import meanfield
from meanfield.study.figures import STYLE

plt.style.use(STYLE)
config = meanfield.RunConfig(
    learning_rate=0.3,
    steps=700,
    landscape={"name": "valley"},
    output={"snapshot_every": 1, "sharpness_every": 5},
    processes={"gradient_descent": {}, "free_energy_flow": {"delay": True}},
)
result = meanfield.run(config)

with h5py.File(result.path) as file:  # from here on nothing of meanfield
    eta = file.attrs["learning_rate"]
    fig, ax = plt.subplots(figsize=(4.8, 3.4), layout="constrained")
    for name, color, width in (
        ("gradient_descent", "black", 3),
        ("free_energy_flow", "#DC7801", 1.3),
    ):
        time = file[f"{name}/observables/time"]
        sharpness = file[f"{name}/observables/sharpness"]
        measured = np.isfinite(sharpness[:])  # every fifth step
        ax.plot(time[measured], sharpness[measured], color=color, linewidth=width, label=name)
    ax.axhline(2 / eta, color="grey", linestyle="--", linewidth=0.8, label="2 / learning_rate")
    ax.set(xlabel=time.attrs["long_name"], ylabel="sharpness")
    print(sharpness.attrs["long_name"], "in units of", sharpness.attrs["units"])
    print("first snapshot:", file["gradient_descent/snapshots/position"][0])
_ = fig.legend(loc="outside upper center", ncols=2)
