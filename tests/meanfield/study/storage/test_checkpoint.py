"""Checkpoints as files: written whole, read whole or not at all."""

import hashlib
import json
import math

import numpy as np
import pytest

from meanfield.study.storage.checkpoint import (
    MAGIC,
    NAMES,
    SCHEMA_VERSION,
    Checkpoint,
    CheckpointError,
    Checkpoints,
    NewerCheckpointError,
    Position,
)
from meanfield.study.storage.files.fault_tolerant import FaultTolerantFile
from meanfield.study.storage.schema import OutputError, RowCounts
from solvers.state import State


def checkpoint(step=3, dtype="float64"):
    rng = np.random.default_rng(step)
    state = State(
        step,
        rng.standard_normal((2, 5, 3)).astype(dtype),
        math.nan,
        rng.standard_normal((0, 5, 3)),
        {"residual": 0.1},
    )
    readings = {"gradients": 7, "solver_time": 1 / 3}
    vectors = np.asfortranarray(rng.standard_normal((2, 5, 3)))
    return Checkpoint(
        config="steps = 4\n# η\n",
        problem="digest",
        created="now",
        versions="{}",
        rows={"a": RowCounts(5, 2), "b": RowCounts(4, 1)},
        ended={"a": ("diverged", "at step 4")},
        process="b",
        position=Position(state, "said at the start", vectors, readings, 2.5),
        compared=1,
        distances=np.array([[[0.5, math.nan]]]),
    )


def encoded(number=0, **about):
    """The bytes of a checkpoint, with parts of its JSON replaced and the digest that goes with them."""
    parts = [bytes(part) for part in checkpoint().encoded(number)]
    head, arrays = json.loads(parts[2]), b"".join(parts[3:])
    body = json.dumps(head | about).encode() + b"\n" + arrays
    return MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_it_is_read_as_it_was_written(tmp_path, dtype):
    saved = checkpoint(dtype=dtype)
    Checkpoints(tmp_path).save(saved)
    loaded = Checkpoints(tmp_path).load()
    for name in (
        "config",
        "problem",
        "created",
        "versions",
        "rows",
        "ended",
        "process",
        "compared",
    ):
        assert getattr(loaded, name) == getattr(saved, name)
    ours, theirs = loaded.position, saved.position
    assert (ours.message, ours.readings, ours.wall_time) == (
        theirs.message,
        theirs.readings,
        theirs.wall_time,
    )
    assert ours.state.step == 3 and math.isnan(ours.state.dissipated)
    assert ours.state.report == {"residual": 0.1}
    pairs = [(loaded.distances, saved.distances), (ours.vectors, theirs.vectors)]
    pairs += [
        (getattr(ours.state, key), getattr(theirs.state, key)) for key in ("values", "history")
    ]
    for a, b in pairs:
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        assert a.flags.c_contiguous and a.flags.writeable


def test_two_are_kept_and_the_newer_is_read(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.load() is None
    for step in range(5):
        checkpoints.save(checkpoint(step))
        assert Checkpoints(tmp_path).load().position.state.step == step
    assert {path.name for path in tmp_path.iterdir()} == set(NAMES)
    again = Checkpoints(tmp_path)
    again.load()
    again.save(checkpoint(9))  # in place of the older one
    kept = [Checkpoint.decoded((tmp_path / name).read_bytes())[1] for name in NAMES]
    assert {each.position.state.step for each in kept} == {4, 9}
    again.remove()
    assert list(tmp_path.iterdir()) == []


def test_cut_at_any_byte_of_its_header_the_one_before_is_read(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(checkpoint(1))
    checkpoints.save(checkpoint(2))
    newest, whole = tmp_path / NAMES[1], (tmp_path / NAMES[1]).read_bytes()
    header = whole.index(b"\n", len(MAGIC) + 65) + 1
    for length in (*range(header + 1), len(whole) - 1):
        newest.write_bytes(whole[:length])
        assert Checkpoints(tmp_path).load().position.state.step == 1
    newest.write_bytes(whole)
    assert Checkpoints(tmp_path).load().position.state.step == 2
    for name in NAMES:
        (tmp_path / name).write_bytes(whole[:100])
    with pytest.raises(
        CheckpointError, match="checkpoint-0: damaged or incomplete\n.*checkpoint-1"
    ):
        Checkpoints(tmp_path).load()


def test_any_bit_that_is_not_as_it_was_is_found(tmp_path):
    whole = encoded()
    rng = np.random.default_rng(0)
    for position in rng.choice(len(whole), 200, replace=False):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        with pytest.raises(CheckpointError):
            Checkpoint.decoded(bytes(damaged))


def test_versions_of_the_schema(tmp_path):
    """A newer one is refused, even if an older checkpoint lies beside it; an older one is read."""
    (tmp_path / NAMES[0]).write_bytes(encoded(schema_version=SCHEMA_VERSION - 1))
    assert Checkpoints(tmp_path).load().position.state.step == 3
    (tmp_path / NAMES[1]).write_bytes(encoded(1, schema_version=SCHEMA_VERSION + 1))
    with pytest.raises(NewerCheckpointError, match="schema version must be at most 1, got 2"):
        Checkpoints(tmp_path).load()


@pytest.mark.parametrize(
    "about",
    [
        {"rows": {"a": [-1, 0]}},
        {"rows": {"a": [1.5, 0]}},
        {"rows": [1]},
        {"arrays": [["values", "object", [1]]]},
        {"arrays": [["values", "float64", [10**12]]]},
        {"arrays": [["values", "float64", [-1]]]},
        {"arrays": [["values", "float64", [1, True]]]},
        {"arrays": []},
        {"position": {"process": "b"}},
        {"schema_version": "1"},
        {"schema_version": None},
        {"ended": {"a": 1}},
        {"compared": -1},
    ],
)
def test_what_no_run_writes_is_refused(about):
    """Its digest is right: somebody else made it."""
    with pytest.raises(CheckpointError, match="not a checkpoint of a run"):
        Checkpoint.decoded(encoded(**about))


def test_a_full_disk_keeps_the_one_before(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(checkpoint(1))
    checkpoints.save(checkpoint(2))

    def full(file, data):
        file.error = OSError(28, "No space left on device")
        return len(data)

    with monkeypatch.context() as patch:
        patch.setattr(FaultTolerantFile, "write", full)
        with pytest.raises(OutputError, match="No space left on device"):
            checkpoints.save(checkpoint(3))
    assert {path.name for path in tmp_path.iterdir()} == set(NAMES)
    assert Checkpoints(tmp_path).load().position.state.step == 2
    checkpoints.save(checkpoint(4))
    assert Checkpoints(tmp_path).load().position.state.step == 4
