"""The reader of CIFAR-10, on small files in the official format that the tests write themselves."""

import codecs
import copyreg
import io
import os
import pickle
import tarfile

import numpy as np
import pytest

from meanfield import tasks
from meanfield.data_files import cifar10 as _cifar10

FOLDER = "cifar-10-batches-py"
NAMES = (*_cifar10.TRAIN_BATCHES, *_cifar10.TEST_BATCHES)
K = 20  # images per batch, two of each class


def batch(i):
    """Images and labels of batch number i."""
    rng = np.random.default_rng(i)
    return rng.integers(0, 256, (K, 3072), dtype=np.uint8), rng.permutation(np.arange(K) % 10)


def python2(content):
    """A batch as Python 2 pickled it: strings and the buffer of the array are plain bytes, of which Python 3 writes none."""
    data = content[b"data"]
    out = [b"\x80\x02}("]

    def string(value):
        out.append(b"T" + len(value).to_bytes(4, "little") + value)

    string(b"data")
    out.append(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85")
    string(b"b")
    out.append(b"\x87R(K\x01K" + bytes([data.shape[0]]) + b"M\x00\x0c\x86cnumpy\ndtype\n")
    string(b"u1")
    out.append(b"K\x00K\x01\x87R(K\x03")
    string(b"|")
    out.append(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89")
    string(data.tobytes())
    out.append(b"tb")
    string(b"labels")
    out.append(b"](" + b"".join(b"K" + bytes([label]) for label in content[b"labels"]) + b"eu.")
    return b"".join(out)


def contents(**replaced):
    """The bytes of every file of the folder, batches replaced or (None) left out."""
    files = {}
    for i, name in enumerate(NAMES):
        data, labels = batch(i)
        entries = {b"data": data, b"labels": labels.tolist(), b"batch_label": b"testing"}
        files[name] = pickle.dumps(entries, protocol=2)
    files["batches.meta"] = pickle.dumps({b"label_names": []}, protocol=2)
    files.update(replaced)
    return {name: content for name, content in files.items() if content is not None}


def write_folder(parent, **replaced):
    folder = parent / FOLDER
    folder.mkdir(parents=True)
    for name, content in contents(**replaced).items():
        (folder / name).write_bytes(content)
    return folder


def write_archive(path, **replaced):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, content in contents(**replaced).items():
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path)


# --- what is read --------------------------------------------------------------------------------


def all_images(train=True):
    batches = [batch(i) for i in (range(5) if train else [5])]
    images, labels = zip(*batches, strict=True)
    return np.concatenate(images), np.concatenate(labels)


@pytest.mark.parametrize("train", [True, False])
def test_folder_and_archive_hold_every_image(tmp_path, train):
    places = [write_folder(tmp_path), write_archive(tmp_path / "a" / "cifar-10-python.tar.gz")]
    for path in (*places, tmp_path, tmp_path / "a"):
        images, labels = _cifar10.load(path, train)
        np.testing.assert_array_equal(images, all_images(train)[0])
        np.testing.assert_array_equal(labels, all_images(train)[1])


def test_batches_of_python_2_and_with_str_keys(tmp_path):
    data, labels = batch(5)
    entries = {b"data": data, b"labels": labels.tolist()}
    text = {"data": np.asfortranarray(data), "labels": labels}
    for i, content in enumerate((python2(entries), pickle.dumps(text, protocol=2))):
        images, read = _cifar10.load(write_folder(tmp_path / str(i), test_batch=content), False)
        np.testing.assert_array_equal(images, data)
        np.testing.assert_array_equal(read, labels)


def test_the_bytes_of_python_2_are_what_pickle_reads():
    data, labels = batch(0)
    read = pickle.loads(python2({b"data": data, b"labels": labels.tolist()}), encoding="bytes")
    np.testing.assert_array_equal(read[b"data"], data)
    assert read[b"labels"] == labels.tolist()


# --- the task ------------------------------------------------------------------------------------


def test_inputs_are_the_pixels_centered_per_channel_and_scaled(folder):
    task = tasks.cifar10(folder, n=100, mean_square=0.3)
    images, labels = all_images()
    pixels = images.reshape(100, 3, 1024) - images.reshape(100, 3, 1024).mean(
        axis=(0, 2), keepdims=True
    )
    pixels *= np.sqrt(0.3 / np.mean(pixels**2))
    order = np.random.default_rng(0).permutation(100)
    np.testing.assert_allclose(task.inputs, pixels.reshape(100, -1)[order], rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(task.targets, np.eye(10)[labels[order]])
    assert task.is_one_hot and np.mean(task.inputs**2) == pytest.approx(0.3, rel=1e-13)


def test_default_scale_is_that_of_the_digits(folder):
    inputs = tasks.cifar10(folder, n=50).inputs
    assert np.mean(np.sum(inputs**2, axis=1)) == pytest.approx(4.0, rel=1e-12)


def test_classes_by_name_or_number_and_signs(folder):
    one_hot = tasks.cifar10(folder, n=20, classes=("dog", 3))
    signs = tasks.cifar10(folder, n=20, classes=["dog", "cat"], target="sign")
    np.testing.assert_array_equal(one_hot.inputs, signs.inputs)
    np.testing.assert_array_equal(signs.targets[:, 0], 1 - 2 * one_hot.targets.argmax(axis=1))
    assert one_hot.targets.shape == (20, 2) and one_hot.targets.sum(axis=0).tolist() == [10, 10]
    labels = all_images()[1]
    chosen = np.flatnonzero(np.isin(labels, [3, 5]))[np.random.default_rng(0).permutation(20)]
    np.testing.assert_array_equal(signs.targets[:, 0], np.where(labels[chosen] == 5, 1.0, -1.0))


def test_draws_are_nested_and_depend_on_the_seed_and_the_split(folder):
    few, many = tasks.cifar10(folder, n=20), tasks.cifar10(folder, n=100)
    np.testing.assert_array_equal(few.targets, many.targets[:20])
    assert np.any(few.targets != tasks.cifar10(folder, n=20, seed=1).targets)
    assert np.any(few.inputs != tasks.cifar10(folder, n=20, train=False).inputs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 101}, "n must be at most 100, the number of images .*got 101"),
        ({"n": 0}, "n must be an integer of at least 1, got 0"),
        ({"n": 21, "classes": (0, 1)}, "n must be at most 20, the number of images .*got 21"),
        ({"seed": -1}, "seed must be .*got -1"),
        ({"target": "signs"}, "target must be one of .*, got 'signs'; did you mean 'sign'"),
        ({"target": "sign"}, "classes must be exactly two where target='sign', got 10 classes"),
        ({"classes": ("cat", "cow")}, "classes must be each 0 to 9 or .*got 'cow'"),
        ({"classes": ("cat", 10)}, "classes must be each 0 to 9 or .*got 10"),
        ({"classes": (True, False)}, "classes must be each 0 to 9 or .*got True"),
        (
            {"classes": ("cat", 3)},
            r"classes must be at least two different classes, got \('cat', 3",
        ),
        ({"classes": ("cat",)}, r"classes must be at least two different classes, got \('cat',"),
        ({"classes": "cat"}, "classes must be a tuple .*got 'cat'"),
        ({"mean_square": 0.0}, "mean_square must be .*, got 0.0"),
    ],
)
def test_refuses_arguments(folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        tasks.cifar10(folder, **{"n": 10} | arguments)


def test_refuses_images_without_any_contrast(tmp_path):
    flat = {b"data": np.full((3, 3072), 7, np.uint8), b"labels": [0, 1, 2]}
    folder = write_folder(tmp_path, test_batch=pickle.dumps(flat, protocol=2))
    with pytest.raises(ValueError, match="constant"):
        tasks.cifar10(folder, n=3, train=False)


# --- where it is looked for ----------------------------------------------------------------------


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A machine without any CIFAR-10."""
    for name in ("KERAS_HOME", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def test_says_where_it_looked_and_where_the_file_is(nowhere):
    with pytest.raises(ValueError, match=r"https://www\.cs\.toronto\.edu/~kriz/") as error:
        tasks.cifar10()
    for place in ("work/data", "home/.cache/torch/datasets/vision", "home/.keras/datasets"):
        assert str(nowhere / place) in str(error.value)
    with pytest.raises(ValueError, match="path must be a folder with cifar-10-python.tar.gz or "):
        tasks.cifar10(nowhere / "none.tar.gz")


@pytest.mark.parametrize(
    "place",
    [
        "work/data",
        "work",
        "home/.cache/torch/datasets/vision",
        "home/.keras/datasets",
        f"home/.keras/datasets/{FOLDER}-target",
    ],
)
def test_finds_the_folders_of_others(nowhere, place):
    write_folder(nowhere / place)
    assert tasks.cifar10(n=10).n == 10


@pytest.mark.parametrize(
    "path",
    [
        "work/data/cifar-10-python.tar.gz",
        f"home/.keras/datasets/{FOLDER}.tar.gz",
        f"home/.keras/datasets/{FOLDER}-target_archive",
    ],
)
def test_finds_the_archives_of_others(nowhere, path):
    write_archive(nowhere / path)
    assert tasks.cifar10(n=10).n == 10


@pytest.mark.parametrize(
    ("variable", "below"),
    [
        ("KERAS_HOME", "datasets"),
        ("TORCH_HOME", "datasets/vision"),
        ("XDG_CACHE_HOME", "torch/datasets"),
    ],
)
def test_environment_moves_the_search(nowhere, monkeypatch, variable, below):
    monkeypatch.setenv(variable, str(nowhere / "moved"))
    write_folder(nowhere / "moved" / below)
    assert tasks.cifar10(n=10).n == 10


# --- what is refused -----------------------------------------------------------------------------


class Hostile:
    """Pickles as a call of anything."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_hostile_pickle_is_refused_and_not_executed(tmp_path, inside, archived, protocol):
    trace = tmp_path / "trace"
    hostile = Hostile(os.system, f"touch '{trace}'")
    content = pickle.dumps({b"data": hostile} if inside else hostile, protocol=protocol)
    write = write_archive if archived else write_folder
    path = write(tmp_path / "a.tar.gz", data_batch_1=content)
    with pytest.raises(
        ValueError,
        match=r"data_batch_1: the file must be a batch of CIFAR-10, got another pickle: it asks for \w+\.system",
    ):
        tasks.cifar10(path, n=10)
    assert not trace.exists()
    pickle.loads(content)
    assert trace.exists(), "the pickle would have done it"


@pytest.mark.parametrize(
    ("hostile", "asked"),
    [
        (Hostile(eval, "1"), "builtins.eval|__builtin__.eval"),
        (Hostile(np.load, "x"), "numpy.load"),
        (Hostile(copyreg._reconstructor, list, list, None), "_reconstructor"),
        (np.array([1.5]).dtype.type(1.5), "scalar"),
    ],
)
def test_names_that_no_batch_needs_are_refused(tmp_path, hostile, asked):
    folder = write_folder(tmp_path, data_batch_1=pickle.dumps(hostile, protocol=2))
    with pytest.raises(ValueError, match=f"pickle: it asks for .*({asked}).*nothing was executed"):
        tasks.cifar10(folder, n=10)


def damaged():
    data, labels = batch(0)
    pixels, numbers = np.zeros((3, 3072), np.uint8), [0, 1, 2]
    whole = pickle.dumps({b"data": data, b"labels": labels.tolist()}, protocol=2)
    return {
        "empty": (b"", "must be a pickle, got one that cannot be read"),
        "text": (b"<html>404</html>", "must be a pickle, got one that cannot be read"),
        "cut": (whole[:-100], "must be a pickle, got one that cannot be read"),
        "codec": (
            pickle.dumps(Hostile(codecs.encode, "abc", "rot13"), protocol=2),
            "the encoding of bytes must be latin1, got 'rot13'",
        ),
        "list": (pickle.dumps([1], protocol=2), "must be a dictionary, got list"),
        "no labels": (pickle.dumps({b"data": pixels}, protocol=2), "must have the key 'labels'"),
        "float": ({b"data": pixels / 2, b"labels": numbers}, "arrays must be of type .*got <f8"),
        "objects": (
            {b"data": pixels.astype(object), b"labels": numbers},
            "arrays must hold numbers, got Python objects",
        ),
        "wide": ({b"data": pixels.astype(np.int64), b"labels": numbers}, r"int64 \(3, 3072\)"),
        "shape": ({b"data": pixels[:, :-1], b"labels": numbers}, r"uint8 \(3, 3071\)"),
        "no array": ({b"data": b"abc", b"labels": numbers}, "got bytes"),
        "few": (
            {b"data": pixels, b"labels": [0]},
            r"labels must have shape \(3,\), one per image, got \(1,\)",
        ),
        "ten": ({b"data": pixels, b"labels": [0, 1, 10]}, "labels must be integers from 0 to 9"),
        "words": (
            {b"data": pixels, b"labels": [b"a"] * 3},
            "entries must be arrays or lists of integers, got list",
        ),
        "big": ({b"data": pixels, b"labels": [0, 1, 2**70]}, "must be a batch of CIFAR-10"),
    }


@pytest.mark.parametrize("name", damaged())
def test_a_damaged_batch_is_refused(tmp_path, name):
    content, message = damaged()[name]
    if isinstance(content, dict):
        content = pickle.dumps(content, protocol=2)
    folder = write_folder(tmp_path, data_batch_2=content)
    with pytest.raises(ValueError, match=rf"{FOLDER}: data_batch_2: .*{message}"):
        tasks.cifar10(folder, n=10)


@pytest.mark.parametrize("write", [write_folder, write_archive])
def test_a_missing_batch_is_named(tmp_path, write):
    path = write(tmp_path / "a.tar.gz", data_batch_3=None)
    with pytest.raises(ValueError, match="data_batch_3 is missing"):
        tasks.cifar10(path, n=10)
    assert tasks.cifar10(path, n=10, train=False).n == 10


@pytest.mark.parametrize("keep", [0, 1, 100, -2000])
def test_a_truncated_archive_is_refused(tmp_path, keep):
    path = write_archive(tmp_path / "a.tar.gz")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="must be a complete .tar.gz archive|is missing"):
        tasks.cifar10(path, n=10, train=False)


