"""Gradient descent and its models on images: MLPs, a CNN and a mean-field network at the edge of stability.

The images are CIFAR-10's where its official files are found (``--data``, else the usual caches), otherwise the 8x8 digits. The
loss is ½ |f − y|², summed over the outputs and averaged over the images. All is in float64: below the edge the oscillation
decays, and in float32 so far that its return is late. Of 500 images, η = 0.02 unless it says otherwise (arXiv:2606.05326;
arXiv:2410.24206 for networks like these):

mlp        3072 – 64 – 10, tanh, on one-hot classes. 500 images span 500 of the 3072 directions at most, and weights orthogonal
           to them never move: the network sees the images in an orthonormal basis of their span, which changes only the cost.
cnn        windows of 8x8 pixels, then of 2x2, each with its size as stride, 8 and 16 channels, GELU; machine or animal as ±1.
meanfield  100 neurons, tanh, machine or animal as ±1; η = 2/S with S the sharpness that the gradient flow has when it has
           brought the risk to a third: gradient descent then reaches the edge about there.

And one whose oscillation has decayed to rounding when it reaches the edge, so that what follows it has to keep what is left:

quiet      3072 – 64 – 64 – 4, GELU, on four one-hot classes, 240 images, every pixel standardised, η = 0.04.

``--seeds 3`` takes three starts of each, and adds a table of their means; ``--first 1`` begins with the second, so that starts
can be shared out; ``--resume`` goes on after an interruption, and ``--redraw`` makes figures and tables of all that the folder
has. On the digits, seen as 64 – 64 – 10 and through windows of 2x2, with their parity as ±1, the edge is reached later: give
``--steps 240``.

    python scripts/fig_image_networks.py --seeds 3 --out figures
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import _common as c
import _errors as errors
import numpy as np
from _bench_report import markdown_table
from _image_problems import PROBLEMS, Problem, load
from _kept import Kept
from _pages import computed, splice
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meanfield import tasks

NAME = "image_networks"
PAGES = dict.fromkeys(PROBLEMS, "image_networks.md") | {"quiet": "onsets.md"}


def main(argv: Sequence[str] | None = None) -> None:
    parser = c.parser(__doc__, steps=120)
    parser.set_defaults(steps=None)  # for the quiet one 200
    parser.add_argument("--data", type=Path, help="CIFAR-10: its archive or folder")
    parser.add_argument("--only", choices=tuple(PROBLEMS), help="one of the problems")
    parser.add_argument("--seeds", type=int, default=1, help="starts of each (default: 1)")
    parser.add_argument("--every", type=int, default=4, help="steps between measurements")
    about = "folder of the pages that get the tables of several starts"
    parser.add_argument("--pages", type=Path, help=about)
    parser.add_argument("--first", type=int, default=0, help="the first start (default: 0)")
    about = (
        "go on where an interrupted call ended; the starts that the folder has are not run again"
    )
    parser.add_argument("--resume", action="store_true", help=about)
    about = "figures and tables of what is in the folder"
    parser.add_argument("--redraw", action="store_true", help=about)
    args = parser.parse_args(argv)
    for name in [args.only] if args.only else PROBLEMS:
        if args.redraw:
            for file in saved(args.out, name):
                draw(file, args.format)
        else:
            run(name, args)
        tabulate(name, args)


def run(name: str, args: Namespace) -> None:
    """The starts of a problem."""
    build, images = PROBLEMS[name]
    data = load(args.data, 40 if args.quick else images)
    c.prepare(args.out, f"{NAME}_{name}")
    for seed in range(args.first, args.first + args.seeds):
        problem = build(*data, seed)
        steps = 4 if args.quick else args.steps or problem.steps
        one_start(problem, steps, args, f"{NAME}_{name}", seed)


def saved(folder: Path, name: str) -> list[Path]:
    """The files of a problem's starts, in order."""
    found = folder.glob(f"{NAME}_{name}*.npz")
    return sorted(found, key=lambda file: (len(file.name), file.name))


def tabulate(name: str, args: Namespace) -> None:
    """The tables of several starts, and the page's."""
    files = saved(args.out, name)
    if len(files) < 2:
        return
    starts = [errors.errors(None, runs, eta) for eta, runs in map(c.load_runs, files)]
    mean = errors.cells(errors.average(starts))
    title = f"Means over {len(starts)} starts"
    c.save_table(args.out, f"{NAME}_{name}", title, errors.HEADER, mean, errors.LEGEND)
    header, rows = errors.start_by_start(starts)
    notes = f"RMS distance and, in brackets, onset delay. {errors.WITHIN}"
    c.save_table(args.out, f"{NAME}_{name}", "Start by start", header, rows, notes)
    if args.pages is not None:
        about = computed(f"fig_image_networks.py --only {name} --seeds {len(starts)}")
        table = markdown_table(*errors.summary(starts))
        splice(args.pages / PAGES[name], name, f"{table}\n\n{about}")


