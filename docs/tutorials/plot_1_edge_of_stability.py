"""
Your first edge of stability
============================

From a landscape of two coordinates to a network on handwritten digits: what gradient descent with a large learning
rate does, how it splits exactly into a center and a fluctuation, and which models follow it.

You need the package and matplotlib. The page runs in about a minute on one core.
"""

# %%
# A valley that grows sharper
# ---------------------------
#
# Gradient descent with learning rate η is stable on a parabola only where its curvature is below 2/η. On a real
# loss the curvature changes along the way, and usually it grows. The smallest example is a valley whose floor
# slopes down and whose walls close in on the way,
#
# .. math:: E(x, y) = \tfrac12 (y + \zeta x)\, x^2 - \epsilon\, (x + y).
#
# Across the valley the curvature is y itself: y is the *sharpness*, the top eigenvalue of the Hessian, and the
# slope ε makes it grow.

import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STEPS, STYLE, looks

plt.style.use(STYLE)
eta = 0.3
valley = meanfield.landscapes.Valley(zeta=1.0, epsilon=0.01)
start = [0.0, 6.0]
descent = solvers.solve(solvers.GradientDescent(eta), valley, start, steps=1500)

fig, (top, bottom) = plt.subplots(2, 1, figsize=(4.8, 4.6), sharex=True, layout="constrained")
top.plot(descent.times, descent.iterates[:, 1], color="black")
top.axhline(2 / eta, color="grey", linestyle="--", label="edge of stability, 2/η")
top.set(ylabel="sharpness y")
bottom.plot(descent.times, descent.iterates[:, 0], color="black", linewidth=0.6)
bottom.set(xlabel=STEPS, ylabel="x, across the valley")
_ = fig.legend(loc="outside upper center")

first = np.argmax(descent.iterates[:, 1] > 2 / eta)
peak = descent.iterates[:, 1].argmax()
print(f"y first exceeds 2/η = {2 / eta:.3f} at step {first}")
print(f"and has its peak, {descent.iterates[peak, 1]:.4f}, at step {peak}")

# %%
# For the first few hundred steps nothing can be seen across the valley: x is tiny, and y creeps upwards. It passes
# 2/η without a sign of trouble, although x is now unstable, because x has to grow from almost nothing. When it has
# grown, it throws the iterates up the walls, to and fro, and the slope there leads *down* in y. The sharpness falls
# below 2/η, the oscillation dies, and the play begins again, each time with smaller swings. That is the edge of
# stability: not a place where gradient descent stops, but one where its oscillation holds the sharpness.
#
# Center and fluctuation
# ----------------------
#
# Two consecutive iterates have a mean and a half difference. Written as
#
# .. math:: x_k = w_k + (-1)^k u_k, \qquad x_{k+1} = w_k - (-1)^k u_k,
#
# gradient descent *is* a pair of maps for the center w and the fluctuation u, with nothing left out. A solution has
# both. With them
#
# .. math:: w_{k+1} = w_k - \eta\, \partial_w F, \qquad u_{k+1} = u_k + \eta\, \partial_u F,
#           \qquad F(w, u) = \tfrac12 [E(w + u) + E(w - u)] - |u|^2/\eta :
#
# descent in the center, ascent in the fluctuation, on the free energy F. So the explicit Euler scheme with unit
# step of that flow must give gradient descent back, to rounding:

signs = (-1.0) ** np.arange(len(descent.times))[:, None]
rebuilt = descent.centers + signs * descent.fluctuations
flow = solvers.FreeEnergyFlow(eta, fluctuation_floor=0.0)
euler = solvers.solve(flow, valley, start, 1500, integrator="euler")
nearby = solvers.solve(solvers.GradientDescent(eta), valley, [0.0, np.nextafter(6.0, 7.0)], 1500)
print("x − (w ± u), largest difference:", np.abs(descent.iterates - rebuilt).max())
print("gradient descent against       Euler's scheme     itself, one rounding away")
for last in (200, 400, 1500):
    gaps = [np.abs(run.centers - descent.centers)[: last + 1].max() for run in (euler, nearby)]
    print(f"  up to step {last:4d}        {gaps[0]:14.1e}     {gaps[1]:14.1e}")

# %%
# The split is exact at every step. Euler's scheme agrees to rounding for hundreds of steps; then an oscillation grows
# from almost nothing, and multiplies whatever difference there is in the last digits. Two runs of gradient descent
# whose starts differ by one rounding part in the same way. That is worth remembering: at the edge of stability, even
# gradient descent agrees with itself only so far.
#
# Three models
# ------------
#
# A *model* replaces the map by a differential equation for the center, in which time counts iterations. The
# gradient flow knows no fluctuation. The free-energy flow is the pair above in continuous time. With ``delay=True``
# its velocity is taken half an iteration before, ż(t) = V(z(t − ½)), an equation of which gradient descent is the
# midpoint rule.