@pytest.mark.parametrize("content", [b"rubbish", b"\x1f\x8b\x08rubbish"])
def test_what_is_not_an_archive_is_refused(tmp_path, content):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="must be a complete .tar.gz archive"):
        tasks.cifar10(path, n=10)


def test_an_archive_is_not_extracted_and_its_links_are_not_followed(tmp_path):
    secret = write_folder(tmp_path / "elsewhere") / "test_batch"
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        link = tarfile.TarInfo(f"{FOLDER}/test_batch")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        tar.addfile(link)
    with pytest.raises(ValueError, match="test_batch is missing"):
        tasks.cifar10(path, n=10, train=False)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.tar.gz", "elsewhere"]


def test_sizes_are_limited(tmp_path, monkeypatch):
    folder, path = write_folder(tmp_path), write_archive(tmp_path / "a.tar.gz")
    monkeypatch.setattr(_cifar10, "_ARCHIVE_LIMIT", 100_000)
    with pytest.raises(ValueError, match="must unpack to at most 100000 bytes, got more"):
        tasks.cifar10(path, n=10, train=False)
    monkeypatch.undo()
    monkeypatch.setattr(_cifar10, "_BATCH_LIMIT", 10_000)
    for place in (folder, path):
        with pytest.raises(
            ValueError, match="data_batch_1 must have at most 10000 bytes, got more"
        ):
            tasks.cifar10(place, n=10)
