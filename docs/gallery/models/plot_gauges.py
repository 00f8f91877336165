"""
One iterate, many splits
========================

A start can be split into center and fluctuation in many ways: as a scheme they are one, as flows they are not.

Euler steps dt = 1 of the free-energy flow, ẇ = −½η(g₊ + g₋) and u̇ = ½η(g₊ − g₋) − 2u with g± = ∇E(w ± u), return gradient
descent from every w + u = x₀: x_k is w_k + (−1)ᵏu_k. The splits of the figure are u = a · ½η∇E(x₀); a = 1 is the package's, for
which w − u is the next iterate, and a = 0 has no fluctuation. In continuous time they are different flows: that with
a = 0 is the gradient flow, which leaves the edge, and the others swing later the smaller a is.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STEPS, STYLE, looks

plt.style.use(STYLE)
eta, valley, x0 = 0.3, meanfield.landscapes.Valley(), np.array([0.02, 6.5])
descent = solvers.solve(solvers.GradientDescent(eta), valley, x0, steps=400)
flow = solvers.FreeEnergyFlow(eta, fluctuation_floor=0.0)

fig, (top, bottom) = plt.subplots(2, 1, figsize=(4.8, 5.2), sharex=True, layout="constrained")
top.plot(
    descent.times, descent.centers[:, 1], color="black", linewidth=2.4, label="gradient descent"
)
for a, look in zip((1.0, 0.2, 4.0, 0.0), looks("abcd").values(), strict=True):
    u = a * eta / 2 * valley.gradient(x0)
    start = solvers.State(0, np.stack([x0 - u, u]), 0.0, flow=flow, objective=valley)
    steps = solvers.solve(flow, valley, start, 400, integrator="euler", dt=1)
    signs = (-1.0) ** np.arange(401)
    sums = steps.centers + signs[:, None] * steps.fluctuations
    error = np.linalg.norm(sums - descent.iterates, axis=1)
    exact = solvers.solve(flow, valley, start, 400)
    top.plot(exact.times, exact.centers[:, 1], **look.line, label=f"flow, a = {a:g}")
    bottom.semilogy(exact.times, error, **look.line)
    print(f"a = {a:g}: the scheme is within {error.max():.1e} of gradient descent")
top.axhline(2 / eta, color="grey", linestyle="--", linewidth=0.8, label="edge, 2/η")
top.set(ylabel="sharpness y of the center", ylim=(6.2, 7.6))
bottom.set(xlabel=STEPS, ylabel="scheme's distance to descent")
_ = fig.legend(*top.get_legend_handles_labels(), loc="outside upper center", ncols=3)
