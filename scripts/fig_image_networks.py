"""Gradient descent and its models on 500 images: an MLP, a CNN and a mean-field network at the edge of stability.

The images are CIFAR-10's where its official files are found (``--data``, else the usual caches), otherwise the 8x8 digits. The
loss is ½ |f − y|², summed over the outputs and averaged over the images, η = 0.02 (arXiv:2606.05326; arXiv:2410.24206 for
networks like these). All is in float64: below the edge the oscillation decays, and in float32 so far that its return is late.

mlp        3072 – 64 – 10, tanh, on one-hot classes. 500 images span 500 of the 3072 directions at most, and weights orthogonal
           to them never move: the network sees the images in an orthonormal basis of their span, which changes only the cost.
cnn        windows of 8x8 pixels, then of 2x2, each with its size as stride, 8 and 16 channels, GELU; machine or animal as ±1.
meanfield  100 neurons, tanh, machine or animal as ±1; η = 2/S with S the sharpness that the gradient flow has when it has
           brought the risk to a third: gradient descent then reaches the edge about there.

The digits are seen as 64 – 64 – 10 and through windows of 2x2; ±1 is their parity. There the edge is reached later: give
``--steps 240``.

    python scripts/fig_image_networks.py --out figures
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _common as c
import numpy as np
from matplotlib.figure import Figure

import meanfield
import solvers
from meanfield.tasks import Task

NAME = "image_networks"
IMAGES = 500
ETA = 0.02
MLP_WIDTH, CHANNELS, PARTICLES = 64, (8, 16), 100
# Such that on CIFAR-10 ηS starts below 2 and reaches it within some thirty steps.
MLP_SQUARE, MEANFIELD_SQUARE = 4 * 3072.0, 4.0  # mean of |x|² over the images
MLP_GAIN = 0.14  # of normal weights, over √fan-in
CNN_SQUARE = 32.0  # mean of the squared inputs; its weights start as PyTorch draws them
# Runge–Kutta is stable here to ηS = 2.78 · 4, and cheaper than a controlled step on a flow that is stiff.
OPTIONS = {"gradient flow": {"dt": 0.25}}
MACHINES = (0, 1, 8, 9)  # airplane, automobile, ship, truck


@dataclass(frozen=True)
class Problem:
    """A network, where it starts, and its learning rate."""

    title: str
    objective: Any
    x0: np.ndarray
    eta: float


def main(argv: Sequence[str] | None = None) -> None:
    parser = c.parser(__doc__, steps=120)
    parser.add_argument("--data", type=Path, help="CIFAR-10: its archive or folder")
    parser.add_argument("--only", choices=tuple(PROBLEMS), help="one of the problems")
    parser.add_argument("--every", type=int, default=4, help="steps between measurements")
    args = parser.parse_args(argv)
    n, steps = (20, 4) if args.quick else (IMAGES, args.steps)
    images, positive = load(args.data, n)
    for name in [args.only] if args.only else PROBLEMS:
        stem = f"{NAME}_{name}"
        c.prepare(args.out, stem)
        problem = PROBLEMS[name](images, positive)
        runs = c.measure_all(
            c.models(problem.eta),
            problem.objective,
            problem.x0,
            steps,
            min(args.every, steps),
            OPTIONS,
        )
        title = f"{problem.title}, {images.name}, η = {problem.eta:.4g}, {steps} steps"
        rows = c.error_table(problem.objective, runs, problem.eta)
        c.save_table(args.out, stem, title, c.HEADER, rows, c.LEGEND)
        draw(problem, runs, args.out, stem, args.format)


def load(path: Path | None, n: int) -> tuple[Task, tuple[int, ...]]:
    """Images with their ten classes, and the classes of target +1 where there are two."""
    try:
        return meanfield.tasks.cifar10(path, n=n), MACHINES
    except ValueError:
        if path is not None:
            raise
        return meanfield.tasks.digits(n, target="classes"), (0, 2, 4, 6, 8)


def scaled(images: Task, square: float) -> np.ndarray:
    """Inputs with |x|² = square on average."""
    return images.inputs * np.sqrt(square / np.mean(np.sum(images.inputs**2, axis=1)))


def in_span(inputs: np.ndarray) -> np.ndarray:
    """The inputs (n, d) in an orthonormal basis of their span, (n, min(n, d))."""
    u, s, _ = np.linalg.svd(inputs, full_matrices=False)
    return u * s


def signs(images: Task, positive: tuple[int, ...]) -> np.ndarray:
    return np.where(np.isin(images.targets.argmax(axis=1), positive), 1.0, -1.0)[:, None]


def mlp(images: Task, positive: tuple[int, ...]) -> Problem:
    import torch
    from torch import nn

    inputs = in_span(scaled(images, MLP_SQUARE))
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(inputs.shape[1], MLP_WIDTH), nn.Tanh(), nn.Linear(MLP_WIDTH, 10)
    ).double()
    # Normal weights: their law is the same in every orthonormal basis, and that of the pixels has input_dim axes.
    for layer, fan_in in ((module[0], images.input_dim), (module[2], MLP_WIDTH)):
        nn.init.normal_(layer.weight, std=MLP_GAIN / fan_in**0.5)
        nn.init.zeros_(layer.bias)
    objective = meanfield.TorchObjective(module, "squared", inputs, images.targets)
    title = f"MLP {images.input_dim} – {MLP_WIDTH} – 10, tanh, {objective.dimension} parameters"
    return Problem(title, objective, objective.initial(), ETA)


def cnn(images: Task, positive: tuple[int, ...]) -> Problem:
    import torch
    from torch import nn

    channels = 3 if images.input_dim % 3 == 0 else 1
    side = round((images.input_dim / channels) ** 0.5) // 4
    pixels = scaled(images, CNN_SQUARE * images.input_dim).reshape(
        -1, channels, 2, 2, side, 2, 2, side
    )
    # Windows that do not overlap can be cut beforehand: 2x2 windows of 2x2 windows of side x side pixels. A convolution then is
    # a linear layer on the last axis: the same network, several times faster than PyTorch's convolutions in float64.
    inputs = pixels.transpose(0, 2, 5, 3, 6, 1, 4, 7).reshape(images.n, 4, 4, -1)
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(inputs.shape[-1], CHANNELS[0]),
        nn.GELU(),
        nn.Flatten(2),
        nn.Linear(4 * CHANNELS[0], CHANNELS[1]),
        nn.GELU(),
        nn.Flatten(1),
        nn.Linear(4 * CHANNELS[1], 1),
    ).double()
    objective = meanfield.TorchObjective(module, "squared", inputs, signs(images, positive))
    title = f"CNN, windows {side}x{side} and 2x2, GELU, {objective.dimension} parameters"
    return Problem(title, objective, objective.initial(), ETA)


def mean_field(images: Task, positive: tuple[int, ...]) -> Problem:
    inputs = in_span(scaled(images, MEANFIELD_SQUARE))
    task = Task(inputs, signs(images, positive), images.name)
    risk = meanfield.Risk(meanfield.TwoLayerNetwork(task.input_dim), task)
    x0 = risk.network.initialize(PARTICLES, seed=0)
    title = f"Mean-field network, {PARTICLES} neurons, tanh"
    return Problem(title, risk, x0, learning_rate_at_edge(risk, x0))


def learning_rate_at_edge(risk: meanfield.Risk, x0: np.ndarray) -> float:
    """2/S, with S the gradient flow's sharpness when the risk is a third of what it was."""
    start = float(solvers.top_eigenpairs(risk, x0, tol=1e-3).values[0])
    unit, first = 1.0 / start, risk.value(x0)
    state: Any = x0
    time = 0.0
    for _ in range(1000):
        solution = solvers.solve(solvers.GradientFlow(unit), risk, state, 1)
        state, time = solution.state, time + unit
        if solution.losses[-1] <= first / 3:
            break
    else:
        raise RuntimeError("the gradient flow has not brought the risk to a third")
    end = float(solvers.top_eigenpairs(risk, solution.centers[-1], tol=1e-3).values[0])
    print(
        f"Gradient flow ẋ = −∇R: sharpness {start:.4f} and risk {first:.4f} at first; "
        f"at time {time:.1f} the risk is a third, the sharpness {end:.4f}: η = {2 / end:.4f}."
    )
    return 2.0 / end


