"""
The sampling floor of Wasserstein distances
===========================================

Two samples of one law are far apart in many dimensions: what a distance must beat to say anything.

W2 of two independent samples of N standard normal points, over N. In D > 4 dimensions it falls like N^(−1/D) only.
Sliced W2 is a distance of projections and falls faster, but it has a floor as well.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
rng = np.random.default_rng(0)
sizes = np.array([32, 64, 128, 256, 512])


def floor(size, dimension, method):
    draws = [rng.standard_normal((2, size, dimension)) for _ in range(5)]
    return np.mean([solvers.transport.w2(x, y, method=method).distance for x, y in draws])


fig, ax = plt.subplots(figsize=(4.8, 3.8), layout="constrained")
for dimension, look in zip((1, 3, 8, 20), looks("abcd").values(), strict=True):
    for method, dashes in ("exact", "-"), ("sliced", ":"):
        distances = [floor(size, dimension, method) for size in sizes]
        slope = np.polyfit(np.log(sizes), np.log(distances), 1)[0]
        label = f"D = {dimension}" if method == "exact" else None
        ax.loglog(sizes, distances, dashes, marker="o", color=look.colour, label=label)
        print(f"D = {dimension}, {method}: slope {slope:.2f}")
ax.plot([], [], ":", color="grey", marker="o", label="sliced W2")
ax.set(xlabel="points N of each sample", ylabel="distance of two samples of one law")
ax.set_xticks(sizes, sizes)
ax.minorticks_off()
_ = fig.legend(loc="outside upper center", ncols=5, columnspacing=1)
