"""Gradient descent and its models in the minimal valley of the edge of stability, and a drift that decides its fate.

E(x, y) = ½ (y + ζx) x² − ε (x + y): the sharpness y of the valley's floor grows along it until 2/η, from where the oscillation
of x holds it (edge flow, arXiv:2606.18080; rod flow, arXiv:2602.01480; central flow, arXiv:2410.24206; free energy,
arXiv:2606.05326). Figure one follows every process from (0, 6).

Figure two starts at the edge, where y − 2/η and log |u| swing as a self-stabilising pair (arXiv:2209.15594), and compares the
peaks of y over successive swings. To first order their size is conserved; at second order that of gradient descent changes
with the sign of 2 − 9ζ²: the swings grow for ζ < √2/3 ≈ 0.47 and shrink above. The free-energy flow with its half-step delay
keeps this drift, without the delay it is not gradient descent's.

    python scripts/fig_minimal_valley.py --out figures
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import _common as c
import numpy as np
from matplotlib.figure import Figure

from meanfield.landscapes import Valley

NAME = "minimal_valley"
ETA = 0.3
ZETAS = {0.0: "#0072B2", 0.3: "#56B4E9", 2**0.5 / 3: "#000000", 0.7: "#E69F00", 1.0: "#D55E00"}
DRIFTING = (c.GD, "free-energy flow, delay", "free-energy flow")
TINY = 1e-12  # the fluctuation's axis ends here


def main(argv: Sequence[str] | None = None) -> None:
    parser = c.parser(__doc__, steps=2000)
    parser.add_argument(
        "--drift-steps", type=int, default=8000, help="of figure two (default: 8000)"
    )
    args = parser.parse_args(argv)
    steps, drift_steps = (60, 400) if args.quick else (args.steps, args.drift_steps)
    c.prepare(args.out, NAME)

    valley = Valley(zeta=1.0, epsilon=0.01)
    runs = c.measure_all(c.models(ETA), valley, np.array(valley.start), steps)
    rows = c.error_table(valley, runs, ETA)
    title = f"Valley, η = {ETA}, ζ = 1, ε = 0.01, from (0, 6), {steps} steps"
    c.save_table(args.out, NAME, title, c.HEADER, rows, c.LEGEND)
    draw_runs(runs, args.out, args.format)

    peaks = {(name, zeta): swings(name, zeta, drift_steps) for zeta in ZETAS for name in DRIFTING}
    table = [
        [
            f"{zeta:.3f}",
            f"{2 - 9 * zeta**2:+.2f}",
            *(growth(peaks[name, zeta]) for name in DRIFTING),
        ]
        for zeta in ZETAS
    ]
    title = (
        f"Growth of the peaks of y − 2/η per swing, ε = 0.002, {drift_steps} steps from the edge"
    )
    c.save_table(args.out, NAME, title, ["ζ", "2 − 9ζ²", *DRIFTING], table)
    draw_swings(peaks, args.out, args.format)


def swings(name: str, zeta: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Times and heights over 2/η of the peaks of y, in a run that starts at the edge with twice the steady fluctuation."""
    valley = Valley(zeta=zeta, epsilon=0.002)
    start = np.array([2 * (2 * valley.epsilon) ** 0.5, 2 / ETA])
    run = c.measure_all(c.models(ETA, name), valley, start, steps)[name]
    y = run.centers[:, 1]
    top = 1 + np.flatnonzero((y[1:-1] > y[:-2]) & (y[1:-1] >= y[2:]))
    return run.times[top], y[top] - 2 / ETA


def growth(peaks: tuple[np.ndarray, np.ndarray]) -> str:
    """Mean growth from one peak to the next."""
    heights = peaks[1]
    if len(heights) < 2 or np.any(heights <= 0):
        return "–"
    return f"{100 * ((heights[-1] / heights[0]) ** (1 / (len(heights) - 1)) - 1):+.2f} %"


@c.styled
def draw_runs(runs: dict[str, c.Run], folder: Path, suffix: str) -> None:
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    (a, b), (d, e) = figure.subplots(2, 2)
    c.plot_edge(a, 2 / ETA, "2/η")
    shown = {name: run for name, run in runs.items() if name != "gradient flow"}
    c.plot(a, runs, lambda run: run.centers[:, 1], ylabel="y", ylim=_range(shown, 1))
    c.plot(b, shown, lambda run: np.maximum(run.fluctuation, TINY), ylabel="|u|", yscale="log")
    for name, run in shown.items():
        d.plot(*run.centers.T, **c.LOOKS[name]._asdict(), label=name)
    d.set(xlabel="x of the center", ylabel="y", xlim=_range(shown, 0), ylim=_range(shown, 1))
    c.plot(
        e, shown, lambda run: np.hypot(*(run.centers - runs[c.GD].centers[: len(run.centers)]).T)
    )
    e.set(ylabel="distance of the center to gradient descent's", yscale="log")
    c.save_figure(figure, folder, NAME, suffix)


def _range(runs: dict[str, c.Run], coordinate: int) -> tuple[float, float]:
    """Of the models that do not leave gradient descent altogether."""
    descent = runs[c.GD].centers[:, coordinate]
    margin = 0.15 * np.ptp(descent)
    return float(descent.min() - margin), float(descent.max() + margin)


@c.styled
def draw_swings(
    peaks: dict[tuple[str, float], tuple[np.ndarray, np.ndarray]], folder: Path, suffix: str
) -> None:
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    for ax, name in zip(figure.subplots(1, 3, sharex=True, sharey=True), DRIFTING, strict=True):
        for (zeta, color), marker in zip(ZETAS.items(), "ovsd^", strict=True):
            line = {"marker": marker, "markersize": 4, "linewidth": 1.0}
            ax.plot(*peaks[name, zeta], color=color, label=f"ζ = {zeta:.3f}", **line)
        ax.set(title=name, xlabel=c.STEPS, ylabel="peaks of y − 2/η", yscale="log")
        ax.label_outer()
    c.save_figure(figure, folder, f"{NAME}_drift", suffix)


if __name__ == "__main__":
    c.run_script(main)
