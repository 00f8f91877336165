"""Hostile .npz files: what a zip of arrays may lie about."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tests.faults.hostile_bytes import INTEGERS, damage
from tests.faults.hostile_payload import Payload

Rng = np.random.Generator
DTYPES = ("f8", "f4", "i8", "u1", "?", "c16", "U3", "S5", "V8", "M8[s]", "O", "f2", ">f8", "g")
MARKS = (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"\x93NUMPY", b"'shape'", b"'descr'")
SHAPES = (
    (),
    (0,),
    (1,),
    (3,),
    (4,),
    (3, 0),
    (0, 3),
    (3, 1),
    (3, 2),
    (4, 1),
    (4, 3),
    (3, 7),
    (2, 2, 2),
    (1,) * 32,
)


def write(rng: Rng, folder: Path) -> Path:
    """A hostile file in the folder."""
    path = folder / "task.npz"
    kind = rng.random()
    if kind < 0.35:
        path.write_bytes(damage(rng, _plain(rng), MARKS))
    else:
        members = {"inputs.npy": _array(rng), "targets.npy": _array(rng)}
        if rng.random() < 0.6:  # one of them is good: what is wrong with the other is looked at
            good = npy(np.ones((3, 2))) if rng.random() < 0.5 else npy(np.ones((4, 1), "i4"))
            members["targets.npy" if rng.random() < 0.7 else "inputs.npy"] = good
        if kind < 0.45:
            members[
                str(rng.choice(["../../escape.npy", "/tmp/escape.npy", "a\\b", "nested.npz"]))
            ] = b"x"
        if kind > 0.95:
            members.pop("inputs.npy")
        content = _zip(members, int(rng.choice([0, 8, 12, 14])))
        path.write_bytes(damage(rng, content, MARKS) if rng.random() < 0.2 else content)
    return path


def _plain(rng: Rng) -> bytes:
    stream = io.BytesIO()
    save = np.savez if rng.random() < 0.5 else np.savez_compressed
    save(stream, inputs=rng.standard_normal((4, 3)), targets=rng.standard_normal((4, 1)))
    return stream.getvalue()


def _zip(members: dict[str, bytes], compression: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def npy(array: ArrayLike, allow_pickle: bool = True) -> bytes:
    """The bytes of an .npy file."""
    stream = io.BytesIO()
    np.save(stream, np.asarray(array), allow_pickle=allow_pickle)
    return stream.getvalue()


def header(text: str, body: bytes = b"", version: int = 1) -> bytes:
    """An .npy file whose header says anything."""
    line = text.encode("latin-1", "replace")
    length = len(line).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + line + body


def said(descr: object, shape: object, body: bytes = b"", fortran: object = False) -> bytes:
    """An .npy file that says what it holds, truly or not."""
    about = f"{{'descr': {descr!r}, 'fortran_order': {fortran!r}, 'shape': {shape!r}, }}\n"
    return header(about, body)


def _array(rng: Rng) -> bytes:
    kinds: tuple[Callable[[Rng], bytes], ...] = (
        _honest,
        _honest,
        _honest,
        _liar,
        _header,
        _objects,
        _bomb,
    )
    return kinds[rng.integers(len(kinds))](rng)


def _honest(rng: Rng) -> bytes:
    """Of any type and shape, in any order, with values of any kind."""
    shape = SHAPES[rng.integers(len(SHAPES))]
    array = np.zeros(shape, DTYPES[rng.integers(len(DTYPES))])
    if array.dtype.kind == "f" and array.size and rng.random() < 0.5:
        array.flat[0] = rng.choice([np.nan, np.inf, -0.0, 1e30])
    return npy(np.asfortranarray(array) if rng.random() < 0.3 and array.ndim else array)


def _liar(rng: Rng) -> bytes:
    size = INTEGERS[rng.integers(len(INTEGERS))] * int(rng.choice([1, -1]))
    shapes = ((size,), (size, 2), (2, size), (size, size), (2**32, 2**32), (3, size, 0), size, None)
    shape = shapes[rng.integers(len(shapes))]
    descr = "<" + DTYPES[rng.integers(4)]
    descrs = (descr, descr, "|V2147483647", "|O", [("a", "<f8")], [("a", "|O")], "<f8," * 500)
    body = rng.bytes(int(rng.integers(0, 200)))
    return said(descrs[rng.integers(len(descrs))], shape, body, bool(rng.random() < 0.3))


def _header(rng: Rng) -> bytes:
    """Headers that are read as Python literals."""
    depth = int(rng.choice([50, 300, 3000, 9000]))
    texts = (
        "(" * depth + ")" * depth,
        "-" * depth + "1",
        "[" * depth,
        "{'descr': " + "{'a':" * depth,
        "__import__('os').system('touch escape')",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1" + "0" * depth + ",)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (True, 2.5)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (4L, 1L), }",
        "\x00" * 20,
        "1+" * depth + "1j",
        "'" * depth,
        "{**{}}",
        "{'descr': b'<f8', 'fortran_order': 0, 'shape': [4, 1]}",
    )
    return header(texts[rng.integers(len(texts))], bytes(32), int(rng.choice([1, 2, 3, 9])))


def _objects(rng: Rng) -> bytes:
    """Object arrays, whose content is a pickle that runs code."""
    if rng.random() < 0.5:
        return pickle.dumps(Payload(rng))
    return npy(np.array([[Payload(rng)]], dtype=object))


def _bomb(rng: Rng) -> bytes:
    return said("|u1", (2**22, 1), bytes(2**22)) if rng.random() < 0.2 else npy(np.zeros((2, 1)))
