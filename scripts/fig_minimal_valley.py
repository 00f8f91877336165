"""Gradient descent and its models in the minimal valley of the edge of stability, and a drift that decides its fate.

E(x, y) = ½ (y + ζx) x² − ε (x + y): the sharpness y of the valley's floor grows along it until 2/η, from where the oscillation
of x holds it (edge flow, arXiv:2606.18080; rod flow, arXiv:2602.01480; central flow, arXiv:2410.24206; free energy,
arXiv:2606.05326). Figure one follows every process from (0, 6).

Figure two starts at the edge, near rest, where y − 2/η and log |u| swing as a self-stabilising pair (arXiv:2209.15594). To
first order the swings keep their size; at the next it grows like e^{γt}. The two-cycle of gradient descent at rest has x = w ± u
with u² = 2ε, and two steps from it have the Jacobian determinant

    det (1 − ηH₋)(1 − ηH₊) = 1 + 2η²ε (2 − 9ζ²) + O(ε²),    so    γ = ½ η²ε (2 − 9ζ²):

the swings grow for ζ < √2/3 ≈ 0.47 and shrink above. The half-step delay contributes η²ε of it, for every ζ; a flow without
has γ = −(9/2) η²ε ζ² and never grows.

    python scripts/fig_minimal_valley.py --out figures
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import _common as c
import _errors as errors
import numpy as np
from matplotlib.figure import Figure
from scipy.signal import argrelmax, argrelmin

from meanfield.landscapes import Valley
from meanfield.study.figures.palette import BLACK

NAME = "minimal_valley"
ETA, EDGE = 0.3, 2 / 0.3
EPSILON = 0.002  # of figure two
ZETAS = (0.0, 0.25, 2**0.5 / 3, 0.7, 1.0)
DRIFTING = (c.GD, "free-energy flow, delay", "free-energy flow", "rod flow")
TINY = 1e-15  # where the axis of |u| ends

Swings = dict[tuple[str, float], np.ndarray]  # y − 2/η over time, by process and ζ


def main(argv: Sequence[str] | None = None) -> None:
    parser = c.parser(__doc__, steps=2000)
    about = "of figure two (default: 3000)"
    parser.add_argument("--drift-steps", type=int, default=3000, help=about)
    args = parser.parse_args(argv)
    steps, drift_steps = (30, 30) if args.quick else (args.steps, args.drift_steps)
    c.prepare(args.out, NAME)

    valley = Valley(zeta=1.0, epsilon=0.01)
    runs = c.measure_all(c.models(ETA), valley, np.array(valley.start), steps)
    title = f"Valley, η = {ETA}, ζ = 1, ε = 0.01, from (0, 6), {steps} steps"
    header, rows = errors.extended(errors.error_table(valley, runs, ETA), of_y(runs))
    c.save_table(args.out, NAME, title, header, rows, errors.LEGEND)
    draw_runs(valley, runs, args.out, args.format)

    swings = {(name, zeta): swing(name, zeta, drift_steps) for zeta in ZETAS for name in DRIFTING}
    title = f"Growth of the swings of y, γ/η²ε, at ε = {EPSILON}, {drift_steps} steps from the edge"
    header = ["ζ", "1 − 9ζ²/2", *DRIFTING]
    c.save_table(args.out, NAME, title, header, drift_table(swings))
    draw_swings(swings, args.out, args.format)


def of_y(runs: dict[str, c.Run]) -> dict[str, list[str]]:
    """Columns of the table."""
    descent = runs[c.GD].centers[:, 1]
    paths = [run.centers[:, 1] for run in runs.values()]
    return {
        "peak of y": [f"{y.max():.5f}" for y in paths],
        "at step": [f"{y.argmax()}" for y in paths],
        "RMS error of y": [f"{np.sqrt(np.mean((y - descent[: len(y)]) ** 2)):.2g}" for y in paths],
    }


def swing(name: str, zeta: float, steps: int) -> np.ndarray:
    """y − 2/η of the center over time, in a run that starts at the edge with 1.3 times the steady fluctuation √(2ε)."""
    start = np.array([1.3 * (2 * EPSILON) ** 0.5, EDGE])
    flow, valley = c.models(ETA, name)[name], Valley(zeta=zeta, epsilon=EPSILON)
    return c.solve(flow, valley, start, steps).centers[:, 1] - EDGE


def growth(y: np.ndarray) -> float:
    """γ/η²ε between the first and the last swing, a peak and the trough after it; NaN if there are no two."""
    peaks, troughs = argrelmax(y)[0], argrelmin(y)[0]
    pairs = [(p, troughs[troughs > p][0]) for p in peaks if np.any(troughs > p)]
    if len(pairs) < 2:
        return math.nan
    (p, q), (r, s) = pairs[0], pairs[-1]
    return math.log((y[r] - y[s]) / (y[p] - y[q])) / (r - p) / (ETA**2 * EPSILON)


def drift_table(swings: Swings) -> list[list[str]]:
    rates = {key: growth(y) for key, y in swings.items()}
    return [
        [
            f"{zeta:.3f}",
            f"{1 - 4.5 * zeta**2:z.3f}",
            *("–" if math.isnan(r) else f"{r:z.3f}" for r in (rates[n, zeta] for n in DRIFTING)),
        ]
        for zeta in ZETAS
    ]


@c.styled
def draw_runs(valley: Valley, runs: dict[str, c.Run], folder: Path, suffix: str) -> None:
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    (a, b), (d, e) = figure.subplots(2, 2)
    oscillating = {
        name: run for name, run in runs.items() if name not in (c.PERTURBED, "gradient flow")
    }
    y = runs[c.GD].centers[:, 1]
    margin = 0.15 * np.ptp(y)
    limits = y.min() - margin, y.max() + margin  # rod and gradient flow leave for above
    c.plot(a, runs, lambda run: run.centers[:, 1], ylabel="y of the center", ylim=limits)
    c.plot_edge(a, EDGE, "2/η")
    c.plot(b, oscillating, across, yscale="log", ylim=(TINY, 10))
    b.set(ylabel="oscillation |u| across the valley")
    for name, run in oscillating.items():
        d.plot(run.centers[:, 1], across(run), **c.LINES[name], label=name)
    d.axvline(EDGE, color=c.GREY, linewidth=1, linestyle=(0, (5, 2)))
    d.set(xlabel="y of the center", ylabel="oscillation |u| across the valley")
    d.set(xlim=(6.2, limits[1]), yscale="log", ylim=(1e-3, 2))
    c.plot_distances(e, valley, runs)
    e.set(ylabel="distance of the center to gradient descent's")
    e.set_yscale("log", nonpositive="mask")
    c.save_figure(figure, folder, NAME, suffix)


def across(run: c.Run) -> np.ndarray:
    """|u|, of gradient descent that of x alone.

    Its u holds the drift of the center too, (η/2)∇E, which hides a small oscillation. That is told by the sixth difference of x,
    Δ⁶x/2⁶, in which the drift cancels; of a large and quick one it smooths the peak.
    """
    size = run.fluctuation
    if run.iterates is not None:
        size = np.abs(run.iterates - run.centers)[:, 0]
        sixth = np.abs(np.diff(run.iterates[:, 0], n=6)) / 2**6
        middle = slice(3, 3 + len(sixth))
        size[middle] = np.where(sixth < 1e-4, sixth, size[middle])
    return np.where(size > TINY, size, np.nan)


@c.styled
def draw_swings(swings: Swings, folder: Path, suffix: str) -> None:
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(3, 2))
    shown = (ZETAS[0], ZETAS[2], ZETAS[-1])
    for ax, zeta in zip(left.subplots(3, 1, sharex=True, sharey=True), shown, strict=True):
        for name in DRIFTING[:3]:
            ax.plot(1000 * swings[name, zeta], **c.LINES[name], label=name)
        ax.set(title=f"ζ = {zeta:.3g}", xlabel=c.STEPS, ylabel="1000 (y − 2/η)")
        ax.label_outer()
    ax = right.subplots()
    zeta = np.linspace(0, 1.03, 200)
    ax.plot(zeta, 1 - 4.5 * zeta**2, color=c.GREY, label="1 − 9ζ²/2")
    ax.plot(zeta, -4.5 * zeta**2, color=c.GREY, linestyle=":", label="−9ζ²/2")
    markers = zip(DRIFTING, "o.sx", (9, 8, 6, 7), strict=True)
    for name, marker, size in markers:
        look = {
            "color": c.LINES[name]["color"],
            "linestyle": "",
            "marker": marker,
            "markersize": size,
        }
        ax.plot(ZETAS, [growth(swings[name, z]) for z in ZETAS], **look, label=name)
    ax.axhline(0, color=BLACK, linewidth=0.8, zorder=1)
    ax.text(0.98, 0.06, "swings grow", ha="right", va="bottom")
    ax.text(0.98, -0.06, "swings shrink", ha="right", va="top")
    ax.set(xlabel="asymmetry ζ", ylabel="growth rate of the swings, γ/η²ε")
    ax.legend(loc="lower left")
    c.save_figure(figure, folder, f"{NAME}_drift", suffix)


if __name__ == "__main__":
    c.run_script(main)
