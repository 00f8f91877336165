"""What the figures share: measuring a run, one look per process, tables and figures as files."""

from __future__ import annotations

import argparse
import math
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _bench_report import markdown_table
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

import solvers
from meanfield.study.analysis.comparison import PERTURBED_TITLE as PERTURBED
from meanfield.study.engine.perturbed import one_rounding_away
from meanfield.study.figures import PALE, STEPS, STYLE
from meanfield.study.figures.palette import GREY, looks
from meanfield.study.figures.ticks import log_y

Array = NDArray[np.floating[Any]]

#: Decorator of what draws: the style of a run's figures, and none of it left behind.
styled = rc_context({**STYLE, "axes.titlesize": 10})
GD = "gradient descent"


def model_classes() -> dict[str, Callable[[float], solvers.Flow]]:
    """Gradient descent and its models, to be made with a learning rate."""
    return {
        GD: solvers.GradientDescent,
        "gradient flow": solvers.GradientFlow,
        "free-energy flow": solvers.FreeEnergyFlow,
        "free-energy flow, exact growth": partial(solvers.FreeEnergyFlow, growth="exact"),
        "free-energy flow, delay": partial(solvers.FreeEnergyFlow, delay=True),
        "rod flow": solvers.RodFlow,
        "edge flow": solvers.EdgeFlow,
        "central flow": solvers.CentralFlow,
    }


def lines(*others: str) -> dict[str, dict[str, Any]]:
    """How the models are drawn, and others: as in the figures of runs."""
    names = {name: re.sub(r"\W+", "_", name) for name in (*model_classes(), *others)}
    variant = names["free-energy flow, exact growth"]
    chosen = looks(key for key in names.values() if key != variant)
    chosen[variant] = chosen[names["free-energy flow"]]._replace(dashes="--")
    perturbed = {"color": PALE, "linestyle": "-", "linewidth": 4.0, "zorder": 1.9}  # under all
    return {PERTURBED: perturbed} | {name: chosen[key].line for name, key in names.items()}


LINES = lines()


def models(eta: float, *names: str) -> dict[str, solvers.Flow]:
    """Gradient descent and its models by name, all of them where no names are given."""
    made = {name: make(eta) for name, make in model_classes().items()}
    return {name: made[name] for name in names or made}


@dataclass
class Run:
    """A process, measured every so many iterations."""

    times: Array
    centers: Array  #: (s, *x)
    fluctuation: Array  #: √tr Σ
    sharpness: Array  #: at the center
    predicted: Array  #: the loss averaged over the oscillation
    ends: Array  #: (s, 2), E at the two ends of the oscillation
    iterates: Array | None  #: (s, *x), gradient descent only
    status: str
    seconds: float
    steps: Array  #: all of them
    trace: Array  #: tr Σ at each
    distance: Array | None = (
        None  #: to gradient descent's center, of a run that was read from a file
    )


def solve(
    flow: solvers.Flow, objective: Any, x0: Array, steps: int, **options: Any
) -> solvers.Solution:
    """``solvers.solve`` with its bar; Ctrl-C ends the script and not the run alone."""
    solution = solvers.solve(flow, objective, x0, steps, progress=True, **options)
    if solution.status == "interrupted":
        raise KeyboardInterrupt
    return solution


def measure(
    flow: solvers.Flow,
    objective: Any,
    x0: Array,
    steps: int,
    every: int = 1,
    sharpness: bool = True,
    **options: Any,
) -> Run:
    """A run with its sharpness, NaN where the eigensolver found none or it is not wanted. Options go to ``solvers.solve``."""
    rows: list[tuple[Any, ...]] = []
    trace: list[tuple[float, float]] = []
    vectors = None

    def top(x: Array) -> float:
        nonlocal vectors
        if not sharpness:
            return math.nan
        # Started from the last one's vectors, an eigenproblem is a matter of a few products.
        pairs = solvers.top_eigenpairs(objective, x, tol=1e-3, start=vectors)
        vectors = pairs.vectors if pairs.converged else None
        return float(pairs.values[0])

    def observe(o: solvers.Observation) -> None:
        trace.append((o.time, o.fluctuation_trace))
        if o.step % every and o.step != steps:
            return
        scalars = math.sqrt(o.fluctuation_trace), top(o.center), o.predicted_loss
        u = _leading(o)
        ends = objective.value(o.center + u), objective.value(o.center - u)
        rows.append((o.time, o.center, *scalars, ends, o.iterate))

    began = time.perf_counter()
    solution = solve(flow, objective, x0, steps, save_every=steps, observe=observe, **options)
    *columns, iterates = zip(*rows, strict=True)
    status = solution.status if solution.status == "complete" else solution.message
    kept = None if iterates[0] is None else np.array(iterates)
    seconds = time.perf_counter() - began
    return Run(*map(np.array, columns), kept, status, seconds, *np.array(trace).T)


def _leading(o: solvers.Observation) -> Array:
    """The fluctuation, of several the largest."""
    several = o.fluctuation.ndim > o.center.ndim
    return max(o.fluctuation, key=np.linalg.norm) if several else o.fluctuation


