"""Hostile folders of runs: a checkpoint or a journal that somebody made up, or bent, with digests that are right."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from meanfield.study.config.run_config import load_text
from meanfield.study.engine.prepared_run import Options
from meanfield.study.engine.run import run
from meanfield.study.storage.checkpoint import MAGIC, NAMES
from meanfield.study.storage.files.journal import Changes, journal_path
from tests.faults.hostile_bytes import INTEGERS, damage

Rng = np.random.Generator
STUDY = """
learning_rate = 0.3
steps = 4
[landscape]
name = "valley"
[output]
snapshot_every = 2
sharpness_every = 2
[processes.gradient_descent]
[processes.free_energy_flow]
delay = true
"""
VALUES = (None, True, -1, 0, 1, 2, 3.5, 1e400, float("nan"), 10**400, "", "x", "complete", "a\0b", "\x1b]0;x\x07", "\ud800", [],
          [1], {}, {"a": 1}, [[1, 2]], "[" * 2000, "[]", "{}", '{"a": 1}', *INTEGERS)  # fmt: skip
MARKS = (b"{", b"[", b'"', b"checkpoint\n")


@cache
def genuine() -> dict[str, bytes]:
    """The files of a run that was stopped in its second process, as a crash leaves them."""

    def stop(what: str, done: int, total: int) -> None:
        if (what, done) == ("free_energy_flow", 3):
            signal.raise_signal(signal.SIGTERM)

    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "out"
        run(load_text(STUDY), out, options=Options(progress=stop))
        (out / "run.h5").rename(out / "run.h5.partial")
        return {path.name: path.read_bytes() for path in out.iterdir()}


def write_genuine(folder: Path) -> Path:
    """A folder that can be resumed."""
    out = folder / "out"
    out.mkdir()
    for name, content in genuine().items():
        (out / name).write_bytes(content)
    return out


def parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON of a checkpoint, and its arrays."""
    head, _, arrays = content[len(MAGIC) + 65 :].partition(b"\n")
    return json.loads(head), arrays


def joined(head: Any, arrays: bytes) -> bytes:
    """A checkpoint with the digest that goes with it."""
    body = json.dumps(head).encode() + b"\n" + arrays
    return MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def write_checkpoint(rng: Rng, folder: Path) -> Path:
    """A folder whose checkpoints are bent; mostly with the right digest."""
    out = write_genuine(folder)
    for name in NAMES:
        content = (out / name).read_bytes()
        if rng.random() < 0.15:
            content = damage(rng, content, MARKS)
        elif rng.random() < 0.95:
            head, arrays = parts(content)
            for _ in range(rng.integers(1, 4)):
                _bend(rng, head)
            if rng.random() < 0.2:
                arrays = damage(rng, arrays)
            content = joined(head, arrays)
        (out / name).write_bytes(content)
    return out


def _bend(rng: Rng, head: Any) -> None:
    """Something else somewhere in it, one entry more, or one less."""
    place = head
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = keys[rng.integers(len(keys))]
        if isinstance(place[key], dict | list) and rng.random() < 0.7:
            place = place[key]
            continue
        break
    kind = rng.random()
    if kind < 0.15:
        del place[key]
    elif kind < 0.25 and isinstance(place, dict):
        place[f"{key}x"] = place[key]
    elif kind < 0.4 and isinstance(place[key], int):
        place[key] += int(rng.integers(-3, 4))
    else:
        place[key] = VALUES[rng.integers(len(VALUES))]


def write_journal(rng: Rng, folder: Path) -> Path:
    """A folder whose file was being changed: a journal that lies, over a file that is whole or not."""
    out = write_genuine(folder)
    partial = out / "run.h5.partial"
    content = partial.read_bytes()
    pieces = []
    for _ in range(rng.integers(0, 5)):
        start = int(rng.integers(len(content)))
        piece = content[start : start + int(rng.integers(1, 200))]
        if rng.random() < 0.5:
            piece = damage(rng, piece)
        if rng.random() < 0.3:
            start = INTEGERS[rng.integers(len(INTEGERS))]
        pieces.append((start, piece))
    size = len(content) if rng.random() < 0.6 else INTEGERS[rng.integers(len(INTEGERS))]
    if rng.random() < 0.1:
        size = int(rng.integers(len(content)))
    journal = Changes(size, tuple(pieces)).encoded()
    if rng.random() < 0.3:
        journal = _with_digest(damage(rng, journal)) if rng.random() < 0.7 else damage(rng, journal)
    if rng.random() < 0.2:
        partial.write_bytes(damage(rng, content))
    journal_path(partial).write_bytes(journal)
    return out


def _with_digest(journal: bytes) -> bytes:
    body = journal[32:]
    digest = hashlib.blake2b(body, digest_size=16).digest()
    return b"MFjournl" + digest + len(body).to_bytes(8, "little") + body


def copied(out: Path) -> Path:
    """The folder once more, to be written to."""
    again = out.with_name("again")
    shutil.copytree(out, again)
    return again
