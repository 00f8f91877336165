"""PNG files."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

METRE = 1 / 0.0254  # inches


def write_png(path: Path, pixels: NDArray[np.uint8], dpi: float) -> None:
    """Write pixels (height, width, ≥ 3) of red, green, blue, and what is left out.

    Pillow tries five filters on each row, which takes most of its time; drawings without any give files of the same size.
    """
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each begins with its filter, 0 for none
    rows[:, 1:] = pixels[..., :3].reshape(height, -1)
    density = round(dpi * METRE)
    chunks: dict[bytes, Any] = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0),  # three channels of 8 bits
        b"pHYs": struct.pack(">IIB", density, density, 1),  # pixels per metre
        b"IDAT": zlib.compress(rows.data, 2),  # the fastest level
        b"IEND": b"",
    }
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks.items()))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )
