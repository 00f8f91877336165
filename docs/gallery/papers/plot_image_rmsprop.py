"""
RMSProp on images, and its average
==================================

RMSProp has an edge of stability of its own, and the split of its state models it through the oscillation.

Squared loss on four classes, β₂ = 0.99, ε = 1e-7, bias correction, five steps of the rule before the model begins: the settings
of the central flows' quick start (arXiv:2410.24206). The page runs an MLP on 60 of the 8x8 digits, in place of CIFAR-10 with

.. code-block:: sh

    python scripts/compare_rmsprop.py --data PATH --out figures
"""

# %%
import sys

import matplotlib.pyplot as plt

from meanfield.study.figures import STYLE, looks

sys.path.append("../../../scripts")  # of a clone
import compare_rmsprop as script

plt.style.use(STYLE)
result = script.run_on_digits("mlp", n=60, rate=5e-4, steps=200)
fig, (top, bottom) = plt.subplots(2, 1, figsize=(4.8, 5.0), sharex=True, layout="constrained")
for (name, process), look in zip(result.items(), looks(result).values(), strict=True):
    data = process.observables
    top.semilogy(data["time"], data["predicted_loss"], **look.line, label=name.replace("_", " "))
    known = data["effective_sharpness"] > 0
    bottom.plot(data["time"][known], data["effective_sharpness"][known], **look.line)
    peak = data["effective_sharpness"][known].max()
    print(f"{name}: loss {data['predicted_loss'][-1]:.3g}, largest λ₁/threshold {peak:.3f}")
print(f"largest distance of the centers: {result.compare()[2]['max_distance']:.3g}")
bottom.axhline(1, color="grey", linestyle="--", linewidth=0.8)
top.set(ylabel="loss, averaged over the oscillation")
bottom.set(xlabel="step k", ylabel="λ₁(P⁻¹H) over its threshold")
fig.legend(loc="outside upper center", ncols=2)
