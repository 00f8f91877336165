"""The handwritten digits that come with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

COUNT = 1797  # images in the file


def load(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All images (1797, 8, 8) and their labels (1797,), in the random order of a seed."""
    with np.load(_file(), allow_pickle=False) as archive:
        images, labels = archive["images"], archive["labels"]
    order = np.random.default_rng(seed).permutation(len(images))
    return images[order], labels[order]


def scaled(images: NDArray[np.uint8], mean_square: float) -> NDArray[np.float64]:
    """Rows of pixels times one factor, such that the mean of their squares is `mean_square`."""
    pixels = images.reshape(len(images), -1).astype(np.float64)
    pixels *= np.sqrt(mean_square / np.mean(pixels**2))
    return pixels


def _file() -> Path:
    """Beside the code in a wheel, at the top level of a checkout."""
    package = Path(__file__).parents[1]
    for folder in (package / "data", package.parent / "data"):
        if (folder / "digits.npz").is_file():
            return folder / "digits.npz"
    raise FileNotFoundError("digits.npz is missing from the installed package's data")
