"""
Orders in the time step
=======================

How fast the error of each scheme falls with dt: the explicit ones, that of the delay, those of rod and central flow.

Eight iterations in the valley ½(y + x)x² − ε(x + y), from an oscillation at the edge of stability. Errors of the center
against dt = 1/128, by RK4 for the first three. Euler, midpoint rule and RK4 have the orders 1, 2 and 4 on the free-energy
flow. The delay's midpoint rule, z_{j+1} = z_j + dt V(z at j dt + ½dt − ½), has order 2, and so have the stabilized scheme
of the rod flow and the exponential midpoint rule of the central flow.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
eta, valley, start = 0.3, meanfield.landscapes.Valley(), [0.1, 6.6]
flow, dts = solvers.FreeEnergyFlow(eta), 1 / 2.0 ** np.arange(1, 6)
runs = {
    "Euler": (flow, {"integrator": "euler"}),
    "midpoint": (flow, {"integrator": "midpoint"}),
    "RK4": (flow, {"integrator": "rk4"}),
    "half-step delay": (solvers.FreeEnergyFlow(eta, delay=True), {}),
    "rod flow": (solvers.RodFlow(eta), {}),
    "central flow": (solvers.CentralFlow(eta), {}),
}


def end(flow, dt, **options):
    return solvers.solve(flow, valley, start, 8, save_every=8, dt=dt, **options).centers[-1]


fig, ax = plt.subplots(figsize=(4.8, 4.2), layout="constrained")
for (name, (model, options)), look in zip(runs.items(), looks(runs).values(), strict=True):
    reference = end(model, 1 / 128, **(options and {"integrator": "rk4"}))
    errors = [np.linalg.norm(end(model, dt, **options) - reference) for dt in dts]
    order = np.polyfit(np.log(dts[1:]), np.log(errors[1:]), 1)[0]
    ax.loglog(dts, errors, **look.line, marker="o", label=f"{name}: {order:.2f}")
    print(f"{name}: error {errors[1]:.1e} with dt = 1/4")
ax.set(xlabel="dt (iterations)", ylabel="error of the center after 8 iterations")
ax.minorticks_off()
ax.set_xticks(dts, [f"1/{1 / dt:.0f}" for dt in dts])
_ = fig.legend(loc="outside upper center", ncols=2, title="scheme and order")
