"""
Momentum has its own edge
=========================

The heavy ball oscillates at the sharpness 2(1 + β)/η, and its split into center and fluctuation models it.

``FreeEnergyFlow`` takes an optimizer in place of a learning rate. On the valley, where y is the sharpness, the center of the
heavy ball overshoots its edge before the oscillation stops it; the model with the half-step delay follows through the spike.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STYLE

plt.style.use(STYLE)
valley, start, steps = meanfield.landscapes.Valley(zeta=1.0, epsilon=0.01), [0.0, 8.5], 400
rule = solvers.HeavyBall(0.3, momentum=0.3)
ball = solvers.solve(rule, valley, start, steps)
fig, ax = plt.subplots(figsize=(4.8, 3.4), layout="constrained")
ax.plot(ball.times, ball.centers[:, 1], color="black", linewidth=2.5, label="heavy ball, center")
for delay, style in ((False, "--"), (True, "-")):
    model = solvers.FreeEnergyFlow(rule, delay=delay)
    run = solvers.solve(model, valley, start, steps)
    error = np.sqrt(np.mean((run.centers[:, 1] - ball.centers[:, 1]) ** 2))
    name = "with the half-step delay" if delay else "without delay"
    print(f"{name}: peak {run.centers[:, 1].max():.4f}, RMS error of y {error:.4f}")
    ax.plot(run.times, run.centers[:, 1], style, color="tab:orange", label=f"its split, {name}")
ax.axhline(rule.edge / 0.3, color="grey", linestyle=":", label="edge 2(1 + β)/η")
ax.axhline(2 / 0.3, color="grey", linewidth=0.8, label="edge of gradient descent, 2/η")
ax.set(xlabel="time t (iterations)", ylabel="y, the sharpness")
fig.legend(loc="outside upper center", ncols=2)
