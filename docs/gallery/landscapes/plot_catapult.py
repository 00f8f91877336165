"""
The catapult
============

With a learning rate above 2/λ the loss first grows, and the network lands where it is flatter.

One layer of m linear neurons with output f and tangent kernel λ obeys f ← f(1 − ηλ + η²f²/m), λ ← λ + (ηf²/m)(ηλ − 4)
exactly. Below ηλ = 2 the loss decays at once, between 2 and 4 it takes off until λ has fallen below 2/η, and beyond 4
it diverges.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
neurons = meanfield.landscapes.LinearNeurons(width=100)
x0 = np.array(neurons.start)  # f = 1, λ = 30
kernel = neurons.kernel(x0)

fig, (above, below) = plt.subplots(2, 1, figsize=(4.8, 4.6), sharex=True, layout="constrained")
for product, look in zip([1.5, 2.5, 3.0, 3.6], looks("abcd").values(), strict=True):
    eta = product / kernel
    run = solvers.solve(solvers.GradientDescent(eta), neurons, x0, steps=40)
    loss = [neurons.value(x) for x in run.iterates]
    scaled = [eta * neurons.kernel(x) for x in run.iterates]
    above.semilogy(run.times, loss, **look.line, label=f"ηλ = {product} at the start")
    below.plot(run.times, scaled, **look.line)
    print(f"ηλ: {product} → {scaled[-1]:.4f}, largest loss {max(loss):.3g}")
below.axhline(2, color="grey", linestyle="--", linewidth=0.8, label="edge of stability")
above.set(ylabel="loss ½f²", ylim=(1e-9, None))
below.set(xlabel="step k", ylabel="ηλ")
fig.legend(loc="outside upper center", ncols=2)
