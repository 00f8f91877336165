"""Data files from strangers: each case here once ended in a traceback, or took all the memory or time there is."""

import gzip
import io
import os
import pickle
import tarfile
import time
import zipfile

import numpy as np
import pytest

from meanfield import tasks
from meanfield.data_files import npz as _npz
from meanfield.data_files import plain_pickle as _plain_pickle
from tests.faults import hostile_cifar, hostile_npz

GOOD = hostile_npz.npy(np.ones((3, 1)))
UNREADABLE = "must be an .npz archive, got one that cannot be read"


def archive(path, inputs, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("inputs.npy", inputs)
        file.writestr("targets.npy", GOOD)
    return path


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (hostile_npz.said("<f8", (2**40, 2**10)), "inputs must hold the .* array of its header"),
        (hostile_npz.said("<f8", (2**62, 2**62)), "inputs must hold the .* array of its header"),
        (
            hostile_npz.said("<f8", (-1, 3), bytes(24)),
            "inputs must hold the .* array of its header",
        ),
        (hostile_npz.said("|V2147483647", (2**31 - 1,)), "inputs must hold real numbers"),
        (hostile_npz.said("|O", (1, 1), b"."), "inputs must hold numbers, got Python objects"),
        (hostile_npz.header("-" * 9000 + "1"), UNREADABLE),
        (hostile_npz.header("(" * 3000), UNREADABLE),
        (hostile_npz.header("{**{}}", version=3), "must be of version 1 or 2"),
    ],
)
def test_an_array_that_lies_about_itself_is_refused(tmp_path, inputs, message):
    with pytest.raises(ValueError, match=message):
        tasks.from_npz(archive(tmp_path / "task.npz", inputs))


def test_an_array_that_unpacks_to_much_more_than_it_takes_is_refused(tmp_path, monkeypatch):
    zeros = hostile_npz.said("|u1", (2**20, 1), bytes(2**20))
    path = archive(tmp_path / "task.npz", zeros, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="equally many rows, got 1048576 and 3"):
        tasks.from_npz(path)
    monkeypatch.setattr(_npz, "FREE_BYTES", 2**19)
    with pytest.raises(
        ValueError, match="inputs must unpack to at most 100 times its size, got 1048"
    ):
        tasks.from_npz(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_than_that_of_numpy_is_refused(tmp_path, compression):
    with pytest.raises(ValueError, match="must be stored or deflated, as by NumPy"):
        tasks.from_npz(archive(tmp_path / "task.npz", GOOD, compression))


def test_an_encrypted_member_is_refused(tmp_path):
    path = archive(tmp_path / "task.npz", GOOD)
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.find(mark) + offset] |= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=UNREADABLE):
        tasks.from_npz(path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "task.npz")
    with pytest.raises(ValueError, match="a folder or a device"):
        tasks.from_npz(tmp_path / "task.npz")


def test_orders_and_types_are_read_as_numpy_reads_them(tmp_path):
    rng = np.random.default_rng(0)
    for dtype in ("f8", ">f4", "i2", "?", "g", "f2"):
        for order in "CF":
            array = np.array(rng.integers(0, 2, (3, 4)), dtype=dtype, order=order)
            np.savez_compressed(tmp_path / "task.npz", inputs=array, targets=np.ones(3))
            np.testing.assert_array_equal(tasks.from_npz(tmp_path / "task.npz").inputs, array)


# --- CIFAR-10 ------------------------------------------------------------------------------------


def refused(tmp_path, content):
    folder = tmp_path / hostile_cifar.FOLDER
    folder.mkdir()
    (folder / hostile_cifar.NAME).write_bytes(content)
    began = time.process_time()
    with pytest.raises(ValueError, match="test_batch: ") as error:
        tasks.cifar10(folder, n=2, train=False)
    assert len(str(error.value)) < 1000 and time.process_time() - began < 5
    return str(error.value)


@pytest.mark.parametrize("name", hostile_cifar.ATTACKS)
def test_a_pickle_made_to_exhaust_the_reader_is_refused_at_once(tmp_path, name):
    refused(tmp_path, hostile_cifar.ATTACKS[name]())


def test_a_pickle_of_many_operations_is_refused(tmp_path):
    assert "more than 500000 operations" in refused(tmp_path, hostile_cifar.ATTACKS["many"]())
    many = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [0] * 200_000}
    content = pickle.dumps(many, protocol=2)  # as many as a batch of all of CIFAR-10 would have
    assert len(_plain_pickle.read(content, _names())[b"labels"]) == 200_000


def _names():
    from meanfield.data_files import cifar10 as _cifar10

    return _cifar10._NAMES


@pytest.mark.parametrize("protocol", range(6))
def test_plain_pickles_are_read_as_python_reads_them(protocol):
    value = {
        "a": [1, -2, 3**50, 2.5, None, True, "é"],
        "b": ((), (1,), (1, 2), (1, 2, 3, 4)),
        "c": {"d": [[]]},
    }
    assert _plain_pickle.read(pickle.dumps(value, protocol), {}) == value


def test_a_chain_of_long_names_is_refused(tmp_path):
    member = tarfile.TarInfo("x")
    member.type = tarfile.GNUTYPE_LONGNAME
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(gzip.compress(member.tobuf(tarfile.GNU_FORMAT) * 3000))
    with pytest.raises(ValueError, match="must be a complete .tar.gz archive"):
        tasks.cifar10(path, n=2, train=False)


@pytest.mark.parametrize("load", [tasks.cifar10, tasks.from_npz])
@pytest.mark.parametrize("path", ["é" * 300, "a\0b", "/dev/zero", "."])
def test_a_path_that_is_no_file_is_refused(load, path):
    with pytest.raises(ValueError, match=r"\S"):
        load(path)


def test_nothing_of_an_archive_is_written_anywhere(tmp_path):
    path = tmp_path / "in" / "cifar-10-python.tar.gz"
    path.parent.mkdir()
    batch = pickle.dumps(hostile_cifar.plain(), protocol=2)
    with tarfile.open(path, "w:gz") as tar:
        for name in (
            "../escape",
            str(tmp_path / "escape"),
            f"{hostile_cifar.FOLDER}/{hostile_cifar.NAME}",
        ):
            member = tarfile.TarInfo(name)
            member.size = len(batch)
            tar.addfile(member, io.BytesIO(batch))
    assert tasks.cifar10(path, n=2, train=False).n == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"] and len(
        list(path.parent.iterdir())
    ) == 1