flows = {
    "gradient_flow": solvers.GradientFlow(eta),
    "free_energy_flow": solvers.FreeEnergyFlow(eta),
    "delayed": solvers.FreeEnergyFlow(eta, delay=True),
}
titles = {"delayed": "free-energy flow with delay", "free_energy_flow": "free-energy flow"}
line = looks(["gradient_descent", *flows])

fig, ax = plt.subplots(figsize=(4.8, 3.6), layout="constrained")
ax.plot(
    descent.times, descent.centers[:, 1], **line["gradient_descent"].line, label="gradient descent"
)
for name, flow in flows.items():
    run = solvers.solve(flow, valley, start, steps=1500)
    ax.plot(
        run.times, run.centers[:, 1], **line[name].line, label=titles.get(name, "gradient flow")
    )
    error = np.sqrt(np.mean((run.centers[:, 1] - descent.centers[:, 1]) ** 2))
    print(f"{titles.get(name, 'gradient flow')}: RMS error of y {error:.4f}")
ax.axhline(2 / eta, color="grey", linestyle="--", linewidth=0.8)
ax.set(xlabel=STEPS, ylabel="sharpness y of the center", ylim=(5.9, 8))
_ = fig.legend(loc="outside upper center", ncols=2)

# %%
# The gradient flow goes straight on, and leaves through the top. The free-energy flow turns back, a little too
# early, and its swings are those of gradient descent but out of step. The delayed flow cannot be told from gradient
# descent in this figure: its error is a hundred times smaller, from the same gradients taken half an iteration
# earlier.
#
# The digits
# ----------
#
# Now a network: 100 neurons in mean-field scaling, on the parity of 100 handwritten digits. A *run* does all of the
# above at once: gradient descent and its models from one start, the sharpness of each, their distances to gradient
# descent, in one file. What is to be run is a configuration; keys that are left out have defaults.

config = meanfield.RunConfig(
    learning_rate=1.0,
    steps=250,
    task={"name": "digits", "n": 100},
    network={"width": 100},
    output={"snapshot_every": 25, "sharpness_every": 5},
    processes={
        "gradient_descent": {},
        "gradient_flow": {},
        "free_energy_flow": {},
        "delayed": {"flow": "free_energy_flow", "delay": True},
    },
)
result = meanfield.run(config)
for name, process in result.items():
    print(f"{name}: {process.status}, risk {process.observables['train_loss'][-1]:.2e} at the end")

# %%
# The figures of a run are drawn from its file. First the sharpness:

result.figures["sharpness"]

# %%
# The dashed line is 2/η. The first center of gradient descent, half a large step from the start, already lies
# above it; within some twenty-five steps the sharpness comes down, swings about the line and stays there. That of the
# gradient flow starts lower and keeps on growing. Let us measure that:

for name, process in result.items():
    sharpness, time = process.observables["sharpness"], process.observables["time"]
    late = (time >= 100) & np.isfinite(sharpness)
    print(
        f"{name}: mean of ηS from step 100 on {config.learning_rate * sharpness[late].mean():.3f}"
    )

# %%
# Next the loss:

result.figures["loss"]

# %%
# The band is where the iterates of gradient descent alternate, the dotted lines are the mean that center and
# fluctuation predict. The risk falls all the same: the oscillation adds to the loss, but does not stop the center.
#
# Which model is closest? ``compare`` has the answer in numbers; we take three of its columns.

rows = result.compare()
for row in rows:
    distance, peak = row["final_distance"], row["peak_sharpness"]
    told = "–" if distance is None else f"{distance:.3g}"
    print(
        f"{row['process']:38} distance at the end {told:>9}, peak of S {peak or float('nan'):.3f}"
    )

# %%
# The row "one rounding away" is gradient descent again, from a start that differs in the last digit. It tells how
# far two runs of gradient descent are from one another: no model could be closer in a way that means anything.
#
# One key
# -------
#
# Half the learning rate, everything else the same: the edge is at 2/η, so it is twice as high.

half = meanfield.run(config.replace(learning_rate=0.5, steps=500))
sharpness = half["gradient_descent"].observables["sharpness"]
time = half["gradient_descent"].observables["time"]
late = (time >= 400) & np.isfinite(sharpness)
print(f"η = 0.5: S from step 400 on {sharpness[late].mean():.3f}, 2/η = {2 / 0.5:.3f}")

# %%
# In a terminal the same two runs are
#
# .. code-block:: sh
#
#     meanfield run digits.toml --out one
#     meanfield run digits.toml --out half --set learning_rate=0.5 --set steps=500
#
# where ``config.to_toml()`` is the text of ``digits.toml``. The numbers are the same, bit for bit.
#
# Where to go on: the other models, and a network of your own, are in the next tutorial; the equations, with their
# proofs, are in the theory.
