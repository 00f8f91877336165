"""Normalised gradient descent and gradient descent on √E, and the flows on the manifold of minimisers that both follow.

On E(x, y) = (1 + x²) y² neither comes to rest: they step across the minimisers y = 0, of sharpness S = 2(1 + x²), to and fro, and
creep along them to where S is smaller. In time τ = η²k, as η → 0, x follows Ẋ = −¼ ∇log S = −½ X/(1 + X²) or Ẋ = −⅛ ∇S = −½ X
(arXiv:2205.09745). From x = 1.5 to τ = 2 that leads to X = 1.01523 and to 1.5/e = 0.55182.

The iterates stay within O(η) of the flow. That is the width of the zigzag: on this example the error along the manifold is of
order η².

    python scripts/fig_sharpness_flow.py --out figures
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import _common as c
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import solvers
from meanfield.landscapes import VaryingTrough
from meanfield.study.figures.palette import looks

NAME = "sharpness_flow"
START, DURATION = 1.5, 2.0  # x, and τ at the end
LAWS = {
    "normalized": ("normalised gradient descent", solvers.NormalizedGradientDescent),
    "sqrt_loss": ("gradient descent on √E", solvers.SqrtLossGradientDescent),
}
SAVED = 25  # times of a run that are compared
COARSE = 50  # steps of the run whose zigzag is drawn
SHADES = ("#9ECAE1", "#6BAED6", "#3182BD", "#08519C")  # from large to small η
FLOW = {**looks([NAME])[NAME].line, "linewidth": 2.2, "label": "sharpness flow"}


@dataclass
class Comparison:
    """A map and its flow over τ ∈ [0, 2] in a number of steps, at the times that are compared."""

    law: str
    steps: int
    times: np.ndarray  #: τ
    x: np.ndarray  #: of the map
    limit: np.ndarray  #: of the flow
    along: np.ndarray  #: |x − X|
    distance: np.ndarray  #: of the farther of two consecutive iterates

    @property
    def eta(self) -> float:
        return rate(self.steps)


def rate(steps: int) -> float:
    """η with η² · steps = τ at the end."""
    return math.sqrt(DURATION / steps)


def main(argv: Sequence[str] | None = None) -> None:
    args = c.parser(__doc__, steps=80_000).parse_args(argv)
    finest = 1600 if args.quick else args.steps
    c.prepare(args.out, NAME)

    counts = [SAVED * max(1, finest // (SAVED * 4**i)) for i in (3, 2, 1, 0)]  # η halves
    runs = {law: [compare(law, steps) for steps in counts] for law in LAWS}
    header = (
        "process",
        "η",
        "steps",
        "x",
        "x of the flow",
        "error along",
        "order",
        "distance",
        "order",
    )
    notes = (
        f"x at τ = {DURATION:g}. Error along the manifold, |x − X|, and distance of the iterates to the flow: largest over time. "
        "Order: in η, from the row above."
    )
    rows = [row for law in LAWS for row in law_rows(runs[law])]
    title = f"(1 + x²)y², from x = {START} to η²k = {DURATION:g}"
    c.save_table(args.out, NAME, title, header, rows, notes)
    draw(runs, args.out, args.format)


def compare(law: str, steps: int) -> Comparison:
    eta, trough, every = rate(steps), VaryingTrough(), steps // SAVED
    start = np.array([START, 0.3 * eta])  # the flow's is the minimiser below it
    descent = c.solve(LAWS[law][1](eta), trough, start, steps, save_every=every)
    flow = c.solve(solvers.SharpnessFlow(eta, law), trough, start, steps, dt=every)
    ends = [descent.centers + sign * descent.fluctuations - flow.centers for sign in (-1, 1)]
    x, limit = descent.iterates[:, 0], flow.centers[:, 0]
    distance = np.linalg.norm(ends, axis=2).max(axis=0)
    return Comparison(law, steps, eta**2 * flow.times, x, limit, np.abs(x - limit), distance)


def law_rows(runs: list[Comparison]) -> list[list[str]]:
    rows = []
    for i, run in enumerate(runs):
        before = runs[i - 1] if i else None
        cells = [LAWS[run.law][0], f"{run.eta:.4g}", f"{run.steps}"]
        cells += [f"{run.x[-1]:.5f}", f"{run.limit[-1]:.5f}"]
        for name in ("along", "distance"):
            error = getattr(run, name).max()
            cells.append(f"{error:.2e}")
            if before is None:
                cells.append("–")
            else:
                ratio = getattr(before, name).max() / error
                cells.append(f"{math.log(ratio) / math.log(before.eta / run.eta):.2f}")
        rows.append(cells)
    return rows


@c.styled
def draw(runs: dict[str, list[Comparison]], folder: Path, suffix: str) -> None:
    figure = Figure(figsize=(11, 6.8), layout="constrained")
    for law, (zigzag, path, errors) in zip(LAWS, figure.subplots(2, 3), strict=True):
        draw_zigzag(zigzag, law)
        draw_paths(path, runs[law])
        draw_errors(errors, runs[law])
    c.save_figure(figure, folder, NAME, suffix)


def draw_zigzag(ax: Axes, law: str) -> None:
    """Iterates over the landscape, the flow along its floor."""
    eta, trough = rate(COARSE), VaryingTrough()
    x, y = np.meshgrid(np.linspace(0.45, 1.6, 100), np.linspace(-0.22, 0.22, 101))
    ax.contourf(x, y, (1 + x**2) * y**2, levels=12, cmap="Greys", alpha=0.5)
    width = 1.0 if law == "normalized" else math.sqrt(1 + START**2)  # of the zigzag, over η
    start = np.array([START, 0.5 * eta * width])
    descent = c.solve(LAWS[law][1](eta), trough, start, COARSE)
    flow = c.solve(solvers.SharpnessFlow(eta, law), trough, start, COARSE)
    ax.plot(*descent.iterates.T, "k.-", linewidth=0.6, markersize=4, label=f"η = {eta:.2g}")
    ax.plot(*flow.centers.T, **FLOW)
    ax.set(title=LAWS[law][0], xlabel="x", ylabel="y")


def draw_paths(ax: Axes, runs: list[Comparison]) -> None:
    """x over τ: the flow's, and those of the maps, at times that take turns so that all can be seen."""
    ax.plot(runs[-1].times, runs[-1].limit, **FLOW)
    for i, (run, color, marker) in enumerate(zip(runs, SHADES, "os^D", strict=True)):
        look = {"color": color, "linestyle": "", "marker": marker, "label": f"η = {run.eta:.3g}"}
        ax.plot(run.times[i::4], run.x[i::4], **look)
    ax.set(title="along the minimisers", xlabel="τ = η²k", ylabel="x")


def draw_errors(ax: Axes, runs: list[Comparison]) -> None:
    etas = np.array([run.eta for run in runs])
    for name, order, text in (
        ("distance", 1, "distance,\nslope 1"),
        ("along", 2, "along the minimisers,\nslope 2"),
    ):
        errors = np.array([getattr(run, name).max() for run in runs])
        ax.plot(etas, errors[-1] * (etas / etas[-1]) ** order, color=c.GREY, linewidth=0.8)
        for eta, error, color, marker in zip(etas, errors, SHADES, "os^D", strict=True):
            ax.plot(eta, error, color=color, marker=marker)
        middle = math.sqrt(etas[1] * etas[2]), math.sqrt(errors[1] * errors[2])
        ax.annotate(text, middle, xytext=(6, -4), textcoords="offset points", va="top")
    ax.set(title="largest distance to the flow", xlabel="η", xscale="log", yscale="log")
    ax.set_xticks(etas, [f"{eta:.3g}" for eta in etas])
    ax.minorticks_off()


if __name__ == "__main__":
    c.run_script(main)
