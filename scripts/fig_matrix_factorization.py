"""The loss of gradient descent in a matrix factorisation, and what its models make of its spikes (arXiv:2606.05326).

E(W₁, W₂, W₃) = ½ ‖W₃W₂W₁ − M‖² of 2×2 matrices, M = diag(5, 4.8), with η = 0.077: the flattest minimiser is just below the edge
of stability and the second eigenvalue of the Hessian close to the first. Past the edge the iterates w ± u of gradient descent
alternate far from the minimum: its loss, E at these two ends, falls in spikes, each one a swing of |u|. Every flow with a
fluctuation predicts both values, and so an envelope of the loss; the gradient flow goes to the minimum. When the spikes come is
decided in the first steps, where the loss falls a hundredfold.

    python scripts/fig_matrix_factorization.py --out figures
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import _common as c
import _errors as errors
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.signal import argrelmax

from meanfield.landscapes import MatrixFactorization

NAME = "matrix_factorization"
ETA = 0.077
WINDOW = 20  # steps over which losses are averaged before they are compared


def main(argv: Sequence[str] | None = None) -> None:
    args = c.parser(__doc__, steps=400).parse_args(argv)
    steps = 22 if args.quick else args.steps
    c.prepare(args.out, NAME)

    landscape = MatrixFactorization()
    runs = c.measure_all(c.models(ETA), landscape, np.array(landscape.start), steps)
    extra = {
        "first spike": [first_spike(run) for run in runs.values()],
        "factor of loss": [f"{factor(run, runs[c.GD]):.3g}" for run in runs.values()],
    }
    rows = errors.error_table(landscape, runs, ETA)
    header, rows = errors.extended(
        rows, extra, without=["onset delay"]
    )  # it is at the start for all
    notes = (
        f"{errors.DISTANCES} {errors.LOSS} {errors.WITHIN} First spike: step of the first maximum of the predicted loss. Factor "
        f"of loss: by which the predicted loss is off, both averaged over {WINDOW} steps, in the (geometric) mean over time."
    )
    title = f"Matrix factorisation, η = {ETA}, {steps} steps"
    c.save_table(args.out, NAME, title, header, rows, notes)
    draw(landscape, runs, args.out, args.format)


def first_spike(run: c.Run) -> str:
    peaks = argrelmax(run.predicted)[0]
    peaks = peaks[run.predicted[peaks] > 1e-6]  # those of the gradient flow are rounding
    return f"{run.times[peaks[0]]:.0f}" if len(peaks) else "–"


def factor(run: c.Run, reference: c.Run) -> float:
    """exp of the mean over time of |log E − log E_GD|, both averaged over `WINDOW` steps."""
    window = np.full(WINDOW, 1 / WINDOW)
    n = len(run.times)
    one, two = (np.convolve(r.predicted[:n], window, "valid") for r in (run, reference))
    return float(np.exp(np.mean(np.abs(np.log(one / two)))))


@c.styled
def draw(landscape: MatrixFactorization, runs: dict[str, c.Run], folder: Path, suffix: str) -> None:
    figure = Figure(figsize=(11, 8.5), layout="constrained")
    axes = figure.subplots(3, 3, sharex=True)
    for ax, (name, run) in zip(axes.flat, c.models_of(runs).items(), strict=False):
        draw_losses(ax, name, runs)
        gap = c.distances(landscape, run, runs[c.GD])
        told = f"RMS distance {np.sqrt(np.mean(gap**2)):.3f}"
        ax.text(0.97, 0.92, told, ha="right", va="top", transform=ax.transAxes)
        ax.label_outer()
    sharpness, distance = axes.flat[-2:]
    c.plot_edge(sharpness, 2, "edge of stability")
    c.plot(sharpness, runs, lambda run: ETA * run.sharpness, title="sharpness at the center")
    sharpness.set(ylabel="ηS", ylim=(1.9, 2.45))
    c.plot_distances(
        distance, landscape, runs, title="distance to gradient descent", ylim=(0, None)
    )
    c.save_figure(figure, folder, NAME, suffix)


def draw_losses(ax: Axes, name: str, runs: dict[str, c.Run]) -> None:
    """Between which losses the iterates of gradient descent alternate, and what a flow predicts for both and for their mean."""
    run, look = runs[name], c.LINES[name]
    c.plot_envelope(ax, runs[c.GD])
    c.plot_envelope(ax, run, color=look["color"], alpha=0.35, linewidth=0, label=None)
    ax.plot(run.times, run.predicted, **look)
    ax.set(title=name, xlabel=c.STEPS, ylabel="loss", yscale="log", ylim=(5e-3, 2))
    ax.minorticks_off()


if __name__ == "__main__":
    c.run_script(main)
