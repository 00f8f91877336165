"""The chain rule in a tile, entry by entry: from derivatives of σ to derivatives along the direction.

Tiles have the axes (derivative, row, entry); `dz` is ż. These loops are the same for every activation, and compiled once.
"""

from .jit import part, wide_vectors


@part
def chain_forward(tile, dz):
    """σ, σ', σ'' → σ, σ'ż, σ''ż², as far as there are."""
    wide_vectors()
    for q in range(tile.shape[1]):
        if tile.shape[0] > 1:
            for k in range(tile.shape[2]):
                tile[1, q, k] *= dz[q, k]
        if tile.shape[0] > 2:
            for k in range(tile.shape[2]):
                tile[2, q, k] *= dz[q, k] * dz[q, k]


@part
def chain_backward(tile, dz, s, rows):
    """(s σ')^(m) into s[0], from s, ṡ, s̈ and σ', σ'', σ‴; and σ', σ'' → m σ'ż, σ''ż²; in the first rows. m + 1 = len(s)."""
    wide_vectors()
    if s.shape[0] == 1:
        for q in range(rows):
            for k in range(tile.shape[2]):
                s[0, q, k] *= tile[1, q, k]
    elif s.shape[0] == 2:
        for q in range(rows):
            for k in range(tile.shape[2]):
                s1, v = tile[1, q, k], dz[q, k]
                s[0, q, k] = s[1, q, k] * s1 + s[0, q, k] * tile[2, q, k] * v
                tile[1, q, k] = s1 * v
    else:
        for q in range(rows):
            for k in range(tile.shape[2]):
                s1, s2, v = tile[1, q, k], tile[2, q, k], dz[q, k]
                bend = s2 * v
                twice = s[1, q, k] + s[1, q, k]
                rest = s[0, q, k] * tile[3, q, k] * v * v
                s[0, q, k] = s[2, q, k] * s1 + twice * bend + rest
                tile[1, q, k] = (s1 + s1) * v
                tile[2, q, k] = bend * v