PROBLEMS = {"mlp": mlp, "cnn": cnn, "meanfield": mean_field}


@c.styled
def draw(problem: Problem, runs: dict[str, c.Run], folder: Path, stem: str, suffix: str) -> None:
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    (a, b), (d, e) = figure.subplots(2, 2)
    c.plot_envelope(a, runs[c.GD])
    c.plot(a, runs, lambda run: run.predicted, ylabel="loss, averaged over the oscillation")
    a.set(yscale="log")
    c.plot_edge(b, 2.0, "edge of stability")
    c.plot(b, runs, lambda run: problem.eta * run.sharpness, ylabel="η times sharpness")
    models = {name: run for name, run in runs.items() if name != "gradient flow"}
    c.plot(d, models, trace, ylabel="tr Σ", yscale="log")
    largest = np.max(runs[c.GD].fluctuation ** 2)
    d.set(ylim=(1e-6 * largest, 10 * largest))
    # From the second measurement on: at first gradient descent's center is that of most flows to rounding.
    gaps = {name: c.distances(problem.objective, run, runs[c.GD])[1:] for name, run in runs.items()}
    for name, gap in gaps.items():
        if name != c.GD:
            e.plot(runs[name].times[1 : 1 + len(gap)], gap, **c.LOOKS[name]._asdict(), label=name)
    e.set(xlabel=c.STEPS, ylabel="distance of the center to gradient descent's", yscale="log")
    c.save_figure(figure, folder, stem, suffix)


def trace(run: c.Run) -> np.ndarray:
    """tr Σ, a gap where there is no fluctuation at all."""
    return np.where(run.fluctuation > 0, run.fluctuation, np.nan) ** 2


if __name__ == "__main__":
    c.run_script(main)
