"""The chain rule in a tile, entry by entry: from derivatives of σ to derivatives along the direction.

A tile has derivatives as rows of length `stride`, `size` entries of which are used; `dz` is ż. These loops are the same for
every activation, and compiled once for each precision and order m.
"""

from __future__ import annotations

import functools
from typing import Any

from .jit import array_at, callback, named, part, wide_vectors


@functools.cache
def chain_forward(real: Any, order: int) -> Any:
    """(tile, dz, stride, size): σ, σ', σ'' → σ, σ'ż, σ''ż², up to the m-th."""
    which = f"{real.__name__}_{order}"

    @part
    @named(f"forward_{which}")
    def chain(tile, dz, size):
        wide_vectors()
        for k in range(size):
            tile[1, k] *= dz[k]
        if order > 1:
            for k in range(size):
                tile[2, k] *= dz[k] * dz[k]

    @callback(f"chain_forward_{which}", 4)
    def chain_at(tile, dz, stride, size):
        chain(array_at(tile, (order + 1, stride), real), array_at(dz, (stride,), real), size)

    return chain_at


@functools.cache
def chain_backward(real: Any, order: int) -> Any:
    """(tile, dz, s, stride, size): (s σ')^(m) into s[0], from s, ṡ, s̈ and σ', σ'', σ‴; and σ', σ'' → m σ'ż, σ''ż²."""
    which = f"{real.__name__}_{order}"

    @part
    @named(f"backward_{which}")
    def chain(tile, dz, s, size):
        wide_vectors()
        for k in range(size):
            if order == 0:
                s[0, k] *= tile[1, k]
            elif order == 1:
                s1, v = tile[1, k], dz[k]
                s[0, k] = s[1, k] * s1 + s[0, k] * tile[2, k] * v
                tile[1, k] = s1 * v
            else:
                s1, s2, v = tile[1, k], tile[2, k], dz[k]
                bend = s2 * v
                twice = s[1, k] + s[1, k]
                rest = s[0, k] * tile[3, k] * v * v
                s[0, k] = s[2, k] * s1 + twice * bend + rest
                tile[1, k] = (s1 + s1) * v
                tile[2, k] = bend * v

    @callback(f"chain_backward_{which}", 5)
    def chain_at(tile, dz, s, stride, size):
        chain(
            array_at(tile, (order + 2, stride), real),
            array_at(dz, (stride,), real),
            array_at(s, (order + 1, stride), real),
            size,
        )

    return chain_at
