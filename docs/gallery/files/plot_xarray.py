"""
A run in xarray
===============

The whole file as a tree of labelled arrays: select by name, by time, by particle.

Nothing of it is converted: xarray opens the file itself. Here the spread of one weight over the particles, and the
risk, both by the coordinate ``time``.
"""

# %%
import matplotlib.pyplot as plt

import meanfield
from meanfield.study.figures import STEPS, STYLE, looks

plt.style.use(STYLE)
config = meanfield.RunConfig(
    learning_rate=0.8,
    steps=100,
    task={"name": "digits", "n": 50},
    network={"width": 50},
    output={"snapshot_every": 5},
    processes={"gradient_descent": {}, "gradient_flow": {}},
)
tree = meanfield.run(config).to_xarray()

fig, (top, bottom) = plt.subplots(2, 1, figsize=(4.8, 4.8), sharex=True, layout="constrained")
for name, look in looks(["gradient_descent", "gradient_flow"]).items():
    observables, snapshots = tree[name]["observables"], tree[name]["snapshots"]
    label = name.replace("_", " ")
    top.semilogy(observables["time"], observables["train_loss"], **look.line, label=label)
    spread = snapshots["position"].sel(parameter="a0").std("particle")
    bottom.plot(spread["time"], spread, **look.line)
top.set(ylabel="risk at the center")
bottom.set(xlabel=STEPS, ylabel="spread of the output weights")
_ = fig.legend(loc="outside upper center", ncols=2)
print(dict(snapshots.sizes), snapshots["position"].dims)