def one_start(problem: Problem, steps: int, args: Namespace, stem: str, seed: int) -> None:
    """Its runs are saved and drawn, its errors printed."""
    file = args.out / f"{stem if seed == 0 else f'{stem}_{seed}'}.npz"
    if not (args.resume and file.exists()):
        kept, every = Kept(file.with_suffix(".kept"), args.resume), min(args.every, steps)
        flows, start = c.models(problem.eta), problem.x0
        runs = c.measure_all(flows, problem.objective, start, steps, every, measure=kept.measure)
        c.save_runs(file, problem.objective, runs, problem.eta)
        kept.remove()
    eta, runs = c.load_runs(file)
    title = f"{problem.title}, η = {eta:.4g}, {steps} steps, start {seed}"
    first = errors.onset(runs[c.GD], runs[c.GD])
    when = "does not set in" if np.isnan(first) else f"sets in at step {first:.0f}"
    notes = f"Gradient descent's oscillation {when}. {errors.LEGEND}"
    rows = errors.cells(errors.errors(None, runs, eta))
    c.save_table(args.out, stem, title, errors.HEADER, rows, notes)
    draw(file, args.format)


@c.styled
def draw(file: Path, suffix: str) -> None:
    """The figure beside the file of the runs."""
    eta, runs = c.load_runs(file)
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    (a, b), (d, e) = figure.subplots(2, 2)
    c.plot_envelope(a, runs[c.GD])
    c.plot(a, runs, lambda run: run.predicted, ylabel="loss, averaged over the oscillation")
    a.set(yscale="log")
    c.plot_edge(b, 2.0, "edge of stability")
    c.plot(b, runs, lambda run: eta * run.sharpness, ylabel="η times sharpness")
    models = {name: run for name, run in runs.items() if name != "gradient flow"}
    c.plot(d, models, trace, ylabel="tr Σ", yscale="log")
    largest = np.max(runs[c.GD].fluctuation ** 2)
    d.set(ylim=(1e-6 * largest, 10 * largest))
    c.plot_distances(e, None, runs, yscale="log")
    e.set(ylabel="distance of the center to gradient descent's")
    c.save_figure(figure, file.parent, file.stem, suffix)


def trace(run: c.Run) -> np.ndarray:
    """tr Σ, a gap where there is no fluctuation at all."""
    return np.where(run.fluctuation > 0, run.fluctuation, np.nan) ** 2


# --- the same on the 8x8 digits, small enough for a page of the gallery ---

ON_DIGITS = (c.GD, "gradient flow", "free-energy flow", "free-energy flow, delay")


def problem_on_digits(name: str, n: int = 100) -> Problem:
    """A problem of the script with n digits in place of its images, from its first start."""
    images = tasks.digits(n, target="classes")
    return PROBLEMS[name][0](images, (0, 2, 4, 6, 8), 0)


def draw_side_by_side(
    figure: Figure, axes: Sequence[Axes], problem: Problem, steps: int, every: int
) -> None:
    """Loss and ηS of gradient descent and three models, measured every so many steps; what they reach is printed."""
    runs = {
        name: c.measure(flow, problem.objective, problem.x0, steps, every)
        for name, flow in c.models(problem.eta, *ON_DIGITS).items()
    }
    top, bottom = axes
    c.plot_envelope(top, runs[c.GD])
    c.plot(top, runs, lambda run: run.predicted, xlabel=None, yscale="log")
    top.set(ylabel="loss, averaged over the oscillation")
    c.plot_edge(bottom, 2, "edge of stability")
    c.plot(bottom, runs, lambda run: problem.eta * run.sharpness, ylabel="ηS at the center")
    handles = dict(zip(*reversed(top.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=2)
    print(f"{problem.title}, η = {problem.eta:.4g}")
    for name, run in runs.items():
        gap = c.distances(problem.objective, run, runs[c.GD])
        peak = problem.eta * run.sharpness.max()
        print(f"{name}: largest ηS {peak:.3f}, RMS distance {np.sqrt(np.mean(gap**2)):.3g}")


if __name__ == "__main__":
    c.run_script(main)