def measure_all(
    flows: dict[str, solvers.Flow],
    objective: Any,
    x0: Array,
    steps: int,
    every: int = 1,
    options: dict[str, dict[str, Any]] | None = None,
    measure: Callable[..., Run] = measure,
) -> dict[str, Run]:
    """Every flow from the same start, and gradient descent again from one rounding away; options by name."""
    runs = {}
    for name, flow in flows.items():
        print(f"{name} …", file=sys.stderr, flush=True)
        runs[name] = measure(flow, objective, x0, steps, every, **(options or {}).get(name, {}))
        if name == GD:
            start = one_rounding_away(x0, 0)
            runs[PERTURBED] = measure(flow, objective, start, steps, every, sharpness=False)
    return runs


#: What a figure needs of a run: not the centers, which may be large, but their distances.
SAVED = ("times", "fluctuation", "sharpness", "predicted", "ends", "steps", "trace", "distance")


def save_runs(path: Path, objective: Any, runs: dict[str, Run], eta: float) -> None:
    """What a figure is drawn from, so that it can be drawn again."""
    arrays: dict[str, Any] = {"eta": eta}
    for name, run in runs.items():
        run = replace(run, distance=distances(objective, run, runs[GD]))
        arrays |= {f"{name}/{key}": getattr(run, key) for key in (*SAVED, "status", "seconds")}
    np.savez_compressed(path, **arrays)


def load_runs(path: Path) -> tuple[float, dict[str, Run]]:
    """η and the runs of `save_runs`, without centers and iterates."""
    with np.load(path) as file:
        names = dict.fromkeys(key.rpartition("/")[0] for key in file if "/" in key)
        return float(file["eta"]), {
            name: Run(
                **{key: file[f"{name}/{key}"] for key in SAVED},
                centers=np.empty(0),
                iterates=None,
                status=str(file[f"{name}/status"]),
                seconds=float(file[f"{name}/seconds"]),
            )
            for name in names
        }


def models_of(runs: dict[str, Run]) -> dict[str, Run]:
    """Those that are not gradient descent."""
    return {name: run for name, run in runs.items() if name not in (GD, PERTURBED)}


def distances(objective: Any, run: Run, reference: Run) -> Array:
    """|w − w_GD| in the objective's inner product, for particles their RMS, while both ran."""
    if run.distance is not None:
        return run.distance
    inner = getattr(objective, "inner", lambda u, v: float(np.vdot(u, v)))
    pairs = zip(run.centers, reference.centers, strict=False)
    return np.array([math.sqrt(inner(a - b, a - b)) for a, b in pairs])


def save_table(
    folder: Path,
    name: str,
    title: str,
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    notes: str = "",
) -> None:
    """Print a table in Markdown, and add it to ``<name>.md``."""
    parts = [f"## {title}", "", markdown_table(header, rows), *(["", notes] if notes else []), ""]
    text = "\n".join(parts)
    print(text)
    with (folder / f"{name}.md").open("a", encoding="utf-8") as file:
        file.write(text + "\n")


def plot(ax: Axes, runs: dict[str, Run], curve: Callable[[Run], Array], **settings: Any) -> None:
    """A curve over time of every run but the perturbed one."""
    for name, run in runs.items():
        if name == PERTURBED:
            continue
        values = curve(run)
        ax.plot(run.times[: len(values)], values, **LINES[name], label=name)
    ax.set(**{"xlabel": STEPS, **settings})


def plot_distances(ax: Axes, objective: Any, runs: dict[str, Run], **settings: Any) -> None:
    """Distances to gradient descent over time, its own one rounding away among them; from the second measurement on.

    At the first one most centers are gradient descent's to rounding.
    """
    for name, run in runs.items():
        if name != GD:
            gap = distances(objective, run, runs[GD])[1:]
            ax.plot(run.times[1 : 1 + len(gap)], gap, **LINES[name], label=name)
    ax.set(**{"xlabel": STEPS, **settings})


def plot_edge(ax: Axes, level: float, label: str) -> None:
    """The edge of stability."""
    ax.axhline(level, color=GREY, linewidth=1, linestyle=(0, (5, 2)), label=label, zorder=1.9)


def plot_envelope(ax: Axes, run: Run, **settings: Any) -> None:
    """The losses at the two ends of the oscillation, of gradient descent those of consecutive iterates, as a band."""
    look = {"color": PALE, "linewidth": 2, "label": f"{GD}, iterates"}
    ax.fill_between(run.times, *run.ends.T, **(look | settings))


def save_figure(figure: Figure, folder: Path, name: str, suffix: str) -> None:
    """One legend above the axes for all of them, plain logarithmic axes, and the file."""
    entries: dict[str, Any] = {}
    for ax in figure.axes:
        if ax.get_yscale() == "log":
            log_y(ax)
        handles, labels = ax.get_legend_handles_labels()
        if ax.get_legend() is None:
            entries |= {k: h for h, k in zip(handles, labels, strict=True) if k not in entries}
    if entries:
        figure.legend(entries.values(), entries.keys(), loc="outside upper center", ncols=4)
    path = folder / f"{name}.{suffix}"
    figure.savefig(path)
    print(path)


def parser(description: str | None, steps: int) -> argparse.ArgumentParser:
    """The options that every figure has."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--out", type=Path, default=Path("figures"), help="folder (default: figures)")
    made.add_argument("--format", choices=("png", "svg", "pdf"), default="png")
    about = f"iterations of gradient descent (default: {steps})"
    made.add_argument("--steps", type=int, default=steps, help=about)
    made.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    return made


def prepare(folder: Path, name: str) -> None:
    """A folder without the table of an earlier run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").unlink(missing_ok=True)


def run_script(main: Callable[[], None]) -> None:
    """Run, and end without a traceback on Ctrl-C."""
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
