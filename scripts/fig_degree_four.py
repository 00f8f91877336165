"""Where gradient descent on a degree-four loss settles just below 2/η, bifurcating on the way (arXiv:2210.03294).

E = ½ (1 − xyzw)² from (x, y, z, w) = (12.5, 0.05, 12.5, 0.05), where z = x and w = y for ever, with η = 0.01. The gradient flow
keeps d = x² − y² and ends at once, at the minimiser xy = 1 of sharpness S* = 2√(d² + 4). Gradient descent steps across it, and
with p = xy every step lowers d by the factor 1 − η²(1 − p²)²p²: slowly, so that p follows a map of the line,

    p ← p (1 + r (1 − p²)),    r = η(x² + y²) ≈ ηS*/2,

whose parameter drifts. The run draws that map's bifurcation diagram, backwards: chaos with its windows, period four below
ηS* = 2(√5 − 1) = 2.47, period two, and at last a fixed point, ηS* = 1.99995 after 300,000 steps.

The orbit of period two, p = ½(√(1 + 3/r) ± √(1 − 1/r)), is where the free energy is stationary in p and its oscillation. The
flows rest there, or near, also where gradient descent does not, and so give its drift to some per cent. With the half-step delay
the free-energy flow does not rest either, until ηS* has come down to about 2.5.

    python scripts/fig_degree_four.py --out figures

takes a quarter of an hour, most of it for the flows (``--flow-steps``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import _common as c
import _errors as errors
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import solvers
from meanfield.landscapes import DegreeFour
from meanfield.study.figures.palette import BLACK

NAME = "degree_four"
ETA = 0.01
DOTS = {
    "color": BLACK, "linestyle": "", "marker": ".", "markersize": 1.2, "markeredgewidth": 0,
    "alpha": 0.7, "rasterized": True,
}  # fmt: skip
NOTES = f"{errors.LEGEND} ηS*: of the minimiser passed; its largest error over time."


def main(argv: Sequence[str] | None = None) -> None:
    parser = c.parser(__doc__, steps=300_000)
    about = "of the flows, and of gradient descent in the table (default: 20000)"
    parser.add_argument("--flow-steps", type=int, default=20_000, help=about)
    args = parser.parse_args(argv)
    steps, flow_steps = (300, 30) if args.quick else (args.steps, args.flow_steps)
    c.prepare(args.out, NAME)

    landscape = DegreeFour()
    start = np.array(landscape.start)
    runs = c.measure_all(c.models(ETA), landscape, start, flow_steps, max(1, flow_steps // 1000))
    extra = {
        "ηS* at the end": [f"{passed(run.centers)[-1]:.4f}" for run in runs.values()],
        "largest error": [f"{error(run, runs[c.GD]).max():.2g}" for run in runs.values()],
    }
    header, rows = errors.extended(errors.error_table(landscape, runs, ETA), extra)
    title = f"Degree four, η = {ETA}, from (12.5, 0.05), {flow_steps} steps"
    c.save_table(args.out, NAME, title, header, rows, NOTES)

    descent = c.solve(solvers.GradientDescent(ETA), landscape, start, steps)
    c.save_table(args.out, NAME, "Gradient descent alone", *end_of(landscape, descent))
    draw(runs, descent, args.out, args.format)


def product(points: np.ndarray) -> np.ndarray:
    return points[:, 0] * points[:, 1]


def passed(points: np.ndarray) -> np.ndarray:
    """ηS* of the minimisers passed, those that the gradient flow would reach."""
    return ETA * 2 * np.hypot(points[:, 0] ** 2 - points[:, 1] ** 2, 2)


def error(run: c.Run, descent: c.Run) -> np.ndarray:
    """Of ηS*."""
    n = min(len(run.times), len(descent.times))
    return np.abs(passed(run.centers) - passed(descent.centers[:n]))


def end_of(landscape: DegreeFour, descent: solvers.Solution) -> tuple[list[str], list[list[str]]]:
    x, y = descent.iterates[-1, :2]
    sharpness = solvers.top_eigenpairs(landscape, descent.iterates[-1]).values[0]
    values = f"{descent.times[-1]:.0f}", f"{x:.5f}", f"{y:.6f}", f"{sharpness:.3f}", f"{2 / ETA:g}"
    return ["step", "x", "y", "sharpness", "2/η"], [list(values)]


@c.styled
def draw(runs: dict[str, c.Run], descent: solvers.Solution, folder: Path, suffix: str) -> None:
    figure = Figure(figsize=(11, 8.5), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(3, 2))
    draw_diagram(top.subplots(), runs, descent)
    left, right = bottom.subplots(1, 2)
    left.plot(descent.times, passed(descent.iterates), **c.LINES[c.GD], label=c.GD)
    models = c.models_of(runs)
    c.plot(left, models, lambda run: passed(run.centers))
    c.plot_edge(left, 2, "edge of stability")
    left.set(xlim=(10, descent.times[-1]), xscale="log", ylabel="ηS* of the minimiser passed")
    c.plot(right, models, lambda run: error(run, runs[c.GD]), yscale="log")
    right.set(ylabel="error of ηS*", ylim=(1e-4, None))
    c.save_figure(figure, folder, NAME, suffix)


def draw_diagram(ax: Axes, runs: dict[str, c.Run], descent: solvers.Solution) -> None:
    """The product xy over ηS*, which falls with time: iterates of gradient descent, ends of the flows' oscillation."""
    place = passed(descent.iterates)
    ax.plot(place, product(descent.iterates), **DOTS)
    orbit = {"color": c.PALE, "linewidth": 5, "zorder": 1}
    r = np.linspace(1, place.max() / 2, 500)
    for sign, label in (-1, "orbit of period two"), (1, None):
        p = 0.5 * (np.sqrt(1 + 3 / r) + sign * np.sqrt(1 - 1 / r))
        ax.plot(2 * r, p, **orbit, label=label)
    for name, run in runs.items():
        if name not in (c.GD, c.PERTURBED, "gradient flow"):
            half = run.fluctuation * np.linalg.norm(run.centers, axis=1) / 2  # u is along (y, x)
            look = c.LINES[name]
            if name == "free-energy flow, delay":  # not a line where it does not rest
                look = DOTS | {"color": look["color"], "markersize": 3, "alpha": 1}
            for end in (product(run.centers) - half, product(run.centers) + half):
                ax.plot(passed(run.centers), end, **look)
    limits = place.max() + 0.01, place.min() - 0.02
    ax.set(xlim=limits, xlabel="ηS* of the minimiser passed", ylabel="xy")
    steps = [t for t in (1000, 5000, 10_000, 20_000, 30_000, 50_000) if t < len(place)]
    when = ax.secondary_xaxis("top")
    when.set_xticks(place[steps], [f"step {t:,}" for t in steps])


if __name__ == "__main__":
    c.run_script(main)
