"""Networks on images, each with a start of a seed and a learning rate, for `fig_image_networks.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import meanfield
import solvers
from meanfield.tasks import Task

IMAGES = 500
ETA = 0.02
MLP_WIDTH, CHANNELS, PARTICLES = 64, (8, 16), 100
# Such that on CIFAR-10 ηS starts below 2 and reaches it within some thirty steps.
MLP_SQUARE, MEANFIELD_SQUARE = 4 * 3072.0, 4.0  # mean of |x|² over the images
MLP_GAIN = 0.14  # of normal weights, over √fan-in
CNN_SQUARE = 32.0  # mean of the squared inputs; its weights start as PyTorch draws them
MACHINES = (0, 1, 8, 9)  # airplane, automobile, ship, truck
# Such that the oscillation has decayed to rounding when ηS reaches 2, at step 55 to 90, and returns some seventy steps later.
QUIET_ETA, QUIET_IMAGES, QUIET_CLASSES, QUIET_GAIN = 0.04, 240, 4, 0.6


@dataclass(frozen=True)
class Problem:
    """A network, where it starts, and its learning rate."""

    title: str
    objective: Any
    x0: np.ndarray
    eta: float
    steps: int = 120


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


def standardized(inputs: np.ndarray) -> np.ndarray:
    """Every pixel with mean 0 and, unless it is the same in all images, variance 1."""
    centered = inputs - inputs.mean(axis=0)
    scale = centered.std(axis=0)
    return centered / np.where(scale > 0, scale, 1.0)


def in_span(inputs: np.ndarray) -> np.ndarray:
    """The inputs (n, d) in an orthonormal basis of their span, (n, min(n, d))."""
    u, s, _ = np.linalg.svd(inputs, full_matrices=False)
    return u * s


def signs(images: Task, positive: tuple[int, ...]) -> np.ndarray:
    return np.where(np.isin(images.targets.argmax(axis=1), positive), 1.0, -1.0)[:, None]


def draw_normal(module: Any, input_dim: int, gain: float) -> None:
    """Normal weights of standard deviation gain/√fan-in, no biases, for inputs in a basis of a part of `input_dim` dimensions.

    Their law is the same in every orthonormal basis, and that of the pixels has `input_dim` axes.
    """
    from torch import nn

    linear = [layer for layer in module if isinstance(layer, nn.Linear)]
    for layer, fan_in in zip(
        linear, (input_dim, *(x.in_features for x in linear[1:])), strict=True
    ):
        nn.init.normal_(layer.weight, std=gain / fan_in**0.5)
        nn.init.zeros_(layer.bias)


def mlp(images: Task, positive: tuple[int, ...], seed: int) -> Problem:
    import torch
    from torch import nn

    inputs = in_span(scaled(images, MLP_SQUARE))
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Linear(inputs.shape[1], MLP_WIDTH), nn.Tanh(), nn.Linear(MLP_WIDTH, 10)
    ).double()
    draw_normal(module, images.input_dim, MLP_GAIN)
    objective = meanfield.TorchObjective(module, "squared", inputs, images.targets)
    title = f"MLP {images.input_dim} – {MLP_WIDTH} – 10, tanh, {objective.dimension} parameters"
    return Problem(title, objective, objective.initial(), ETA)


def quiet(images: Task, positive: tuple[int, ...], seed: int) -> Problem:
    """A three-layer MLP whose oscillation decays to rounding before it reaches the edge."""
    import torch
    from torch import nn

    kind = images.targets.argmax(axis=1)
    chosen = np.flatnonzero(kind < QUIET_CLASSES)[:QUIET_IMAGES]
    inputs = in_span(standardized(images.inputs[chosen]))
    targets = np.eye(QUIET_CLASSES)[kind[chosen]]
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Linear(inputs.shape[1], MLP_WIDTH),
        nn.GELU(),
        nn.Linear(MLP_WIDTH, MLP_WIDTH),
        nn.GELU(),
        nn.Linear(MLP_WIDTH, QUIET_CLASSES),
    ).double()
    draw_normal(module, images.input_dim, QUIET_GAIN)
    objective = meanfield.TorchObjective(module, "squared", inputs, targets)
    title = (
        f"MLP {images.input_dim} – {MLP_WIDTH} – {MLP_WIDTH} – {QUIET_CLASSES}, GELU, "
        f"{objective.dimension} parameters, {len(chosen)} images"
    )
    return Problem(title, objective, objective.initial(), QUIET_ETA, steps=200)


def cnn(images: Task, positive: tuple[int, ...], seed: int) -> Problem:
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
    torch.manual_seed(seed)
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


def mean_field(images: Task, positive: tuple[int, ...], seed: int) -> Problem:
    inputs = in_span(scaled(images, MEANFIELD_SQUARE))
    task = Task(inputs, signs(images, positive), images.name)
    risk = meanfield.Risk(meanfield.TwoLayerNetwork(task.input_dim), task)
    x0 = risk.network.initialize(PARTICLES, seed=seed)
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


#: Each with the number of images that it is made of.
PROBLEMS = {
    "mlp": (mlp, IMAGES),
    "cnn": (cnn, IMAGES),
    "meanfield": (mean_field, IMAGES),
    "quiet": (quiet, 800),  # enough for those of its classes
}
