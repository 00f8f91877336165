"""A journaled file against one that is written directly, and what is left of it after any of its writes."""

from contextlib import contextmanager

import numpy as np
import pytest

from meanfield.study.storage.files import lock as file_lock
from meanfield.study.storage.files.fault_tolerant import FaultTolerantFile
from meanfield.study.storage.files.journal import (
    Changes,
    JournaledFile,
    PatchedFile,
    read_changes,
    replay,
)


@contextmanager
def opened(path, mode="w+b", kind=FaultTolerantFile):
    with kind(path, mode) as file, kind(path.with_suffix(".journal"), mode) as journal:
        yield JournaledFile(file, journal)


def scribble(rng, model, file):
    """Random writes, then perhaps a truncation, made in a bytearray too."""
    for _ in range(5):
        offset, data = int(rng.integers(0, len(model) + 1)), rng.bytes(int(rng.integers(1, 90)))
        model[offset : offset + len(data)] = data
        file.seek(offset)
        assert file.write(data) == len(data)
    begin, end = sorted(rng.integers(0, len(model) + 1, 2).tolist())
    file.seek(begin)
    assert file.read(end - begin) == model[begin:end]
    assert file.seek(0, 2) == len(model)
    if rng.random() < 0.3:
        size = int(rng.integers(0, len(model) + 1))
        model[size:] = b""
        file.truncate(size)


@pytest.mark.parametrize("seed", range(20))
def test_it_reads_as_it_was_written_before_and_after_every_commit(tmp_path, seed):
    rng, model = np.random.default_rng(seed), bytearray()
    with opened(tmp_path / "file") as file:
        for _ in range(10):
            scribble(rng, model, file)
            file.commit()
            assert (tmp_path / "file").read_bytes() == model
            assert (tmp_path / "file.journal").read_bytes() == b""


class Crash(BaseException):
    pass


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
def test_broken_off_at_any_write_it_is_one_of_its_commits(tmp_path, part):
    """After `replay`, and for a reader that only looks."""
    left = None

    class Fragile(FaultTolerantFile):
        def write(self, data):
            fail(lambda: super(Fragile, self).write(data[: int(part * len(data))]))
            return super().write(data)

        def truncate(self, size=None):
            fail(lambda: super(Fragile, self).truncate(size) if part else None)
            return super().truncate(size)

    def fail(last):
        nonlocal left
        left -= 1
        if left < 0:
            last()
            raise Crash

    path, ended, count = tmp_path / "file", False, 0
    while not ended:
        left = 10**9
        with opened(path, kind=Fragile) as file:
            commits, left = [b""], count
            rng, model = np.random.default_rng(3), bytearray()
            try:
                for _ in range(6):
                    scribble(rng, model, file)
                    commits.append(bytes(model))
                    file.commit()
                ended = True
            except Crash:
                left = 10**9
        with (
            FaultTolerantFile(path, "r+b") as whole,
            FaultTolerantFile(path.with_suffix(".journal"), "r+b") as journal,
        ):
            found = read_changes(journal.fileno())
            if found is not None:
                assert PatchedFile(whole, found).read() == commits[-1]
            replay(whole, journal)
        # bytes behind the end that the last commit knew of are nothing to anybody
        assert any(path.read_bytes().startswith(commit) for commit in commits[-2:])
        assert path.with_suffix(".journal").read_bytes() == b""
        count += 1
    assert count > 30


def test_changes_are_read_whole_or_not_at_all():
    made = Changes(7, ((0, b"abc"), (5, b""), (2, b"xyz")))
    content = made.encoded()
    assert Changes.decoded(content) == made
    assert Changes.decoded(content + b"more") == made
    for length in range(len(content)):
        assert Changes.decoded(content[:length]) is None
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1
        assert Changes.decoded(bytes(damaged)) is None


def test_after_an_error_nothing_is_changed_any_more(tmp_path):
    with opened(tmp_path / "file") as file:
        file.write(b"first")
        file.commit()
        file._journal.error = OSError(28, "No space left on device")
        file.seek(0)
        assert file.write(b"second") == 6
        file.commit()
        assert file.error.errno == 28
    assert (tmp_path / "file").read_bytes().startswith(b"first")


def test_a_claim_is_for_one(tmp_path):
    first = file_lock.claim(tmp_path / "claim")
    assert file_lock.claim(tmp_path / "claim") is None
    first.close()
    second = file_lock.claim(tmp_path / "claim")
    assert second is not None
    second.close()
