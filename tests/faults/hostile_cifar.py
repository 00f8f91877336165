"""Hostile CIFAR-10 archives and folders: tar headers, gzip bombs, pickles made of opcodes."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.faults.hostile_bytes import INTEGERS, damage
from tests.faults.hostile_payload import Payload

Rng = np.random.Generator
FOLDER, NAME = "cifar-10-batches-py", "test_batch"
OUTSIDE = (
    "../escape",
    "/tmp/hostile-escape/escape",
    f"../{FOLDER}/{NAME}",
    f"/{FOLDER}/{NAME}",
    f"{FOLDER}/../../x",
)
MODULES = ("os\nsystem", "builtins\neval", "posix\nsystem", "numpy\nload", "numpy\nndarray", "_codecs\nencode",
           "numpy\ndtype", "numpy.core.multiarray\n_reconstruct", "copyreg\n_reconstructor", "subprocess\nPopen")  # fmt: skip


def write(rng: Rng, folder: Path) -> Path:
    """A hostile archive in the folder, or a hostile folder."""
    batch = _batch(rng)
    if rng.random() < 0.3:
        (folder / FOLDER).mkdir()
        (folder / FOLDER / NAME).write_bytes(batch)
        return folder / FOLDER
    path = folder / "cifar-10-python.tar.gz"
    content = _tar(rng, batch)
    if rng.random() < 0.2:
        content = damage(rng, content, (b"ustar",))
    content = gzip.compress(content, 1)
    if rng.random() < 0.2:
        content = damage(rng, content)
    path.write_bytes(content)
    return path


def plain() -> dict[bytes, object]:
    """A batch of two images."""
    return {b"data": np.arange(2 * 3072).reshape(2, -1).astype(np.uint8), b"labels": [3, 5]}


# --- the archive ---------------------------------------------------------------------------------


def _tar(rng: Rng, batch: bytes) -> bytes:
    stream = io.BytesIO()
    format_ = int(rng.choice([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    with tarfile.open(fileobj=stream, mode="w", format=format_) as tar:
        for _ in range(rng.integers(0, 3)):
            _add(tar, _strange_member(rng), b"hostile content")
        _add(tar, tarfile.TarInfo(f"{FOLDER}/{NAME}"), batch)
    content = stream.getvalue()
    return _chain(rng) + content if rng.random() < 0.1 else content


def _add(tar: tarfile.TarFile, member: tarfile.TarInfo, content: bytes) -> None:
    regular = member.type in (tarfile.REGTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE)
    member.size = len(content) if regular else 0
    tar.addfile(member, io.BytesIO(content))


def _strange_member(rng: Rng) -> tarfile.TarInfo:
    names = (*OUTSIDE, f"{FOLDER}/{NAME}", "a" * 90, "\x1b[31m", "é")
    member = tarfile.TarInfo(names[rng.integers(len(names))])
    member.type = (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE,
                   tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE, tarfile.CONTTYPE, b"Z")[rng.integers(9)]  # fmt: skip
    member.linkname = str(rng.choice(["/etc/passwd", "../../../etc/passwd", NAME, ""]))
    if rng.random() < 0.2:
        member.pax_headers = {
            "size": str(INTEGERS[rng.integers(len(INTEGERS))]),
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.realsize": "99999999999",
            "path": str(rng.choice(OUTSIDE)),
        }
    return member


def _chain(rng: Rng) -> bytes:
    """Long-name headers, each of which asks for the next; pax headers that never end."""
    kind = (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGLINK)[rng.integers(3)]
    member = tarfile.TarInfo("x")
    member.type, member.size = kind, 0
    return member.tobuf(tarfile.GNU_FORMAT) * int(rng.choice([3, 3000]))


# --- the pickle ----------------------------------------------------------------------------------


def _batch(rng: Rng) -> bytes:
    kinds: tuple[Callable[[Rng], bytes], ...] = (_damaged, _wrong, _payload, _opcodes, _attack)
    return kinds[rng.integers(len(kinds))](rng)


def _damaged(rng: Rng) -> bytes:
    return damage(rng, pickle.dumps(plain(), int(rng.integers(0, 6))), (b"numpy", b"labels"))


def _wrong(rng: Rng) -> bytes:
    """A well-made pickle of something else."""
    values = (None, 3.5, [1, 2**70], [3, -1], "text", {1: 2}, [[3], [5]], np.zeros((2, 3072)), np.zeros(2, "O"),
              np.zeros((2, 3072), "M8[s]"), (3, 5), {3, 5}, np.float64(1), 2**300, np.array(5), [True, False])  # fmt: skip
    batch = plain()
    batch[[b"data", b"labels"][rng.integers(2)]] = values[rng.integers(len(values))]
    whole = (batch, list(batch), values[rng.integers(len(values))])
    return pickle.dumps(whole[rng.integers(3)], int(rng.integers(0, 6)))


def _payload(rng: Rng) -> bytes:
    batch = plain()
    batch[[b"data", b"labels", b"extra"][rng.integers(3)]] = Payload(rng)
    return pickle.dumps(batch, int(rng.integers(0, 6)))


def _opcodes(rng: Rng) -> bytes:
    """A sequence of opcodes that make sense one by one."""
    return b"\x80\x04" + b"".join(_opcode(rng) for _ in range(rng.integers(1, 60))) + b"."


def _opcode(rng: Rng) -> bytes:
    number = INTEGERS[rng.integers(len(INTEGERS))]
    four, eight = (number % 2**32).to_bytes(4, "little"), (number % 2**64).to_bytes(8, "little")
    module = MODULES[rng.integers(len(MODULES))].encode()
    names = b"".join(b"\x8c" + bytes([len(part)]) + part for part in module.split(b"\n"))
    small = bytes([int(rng.integers(0, 6))])
    # an argument of a length is taken no larger than what follows in most cases, else all ends there
    return (b"N", b"}", b"]", b")", b"(", b"0", b"1", b"2", b"a", b"e", b"s", b"u", b"t", b"\x85", b"\x86", b"\x87", b"l", b"d",
            b"R", b"b", b"o", b"\x81", b"\x92", b"\x94", b"\x8f", b"\x90", b"\x91", b"\x97", b"\x98", b"Q",
            b"K" + small, b"J" + four, b"h" + small, b"q" + small, b"r" + four, b"j" + four, b"p%d\n" % number,
            b"g%d\n" % number, b"I%d\n" % number, b"L%dL\n" % number, b"F1e999\n", b"G" + eight, b"\x8a\x01\x05",
            b"T\x01\x00\x00\x00x", b"U\x01x", b"X\x01\x00\x00\x00x", b"C\x01x", b"\x8c\x01x", b"T" + four, b"B" + four,
            b"\x8d" + eight, b"\x8e" + eight, b"\x96" + eight, b"\x8b" + four, b"\x95" + eight, b"\x82\x01", b"P1\n",
            b"c" + module + b"\n", b"i" + module + b"\n", names + b"\x93", names + b"\x93)R", b"U\x04data", b"U\x06labels",
            )[rng.integers(62)]  # fmt: skip


def _attack(rng: Rng) -> bytes:
    attacks = tuple(ATTACKS.values())
    return attacks[rng.integers(len(attacks))]()


def laughs(depth: int, last: bytes) -> bytes:
    """A tuple of two that are the same tuple of two that …, and what is done with it at last."""
    return (
        b"\x80\x02)"
        + b"".join(
            b"q" + bytes([i % 250]) + b"h" + bytes([i % 250]) + b"\x86" for i in range(depth)
        )
        + last
    )


DTYPE = b"cnumpy\ndtype\n"
ATTACKS: dict[str, Callable[[], bytes]] = {
    "memo": lambda: b"\x80\x02Nr\xff\xff\xff\x1f.",
    "memo text": lambda: b"\x80\x02Np536870911\n.",
    "bytearray": lambda: b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b"x.",
    "bytes": lambda: b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b"x.",
    "frame": lambda: b"\x80\x04\x95" + (2**62).to_bytes(8, "little") + b"N.",
    "deep lists": lambda: b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "deep tuples": lambda: b"\x80\x02N" + b"\x85" * 100_000 + b".",
    "many": lambda: b"\x80\x02(" + b"}" * 3_000_000 + b"l.",
    "digits": lambda: b"I" + b"9" * 100_000 + b"\n.",
    "long": lambda: b"\x80\x02\x8b" + (2**20).to_bytes(4, "little") + b"\x7f" * 2**20 + b".",
    "laughs as a dtype": lambda: laughs(45, b"q\xfe" + DTYPE + b"h\xfe\x85R."),
    "laughs as a key": lambda: laughs(45, b"q\xfe}h\xfeNs."),
    "laughs as an encoding": lambda: laughs(45, b"q\xfec_codecs\nencode\nU\x01xh\xfe\x86R."),
    "laughs as labels": lambda: laughs(45, b"q\xfe}(U\x06labelsh\xfeU\x04datah\xfeu."),
    "laughs as an order": lambda: laughs(45, b"q\xfe" + DTYPE + b"U\x02u1\x85R(K\x03h\xfetb."),
    "laughs in a set": lambda: b"\x80\x04\x8f(" + laughs(45, b"\x90.")[2:],
    "list in itself": lambda: b"\x80\x02]q\x00h\x00a}U\x04datah\x00s.",
    "extension": lambda: b"\x80\x02\x82\x01)R.",
    "persistent": lambda: b"\x80\x02K\x01Q.",
    "shape": lambda: shaped(b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"),
    "negative shape": lambda: shaped(b"J\xff\xff\xff\xffM\x00\x0c\x86"),
    "shape of floats": lambda: shaped(b"G@\x08\x00\x00\x00\x00\x00\x00K\x01\x86"),
    "deep shape": lambda: shaped(b"(" + b"K\x01" * 1000 + b"t"),
    "shape that is a function": lambda: shaped(DTYPE),
}  # fmt: skip


def shaped(shape: bytes) -> bytes:
    """A batch whose array has any shape."""
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01" + shape
    )
    array += (
        DTYPE
        + b"U\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x04aaaatb"
    )
    return b"\x80\x02}(U\x04data" + array + b"U\x06labels]K\x01au."
