"""Inputs and targets that a network is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers._support.arguments import array, refusal


@dataclass(frozen=True, eq=False)
class Task:
    """Samples ``(x_k, y_k)``, ``k < n``: what a network is trained on.

    Parameters
    ----------
    inputs : (n, d) array or nested list
        One sample per row, dimensionless; copied to float64 and made read-only.
    targets : (n, c) or (n,) array or list
        One target per row: real numbers, ±1 labels (c = 1) or one-hot classes; copied likewise, (n,) to (n, 1).
    name : str
        The source of the samples, for figures and files.

    Raises
    ------
    ValueError
        An array is not two-dimensional, is empty, is not numeric, holds a NaN or an infinity
        (the message gives the first such index), or the two have different numbers of rows.

    Examples
    --------
    >>> meanfield.tasks.Task([[1.0], [2.0], [3.0]], [0.5, 1.0, 1.5], name="line")
    Task(name='line', inputs=float64[3, 1], targets=float64[3, 1])
    >>> meanfield.tasks.Task([[1.0], [2.0]], [0.5])
    Traceback (most recent call last):
    ...
    ValueError: inputs and targets must have equally many rows, got 2 and 1
    """

    inputs: NDArray[np.float64]
    targets: NDArray[np.float64]
    name: str = "data"

    def __post_init__(self) -> None:
        inputs = _samples("inputs", self.inputs)
        targets = _samples("targets", self.targets, one_column=True)
        if not isinstance(self.name, str):
            raise refusal("name", "a string", self.name)
        if len(inputs) != len(targets):
            raise ValueError(
                f"inputs and targets must have equally many rows, got {len(inputs)} and {len(targets)}"
            )
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "targets", targets)

    def __repr__(self) -> str:
        return (
            f"Task(name={self.name!r}, inputs={self.inputs.dtype}{list(self.inputs.shape)}, "
            f"targets={self.targets.dtype}{list(self.targets.shape)})"
        )

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.inputs)

    @property
    def input_dim(self) -> int:
        """Dimension d of an input."""
        return int(self.inputs.shape[1])

    @property
    def output_dim(self) -> int:
        """Dimension c of a target."""
        return int(self.targets.shape[1])

    @property
    def is_sign(self) -> bool:
        """Whether every target is a single +1 or −1."""
        return self.output_dim == 1 and bool(np.all(np.abs(self.targets) == 1))

    @property
    def is_one_hot(self) -> bool:
        """Whether every target has c ≥ 2 entries, one of them 1 and the others 0."""
        binary = np.all((self.targets == 0) | (self.targets == 1))
        return self.output_dim >= 2 and bool(binary and np.all(self.targets.sum(axis=1) == 1))


def batch_indices(indices: ArrayLike, n: int) -> NDArray[np.integer[Any]]:
    """The samples of a batch among n, checked.

    Raises
    ------
    ValueError
        They are no list of one or more integers from 0 to n − 1.
    """
    chosen = np.asarray(indices)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or not len(chosen):
        raise refusal("indices", "a list of one or more integers", indices)
    if chosen.min() < 0 or chosen.max() >= n:
        raise refusal("indices", f"at least 0 and below {n}", indices)
    return chosen


def _samples(name: str, values: ArrayLike, one_column: bool = False) -> NDArray[np.float64]:
    """A read-only float64 copy of a (rows, columns) array, or of (rows,) if a single column is allowed."""
    given = array(name, values)
    if one_column and given.ndim == 1:
        given = given[:, None]
    if given.ndim != 2 or given.size == 0:
        raise ValueError(
            f"{name} must have shape (samples, features) with one or more each, got {given.shape}"
        )
    bad = np.argwhere(~np.isfinite(given))
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"{name} must be finite, got {given[row, column]} at index ({row}, {column}), "
            f"{len(bad)} non-finite of {given.size} values"
        )
    samples = np.array(given, dtype=np.float64, order="C")
    samples.flags.writeable = False
    return samples
