"""Four classes of images, an MLP and a CNN on them, for the scripts of optimizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from _image_problems import load, standardized

import meanfield

CLASSES = 4
WIDTH, CHANNELS = 24, (8, 16)


def four_classes(path: Path | None, n: int, pool: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """n images (n, channels, side, side) of the first four classes, every pixel standardised, and their classes one-hot.

    CIFAR-10's from a path, or from where its files are found, else the 8x8 digits; pixels of CIFAR-10's are averaged over
    squares of the side `pool`.
    """
    images, _ = load(path, 4 * n)
    kind = images.targets.argmax(axis=1)
    chosen = np.flatnonzero(kind < CLASSES)[:n]
    channels = 3 if images.input_dim % 3 == 0 else 1
    side = round((images.input_dim / channels) ** 0.5)
    pool = pool if channels == 3 else 1
    blocks = images.inputs[chosen].reshape(-1, channels, side // pool, pool, side // pool, pool)
    pixels = blocks.mean(axis=(3, 5))
    flat = standardized(pixels.reshape(len(pixels), -1))
    return flat.reshape(pixels.shape), np.eye(CLASSES)[kind[chosen]]


def mlp(
    images: np.ndarray, targets: np.ndarray, seed: int, width: int = WIDTH, in_span: bool = False
) -> Any:
    """The objective of a three-layer MLP, squared loss, in float64; its weights start as PyTorch draws them.

    In the span of the images, in an orthonormal basis of it, the network has fewer weights: those of the first layer that are
    orthogonal to all images never move. To rules that see nothing but inner products of gradients it is the same.
    """
    import torch
    from torch import nn

    torch.manual_seed(seed)
    inputs = images.reshape(len(images), -1)
    first = nn.Linear(inputs.shape[1], width).double()
    later = nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, CLASSES)
    if in_span:
        u, s, basis = np.linalg.svd(inputs, full_matrices=False)
        inputs = u * s
        first.weight = nn.Parameter(first.weight.detach() @ torch.from_numpy(basis.T.copy()))
    return meanfield.TorchObjective(
        nn.Sequential(first, *later).double(), "squared", inputs, targets
    )


def cnn(images: np.ndarray, targets: np.ndarray, seed: int) -> Any:
    """The objective of two convolutions, each before an average over 2x2 pixels, and a linear layer."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    channels, side = images.shape[1:3]
    module = nn.Sequential(
        nn.Conv2d(channels, CHANNELS[0], 3, padding=1),
        nn.GELU(),
        nn.AvgPool2d(2),
        nn.Conv2d(CHANNELS[0], CHANNELS[1], 3, padding=1),
        nn.GELU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(CHANNELS[1] * (side // 4) ** 2, CLASSES),
    ).double()
    return meanfield.TorchObjective(module, "squared", images, targets)
