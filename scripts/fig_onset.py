"""Where the oscillation decays to the rounding of the weights before the edge of stability: when does it set in again?

Two networks on the digits of the package, five starts each, with η so small that ηS stays well below 2 for hundreds of
steps: the oscillation of gradient descent decays to the rounding of its iterates, and grows from there once ηS has passed 2. The
onset then is as random as rounding: it is given for gradient descent from the start and from eight others one rounding away, and
for the delay with eight seeds of its rounding noise.

network  100 neurons, tanh, 100 images, parity; η = 1.84/S, with S the sharpness after 110 steps of gradient descent with η = 0.3.
mlp      64 – 32 – 32 – 4, GELU, 240 images of four classes, |x|² = 300 on average; η = 1.55/S, S after 40 steps with η = 0.15.

    python scripts/fig_onset.py --out figures

``--models`` runs all models, which takes about an hour on two cores; without it the free-energy flow with delay, with and without
rounding noise, is compared with gradient descent alone. ``--resume`` goes on after an interruption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import _common as c
import _errors as errors
import numpy as np
from _kept import Kept
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import meanfield
import solvers
from meanfield.study.engine.perturbed import one_rounding_away

NAME = "onset"
STARTS, DRAWS = 5, 8  # of a network; one rounding away, and seeds of the noise
SILENT = "free-energy flow, delay, no noise"
DELAY = "free-energy flow, delay"
SEEDS = f"{DELAY}, other seeds"
HEADER = ("process", "RMS distance", "onset", "start", "status")
LEGEND = (
    "Onset: by the definition of `meanfield compare`, without the first tenth of the run, where the start's oscillation decays. "
    "RMS distance: of the center to gradient descent's, over time. Gradient descent, one rounding away, and the delay with other "
    "seeds: of eight runs the largest distance, and the first, the median and the last onset."
)


@dataclass(frozen=True)
class Problem:
    objective: Any
    x0: np.ndarray
    eta: float
    steps: int


def network(seed: int) -> Problem:
    risk = meanfield.Risk(meanfield.TwoLayerNetwork(64), meanfield.tasks.digits(n=100))
    x0 = risk.network.initialize(100, seed=seed)
    return Problem(risk, x0, 1.84 / sharpness_after(risk, x0, 110, 0.3), 1150)


def mlp(seed: int) -> Problem:
    import torch
    from torch import nn

    task = meanfield.tasks.digits(n=1000, target="classes")
    chosen = np.flatnonzero(task.targets.argmax(axis=1) < 4)[:240]
    inputs = task.inputs[chosen] - task.inputs[chosen].mean(axis=0)
    inputs *= np.sqrt(300.0 / np.mean(np.sum(inputs**2, axis=1)))
    torch.manual_seed(seed)
    layers = nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 4)
    module = nn.Sequential(*layers).double()
    objective = meanfield.TorchObjective(module, "squared", inputs, task.targets[chosen, :4])
    x0 = objective.initial()
    return Problem(objective, x0, 1.55 / sharpness_after(objective, x0, 40, 0.15), 900)


def sharpness_after(objective: Any, x0: np.ndarray, steps: int, eta: float) -> float:
    descent = solvers.solve(solvers.GradientDescent(eta), objective, x0, steps, save_every=steps)
    return float(solvers.top_eigenpairs(objective, descent.centers[-1], tol=1e-3).values[0])


PROBLEMS = {"network": network, "mlp": mlp}


def main(argv: Sequence[str] | None = None) -> None:
    parser = c.parser(__doc__, steps=0)
    parser.set_defaults(steps=None)
    parser.add_argument("--only", choices=tuple(PROBLEMS), help="one of the networks")
    parser.add_argument("--starts", type=int, default=STARTS, help=f"default: {STARTS}")
    parser.add_argument("--models", action="store_true", help="all models, not the delay alone")
    about = "go on where an interrupted call ended"
    parser.add_argument("--resume", action="store_true", help=about)
    args = parser.parse_args(argv)
    c.prepare(args.out, NAME)
    chosen = [args.only] if args.only else list(PROBLEMS)
    found, kept = {}, Kept(args.out / f"{NAME}.kept", args.resume)
    for name in chosen:
        starts = range(1 if args.quick else args.starts)
        studies = [one_start(PROBLEMS[name](seed), args, seed, kept) for seed in starts]
        table = [line for study in studies for line in study.rows]
        c.save_table(args.out, NAME, name, HEADER, table, LEGEND)
        found[name] = studies
    draw_all(found, args)
    kept.remove()


@dataclass(frozen=True)
class OneStart:
    runs: dict[str, c.Run]
    others: list[c.Run]  #: gradient descent from one rounding away
    rows: list[list[str]]
    onsets: dict[str, float]
    ranges: dict[str, tuple[float, float]]  #: first and last onset of runs that differ by rounding


def one_start(problem: Problem, args: Any, seed: int, kept: Kept) -> OneStart:
    steps = 20 if args.quick else args.steps or problem.steps

    def run(flow: solvers.Flow, x0: np.ndarray = problem.x0) -> c.Run:
        measured = kept.measure(flow, problem.objective, x0, steps, sharpness=False)
        return late(measured, steps // 10)

    flows = c.models(problem.eta, *(() if args.models else (c.GD, DELAY)))
    flows[SILENT] = solvers.FreeEnergyFlow(problem.eta, delay=True, fluctuation_floor=0.0)
    runs = {name: run(flow) for name, flow in flows.items()}
    reference = runs[c.GD]
    draws = range(1 if args.quick else DRAWS)
    others = [run(flows[c.GD], one_rounding_away(problem.x0, draw)) for draw in draws]
    seeds = [run(replace(flows[DELAY], seed=1 + draw)) for draw in draws]
    onsets = {name: errors.onset(each, reference) for name, each in runs.items()}
    start = f"{seed}, η = {problem.eta:.4g}"

    def row(name: str, found: list[float], several: list[c.Run]) -> list[str]:
        gap = max(distance(problem.objective, each, reference) for each in several)
        return [name, small(gap), spread(found), start, several[0].status]

    rows = [row(name, [onsets[name]], [each]) for name, each in runs.items()]
    ranges = {}
    for name, of, several in ((c.PERTURBED, c.GD, others), (SEEDS, DELAY, seeds)):
        found = [or_never(errors.onset(each, reference)) for each in several]
        ranges[of] = min(found), max(found)
        rows.insert(1 + list(runs).index(of) + len(ranges) - 1, row(name, found, several))
    return OneStart(runs, others, rows, onsets, ranges)


def late(run: c.Run, first: int) -> c.Run:
    """Its tr Σ without the first steps."""
    run.steps, run.trace = run.steps[first:], run.trace[first:]
    return run


def distance(objective: Any, run: c.Run, reference: c.Run) -> float:
    return float(np.sqrt(np.mean(c.distances(objective, run, reference) ** 2)))


def spread(onsets: list[float]) -> str:
    """One onset; the first, the median and the last of several."""
    if len(set(onsets)) == 1:
        return number(onsets[0])
    return f"{number(min(onsets))} to {number(max(onsets))}, {number(float(np.median(onsets)))}"


def number(step: float) -> str:
    return f"{step:.0f}" if np.isfinite(step) else "never"


def or_never(step: float) -> float:
    """An onset that can be compared: infinite if there is none."""
    return float("inf") if np.isnan(step) else step


def small(value: float) -> str:
    return f"{value:.2g}"


@c.styled
def draw_all(found: dict[str, list[OneStart]], args: Any) -> None:
    figure = Figure(figsize=(11, 3.6 * len(found)), layout="constrained")
    axes = figure.subplots(len(found), 2, squeeze=False)
    for (name, studies), row in zip(found.items(), axes, strict=True):
        draw(name, studies, *row)
    c.save_figure(figure, args.out, NAME, args.format)


def draw(name: str, studies: list[OneStart], left: Axes, right: Axes) -> None:
    first = studies[0]
    for other in first.others:
        left.plot(other.steps, other.trace, color=c.PALE, linewidth=3, label=c.PERTURBED)
    looks = c.lines(SILENT)
    for process, run in first.runs.items():
        left.plot(run.steps, run.trace, **looks[process], label=process)
    top = float(np.max(first.runs[c.GD].trace))
    left.set(title=f"{name}, start 0", xlabel=c.STEPS, ylabel="tr Σ", yscale="log")
    left.set_ylim(1e-3 * float(np.min(first.runs[c.GD].trace)), 10 * top)
    for i, study in enumerate(studies):
        for process, ends in study.ranges.items():
            colour, up = (c.PALE, 0.0) if process == c.GD else (looks[process]["color"], 0.2)
            right.plot(ends, [i + up, i + up], color=colour, linewidth=6, solid_capstyle="butt")
        for process in study.runs:
            look = looks[process]
            right.plot(study.onsets[process], i, "o", color=look["color"], label=process,
                       markerfacecolor="none" if process == SILENT else None)  # fmt: skip
    right.set(title=f"{name}: onsets", xlabel="step", ylabel="start", yticks=range(len(studies)))


if __name__ == "__main__":
    c.run_script(main)
