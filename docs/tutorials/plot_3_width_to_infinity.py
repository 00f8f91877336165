"""
Width to infinity
=================

Does gradient descent of N neurons converge to a mean-field limit, how fast, and in which distance? A study of widths,
and why a Wasserstein distance means nothing without its floor.

The page runs in about a minute on one core.
"""

# %%
# The limit and how to come near it
# ---------------------------------
#
# A two-layer network in mean-field scaling is a mean over its neurons, so it depends on their empirical measure
# alone. As N → ∞ the measure of independent neurons becomes a law ρ, and gradient descent a map of laws. That limit
# is not known in closed form: a much wider network, the *reference*, stands for it.
#
# A study runs every width from several starts. By default they are *nested*: the neurons of a narrow network are
# some of the reference's, so that each has a counterpart that started where it did.
#
# The study
# ---------
#
# A study starts worker processes, and its home is the command line. This is the configuration,

import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import meanfield
import solvers
from meanfield.study.figures import STYLE, looks

plt.style.use(STYLE)
config = meanfield.RunConfig(
    learning_rate=0.2,
    steps=60,
    task={"name": "teacher_student", "n": 60, "input_dim": 3},
    output={"snapshot_every": 30, "sharpness_every": 30},
    processes={"gradient_descent": {}},
)
folder = Path(tempfile.mkdtemp())
_ = (folder / "teacher.toml").write_text(config.to_toml(), encoding="utf-8")

# %%
# and this is the command,
#
# .. code-block:: sh
#
#     meanfield width teacher.toml --widths 32,64,128,256 --seeds 6 --reference-width 4096 --out study
#
# which the page runs. Twenty-four runs and the reference; if you stop it, the same command goes on.

command = [sys.executable, "-m", "meanfield", "width", "teacher.toml", "--widths", "32,64,128,256"]
options = ["--seeds", "6", "--reference-width", "4096", "--out", "study", "--jobs", "1"]
_ = subprocess.run([*command, *options], cwd=folder, check=True, capture_output=True)
study = meanfield.load(folder / "study")

# %%
# Two kinds of distance
# ---------------------
#
# Arrays of the study are by pair of processes, width, seed and time. We take gradient descent against gradient
# descent of the reference, at the last time: the distance of the functions, of neurons to their counterparts, and
# the Wasserstein distance of the measures.

pair = [p.label for p in study.pairs].index("gradient descent to gradient descent of the reference")
titles = {
    "function_distance": "functions, RMS over inputs",
    "coupled_rms": "neurons to their counterparts, RMS",
    "w2": "Wasserstein-2 of independent samples",
    "sliced_w2": "sliced Wasserstein-2",
}
fig, ax = plt.subplots(figsize=(4.8, 4.4), layout="constrained")
for (metric, title), look in zip(titles.items(), looks("abcd").values(), strict=True):
    values = study.distances[metric][pair, :, :, -1]
    ax.loglog(study.widths, np.median(values, axis=1), **look.line, marker="o", label=title)
    ax.fill_between(
        study.widths, values.min(axis=1), values.max(axis=1), color=look.colour, alpha=0.2
    )
    slope, low, high = study.slopes[metric][pair, -1]
    print(f"{title}: slope {slope:.2f}, {study.slope_ends} {low:.2f} to {high:.2f}")
ax.set_xticks(study.widths, [str(width) for width in study.widths])
ax.minorticks_off()
ax.set(xlabel="width N (neurons)", ylabel=f"distance to the reference at t = {study.times[-1]:g}")
_ = fig.legend(loc="outside upper center", ncols=1)

# %%
# Lines are medians over the seeds, bands their range. Functions and neurons approach the reference at a rate near
# N^(−1/2), the law of large numbers: the network's output is a mean over N terms. The Wasserstein distance is far
# larger, and falls much more slowly. Is the measure converging more slowly than its neurons? It cannot be: the
# coupled distance is an upper bound of the Wasserstein distance of *the same* neurons. The study takes other
# neurons of the reference, because a distance of samples that share their neurons would say little about laws.
#
# The floor
# ---------
#
# Two independent samples of N points of *one* law have a Wasserstein distance of order N^(−1/D) in D > 4
# dimensions. The study measures that floor, on pairs of samples of the reference itself.

fig, ax = plt.subplots(figsize=(4.8, 3.8), layout="constrained")
for metric, look in zip(("w2", "sliced_w2"), list(looks("abcd").values())[2:], strict=True):
    values = np.median(study.distances[metric][pair, :, :, -1], axis=1)
    floor = study.floors[metric][pair, :, -1]
    ax.loglog(study.widths, values, **look.line, marker="o", label=titles[metric])
    ax.loglog(study.widths, floor, ":", color=look.colour, marker="s", label="its floor")
    print(f"{titles[metric]}: over its floor {np.round(values / floor, 2)}")
ax.set_xticks(study.widths, [str(width) for width in study.widths])
ax.minorticks_off()
ax.set(xlabel="width N (neurons)", ylabel="distance")
_ = fig.legend(loc="outside upper center", ncols=2)

# %%
# At no width is the distance above its floor, which is a mean over a few draws and noisy itself: what is seen is the
# sampling. From these Wasserstein distances nothing follows about convergence, except that it is
# not refuted; the study says so itself:

for warning in study.warnings:
    print("-", warning)

# %%
# Sliced distances have a lower floor, of order N^(−1/2) whatever the dimension, but the same comparison decides.
#
# How the floor depends on the dimension
# --------------------------------------
#
# Neurons here have five coordinates: one output weight, three input weights, a bias. You can measure the floor of
# any law yourself, with samples of your own:

rng = np.random.default_rng(0)
sizes = np.array([64, 128, 256, 512])
print("D    measured slope of the floor     −1/D")
for dimension in (1, 2, 5, 10):
    draws = [
        np.mean(
            [
                solvers.transport.w2(*rng.standard_normal((2, size, dimension))).distance
                for _ in range(6)
            ]
        )
        for size in sizes
    ]
    slope = np.polyfit(np.log(sizes), np.log(draws), 1)[0]
    print(f"{dimension:2d} {slope:28.2f} {-1 / dimension:12.2f}")

# %%
# In one dimension the floor falls like N^(−1/2), the sampling error of quantiles, rather than 1/N; beyond four
# dimensions it comes near −1/D, from above at these sizes: the limit law is reached slowly.
#
# At the edge of stability
# ------------------------
#
# Everything here was below the edge:

reference = meanfield.load(folder / "study" / "reference")
sharpness = reference["gradient_descent"].observables["sharpness"]
sharpness = sharpness[np.isfinite(sharpness)]
print(
    f"ηS of the reference: {config.learning_rate * sharpness.min():.3f} to {config.learning_rate * sharpness.max():.3f}"
)

# %%
# With a learning rate of 2.5 the reference comes to the edge within the study, ηS = 2.06 at its end, and narrow networks
# a little earlier or later. Functions and neurons still converge, at the end with slopes of about −0.48 and −0.52.
# Try it, in a folder that has the configuration above as ``teacher.toml``:
#
# .. code-block:: sh
#
#     meanfield width teacher.toml --widths 32,64,128,256 --seeds 6 --set learning_rate=2.5 --out edge
#
# The command writes figures of all distances and of their slopes over time into the folder, and ``meanfield report
# study`` a page with everything. The guide on widths has such a study with 8 seeds, in numbers.
