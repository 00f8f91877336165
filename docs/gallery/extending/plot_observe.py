"""
Measuring something of your own
===============================

A function that is called at every iteration: here how aligned the gradient is with the sharpest direction.

``observe`` receives the center, the fluctuation, the iterate, the loss at every step. Whenever the oscillation is
large, the gradient at the iterates points along the top eigenvector; that at the centers, which is what moves the
network, mostly points elsewhere.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STEPS, STYLE, looks

plt.style.use(STYLE)
risk = meanfield.Risk(meanfield.TwoLayerNetwork(64), meanfield.tasks.digits(n=60))
x0 = risk.network.initialize(60, seed=0)
rows, start = [], None


def alignment(observation):
    """|⟨g, v⟩|/|g| with the top eigenvector v, at the iterate and at the center."""
    global start
    if observation.step % 4:
        return
    pairs = solvers.top_eigenpairs(risk, observation.center, tol=1e-3, start=start)
    start, vector = pairs.vectors, pairs.vectors[0]
    cosines = []
    for x in (observation.iterate, observation.center):
        gradient = risk.gradient(x)
        size = np.sqrt(risk.inner(gradient, gradient) * risk.inner(vector, vector))
        cosines.append(abs(risk.inner(gradient, vector)) / size)
    rows.append((observation.time, *cosines))


solvers.solve(solvers.GradientDescent(1.0), risk, x0, steps=200, save_every=200, observe=alignment)
time, at_iterate, at_center = np.array(rows).T
print(f"means: at the iterates {at_iterate.mean():.2f}, at the centers {at_center.mean():.2f}")
fig, ax = plt.subplots(figsize=(4.8, 3.4), layout="constrained")
curves = {"iterate": at_iterate, "center": at_center}
for name, look in looks(curves).items():
    ax.plot(time, curves[name], **look.line, label=f"gradient at the {name}")
ax.set(xlabel=STEPS, ylabel="cosine with the top eigenvector", ylim=(0, 1.02))
_ = fig.legend(loc="outside upper center", ncols=2)
