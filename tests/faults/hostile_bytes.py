"""Damage to bytes: flipped bits, cuts, splices, lengths that lie. All of it from a seeded generator."""

from __future__ import annotations

import numpy as np

# What a length, an index or an address should never be; little-endian in 1 to 8 bytes.
INTEGERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**20, 2**31 - 1, 2**31, 2**32 - 1)
INTEGERS += (2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)


def damage(rng: np.random.Generator, content: bytes, near: tuple[bytes, ...] = ()) -> bytes:
    """One to eight mutations of `content`; half of them soon after one of the marks `near`, where the structure is."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 9)):
        mutation = MUTATIONS[rng.integers(len(MUTATIONS))]
        mutation(rng, data, _place(rng, data, near))
    return bytes(data)


def _place(rng: np.random.Generator, data: bytearray, near: tuple[bytes, ...]) -> int:
    if near and rng.random() < 0.5:
        found = data.find(near[rng.integers(len(near))], int(rng.integers(len(data) + 1)))
        if found >= 0:
            return min(len(data), found + int(rng.integers(0, 64)))
    return int(rng.integers(len(data) + 1))


def _flip(rng: np.random.Generator, data: bytearray, at: int) -> None:
    if at < len(data):
        data[at] ^= 1 << int(rng.integers(8))


def _byte(rng: np.random.Generator, data: bytearray, at: int) -> None:
    if at < len(data):
        data[at] = int(rng.integers(256))


def _integer(rng: np.random.Generator, data: bytearray, at: int) -> None:
    size = int(rng.choice([1, 2, 4, 8]))
    value = INTEGERS[rng.integers(len(INTEGERS))] % 256**size
    order = "little" if rng.random() < 0.8 else "big"
    data[at : at + size] = value.to_bytes(size, order)  # type: ignore[arg-type]


def _insert(rng: np.random.Generator, data: bytearray, at: int) -> None:
    data[at:at] = rng.bytes(int(rng.integers(1, 9)))


def _delete(rng: np.random.Generator, data: bytearray, at: int) -> None:
    del data[at : at + int(rng.integers(1, 65))]


def _cut(rng: np.random.Generator, data: bytearray, at: int) -> None:
    if rng.random() < 0.3:
        del data[at:]


def _splice(rng: np.random.Generator, data: bytearray, at: int) -> None:
    """A piece of the file in another place of it."""
    start, size = int(rng.integers(len(data) + 1)), int(rng.integers(1, 129))
    piece = data[start : start + size]
    data[at : at + len(piece)] = piece


def _blank(rng: np.random.Generator, data: bytearray, at: int) -> None:
    size = min(len(data) - at, int(rng.integers(1, 65)))
    data[at : at + size] = bytes([int(rng.choice([0, 255]))]) * size


MUTATIONS = (_flip, _flip, _byte, _byte, _integer, _integer, _integer, _insert, _delete, _cut)
MUTATIONS += (_splice, _blank)
