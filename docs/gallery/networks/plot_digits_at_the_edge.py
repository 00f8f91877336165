"""
Sharpness of a network on digits
================================

Three learning rates, one network: the sharpness rises to 2/η, whatever η is, and stays.

150 neurons learn the parity of 100 handwritten digits by full-batch gradient descent. The sharpness, the top
eigenvalue of the mean-field Hessian, does not depend on the number of neurons, and neither does the edge.
"""

# %%
import matplotlib.pyplot as plt

import meanfield
import solvers
from meanfield.study.figures import STEPS, STYLE, looks

plt.style.use(STYLE)
task = meanfield.tasks.digits(n=100)
risk = meanfield.Risk(meanfield.TwoLayerNetwork(input_dim=64), task)
x0 = risk.network.initialize(n_particles=150, seed=0)

fig, ax = plt.subplots(figsize=(4.8, 3.8), layout="constrained")
for eta, look in zip((0.6, 0.8, 1.2), looks("abc").values(), strict=True):
    descent = solvers.GradientDescent(eta)
    run = solvers.solve(descent, risk, x0, 250, save_every=250, eigenvalues=1, eigenvalues_every=5)
    sharpness = run.eigenvalues[:, 0]
    ax.plot(run.eigenvalue_times, sharpness, **look.line, label=f"η = {eta}")
    ax.axhline(2 / eta, color=look.colour, linestyle="--", linewidth=0.8)
    late = eta * sharpness[run.eigenvalue_times >= 150].mean()
    print(f"η = {eta}: mean of ηS over the last 100 steps {late:.3f}, risk {run.losses[-1]:.2g}")
ax.plot([], [], "--", color="grey", linewidth=0.8, label="2/η")
ax.set(xlabel=STEPS, ylabel="sharpness S")
_ = fig.legend(loc="outside upper center", ncols=4)
