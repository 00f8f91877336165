"""The inputs of the data in the layouts that the blocks of particles read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import tiles, wide

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Data:
    """Inputs of n data, the constant one of a bias among them."""

    rows: Array  #: (n, p), contiguous
    columns: Array  #: (p, n), a copy of their transpose where products are faster with it, otherwise a view

    @classmethod
    def of(cls, inputs: Array) -> Data:
        """Of inputs (n, p)."""
        rows = np.ascontiguousarray(inputs)
        copied = tiles.FEW_INPUTS < rows.shape[1] < wide.MANY_INPUTS
        return cls(rows, np.ascontiguousarray(rows.T) if copied else rows.T)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: slice) -> Data:
        """Those of consecutive data, without a copy."""
        if which == slice(0, len(self)):
            return self
        return Data(self.rows[which], self.columns[:, which])
