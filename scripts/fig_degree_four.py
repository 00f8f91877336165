"""Where gradient descent on a degree-four loss settles just below 2/η, bifurcating on the way (arXiv:2210.03294).

E = ½ (1 − xyzw)² from (x, y, z, w) = (12.5, 0.05, 12.5, 0.05) with η = 0.01. The sharpness of the minimisers passed on the way
falls from 246 to just below 2/η = 200. Seen with x² − y² as a parameter that drifts, xy is first chaotic, then goes through
orbits of period four and two, which shrink to a point: a bifurcation diagram drawn by the run itself, from right to left. At
the end, after some 100,000 steps, S = 199.99. The flows know centers and one alternation: their best is the orbit of period two.

    python scripts/fig_degree_four.py --out figures
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import _common as c
import numpy as np
from matplotlib.figure import Figure

import solvers
from meanfield.landscapes import DegreeFour

NAME = "degree_four"
ETA = 0.01


def main(argv: Sequence[str] | None = None) -> None:
    parser = c.parser(__doc__, steps=20_000)
    parser.add_argument(
        "--descent-steps",
        type=int,
        default=100_000,
        help="of gradient descent alone (default: 100000)",
    )
    args = parser.parse_args(argv)
    steps, descent_steps = (50, 200) if args.quick else (args.steps, args.descent_steps)
    c.prepare(args.out, NAME)

    landscape = DegreeFour()
    start = np.array(landscape.start)
    runs = c.measure_all(c.models(ETA), landscape, start, steps, every=max(1, steps // 1000))
    title = f"Degree four, η = {ETA}, from (12.5, 0.05), {steps} steps"
    c.save_table(args.out, NAME, title, c.HEADER, c.error_table(landscape, runs, ETA), c.LEGEND)

    descent = solvers.solve(
        solvers.GradientDescent(ETA), landscape, start, descent_steps, progress=True
    )
    draw(landscape, runs, descent, args.out, args.format)
    sharpness = solvers.top_eigenpairs(landscape, descent.centers[-1]).values[0]
    x, y = descent.centers[-1, :2]
    end = f"After {descent_steps} steps gradient descent is at x = {x:.5f}, y = {y:.6f}"
    print(f"{end}, S = {sharpness:.3f}; 2/η = {2 / ETA:.0f}.")


@c.styled
def draw(
    landscape: DegreeFour,
    runs: dict[str, c.Run],
    descent: solvers.Solution,
    folder: Path,
    suffix: str,
) -> None:
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    (a, b), (d, e) = figure.subplots(2, 2)
    a.plot(descent.times, product(descent.iterates), **DOTS, label=f"{c.GD}, iterates")
    a.set(xlabel=c.STEPS, ylabel="xy")
    # The orbit at fixed x² − y², as gradient descent drifts through it.
    width = descent.iterates[:, 0] ** 2 - descent.iterates[:, 1] ** 2
    b.plot(width, product(descent.iterates), **DOTS, label=f"{c.GD}, iterates")
    b.set(xlabel="x² − y²", ylabel="xy")
    models = {name: run for name, run in runs.items() if name not in (c.GD, "gradient flow")}
    for name, run in models.items():
        u = run.fluctuation / np.linalg.norm(run.centers[:, :2], axis=1) / 2**0.5
        for sign in (
            -1,
            1,
        ):  # the product at the ends of the oscillation, which is along (y, x) to first order
            ends = product(run.centers) + sign * u * np.sum(run.centers[:, :2] ** 2, axis=1)
            a.plot(run.times, ends, **c.LOOKS[name]._asdict(), label=name)
    c.plot_edge(d, 2 / ETA, "2/η")
    c.plot(d, runs, lambda run: run.sharpness, ylabel="sharpness at the center")
    c.plot(e, models, lambda run: distance(run, runs[c.GD]), yscale="log")
    e.set(ylabel="distance of the center to gradient descent's")
    c.save_figure(figure, folder, NAME, suffix)


DOTS = {"color": "#000000", "linestyle": "", "marker": ",", "alpha": 0.5, "rasterized": True}


def product(points: np.ndarray) -> np.ndarray:
    return points[:, 0] * points[:, 1]


def distance(run: c.Run, reference: c.Run) -> np.ndarray:
    n = min(len(run.times), len(reference.times))
    return np.linalg.norm(run.centers[:n] - reference.centers[:n], axis=1)


if __name__ == "__main__":
    c.run_script(main)
