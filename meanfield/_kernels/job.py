"""What a kernel is asked for: addresses and sizes, read by the blocks of particles.

Integers only: a block for one kind of tile and precision then has one signature, whatever arrays there are, and is compiled once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .jit import array_at, part


class Job(NamedTuple):
    """Arguments of all blocks; arrays by the addresses of their first entries, with contiguous rows."""

    itemsize: int
    loop: int  # what `call_at` takes: the activation, or the sums of ``neurons``
    loop_of_kept: int  # likewise, from what is in `kept`; 0 if that is all
    keeps_values: int  # whether that is σ(z), otherwise z
    product: int
    chain: int
    known: int  # of `kept`
    order: int
    outputs: int
    data: int
    inputs_count: int
    particles: int  # (N, outputs + inputs_count)
    direction: int  # the same
    inputs: int  # (data, inputs_count)
    columns: int  # their transpose, whose rows and entries are so many entries apart
    columns_down: int
    columns_across: int
    most_small: int  # multiply-adds of a small product, see `products.most_small`
    residuals: int  # (order + 1, data, outputs)
    kept: int  # (order + 1, rows, `kept_length`), of which the data are the first entries
    kept_rows: int
    kept_length: int
    constants: int  # 0 and 1
    out: int  # (blocks, order + 1, data, outputs) or (N, outputs + inputs_count)


_FIELDS = len(Job._fields)


@part
def read_job(address):
    """The job at an address."""
    a = array_at(address, (_FIELDS,), np.int64)
    return Job(
        a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14],
        a[15], a[16], a[17], a[18], a[19], a[20], a[21], a[22], a[23],
    )  # fmt: skip


def written(**fields: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """A job as an array."""
    return np.array(tuple(Job(**fields)), np.int64)  # of a plain tuple it takes a third of the time
