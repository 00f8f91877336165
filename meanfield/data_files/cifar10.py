"""Reader of CIFAR-10 in its official Python format: six pickles, in a folder or in a .tar.gz, which are never unpickled.

A batch is a dictionary with ``data``, uint8 of shape (k, 3072), one image per row as 32x32 red, then green, then blue, and
``labels``, k integers from 0 to 9. Its keys are bytes (written by Python 2) or str, and k may be any number.
"""

from __future__ import annotations

import gzip
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.data_files.plain_pickle import RefusedError, StandIn
from meanfield.data_files.plain_pickle import read as read_pickle
from solvers._support.arguments import refusal, wrong_shape

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
FOLDER = "cifar-10-batches-py"
CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
PIXELS = 3 * 32 * 32

TRAIN_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
TEST_BATCHES = ("test_batch",)

# As distributed; as Keras 2 and Keras 3 name their download.
_ARCHIVES = ("cifar-10-python.tar.gz", f"{FOLDER}.tar.gz", f"{FOLDER}-target_archive")

# A batch of the official files has 31 MB, all of them together 186 MB.
_BATCH_LIMIT = 64 * 2**20
_ARCHIVE_LIMIT = 256 * 2**20

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


def load(path: str | os.PathLike[str] | None, train: bool) -> tuple[Images, Labels]:
    """Images (k, 3072) and labels (k,) of the five training batches, or of the test batch.

    `path` is the archive, the folder of the batches, or a folder that holds either; None searches `search_places`.

    Raises
    ------
    ValueError
        Nothing was found, or what was found is not readable, not complete, or not CIFAR-10.
    """
    source = _find(path)
    names = TRAIN_BATCHES if train else TEST_BATCHES
    contents = _read_folder(source, names) if source.is_dir() else _read_archive(source, names)
    batches = [_parse(contents[name], f"{source}: {name}") for name in names]
    images, labels = zip(*batches, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def class_indices(classes: Sequence[str | int] | None) -> list[int]:
    """Labels of classes given by name or number, in the order given; all ten for None.

    Raises
    ------
    ValueError
        An unknown or repeated class, or fewer than two.
    """
    if classes is None:
        return list(range(len(CLASSES)))
    if isinstance(classes, str | bytes) or not isinstance(classes, Sequence):
        raise refusal("classes", "a tuple of names or numbers", classes)
    indices = []
    for entry in classes:
        if isinstance(entry, str) and entry in CLASSES:
            indices.append(CLASSES.index(entry))
        elif type(entry) is not bool and entry in range(len(CLASSES)):
            indices.append(int(entry))
        else:
            raise refusal("classes", f"each 0 to 9 or one of {', '.join(CLASSES)}", entry)
    if len(indices) < 2 or len(set(indices)) < len(indices):
        raise refusal("classes", "at least two different classes", classes)
    return indices


def sample(
    path: str | os.PathLike[str] | None, n: int, indices: list[int], seed: int, train: bool
) -> tuple[Images, Labels]:
    """The first n images of these classes in a random order, and their labels.

    Raises
    ------
    ValueError
        As `load`, and if there are fewer than n.
    """
    images, labels = load(path, train)
    places = np.flatnonzero(np.isin(labels, indices))
    if n > len(places):
        raise refusal("n", f"at most {len(places)}, the number of images of these classes", n)
    chosen = places[np.random.default_rng(seed).permutation(len(places))[:n]]
    return images[chosen], labels[chosen]


def standardize(
    images: Images, mean_square: float, like: Images | None = None
) -> NDArray[np.float64]:
    """The pixels minus the mean of their channel, times one factor that makes the mean of x² `mean_square`.

    Both are taken over these images, or over those given as `like`.
    """
    model = _by_channel(images if like is None else like)
    mean = model.mean(axis=(0, 2), keepdims=True)
    size = np.sqrt(np.mean((model - mean) ** 2))
    if size == 0.0:
        raise ValueError("images must have a channel that varies, got constant channels only")
    pixels = _by_channel(images) - mean
    pixels *= np.sqrt(mean_square) / size
    return pixels.reshape(len(images), -1)


def _by_channel(images: Images) -> NDArray[np.float64]:
    return images.reshape(len(images), 3, -1).astype(np.float64)


# --- where the files are -------------------------------------------------------------------------


def search_places() -> list[Path]:
    """Folders where torchvision and Keras usually leave their downloads, in the order of the search."""
    home = Path.home()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    torch = Path(os.environ.get("TORCH_HOME") or cache / "torch").expanduser()
    keras = Path(os.environ.get("KERAS_HOME") or home / ".keras").expanduser()
    return [
        Path("data"),
        Path(),
        torch / "datasets" / "vision",
        torch / "datasets",
        keras / "datasets",
        # Keras 3 extracts the archive, which has a folder of its own, into a folder
        keras / "datasets" / f"{FOLDER}-target",
        keras / "datasets" / FOLDER,
    ]


def _find(path: str | os.PathLike[str] | None) -> Path:
    places = search_places() if path is None else [Path(path).expanduser()]
    for place in places:
        if path is not None and _is_file(place):
            return place
        for folder in (place, place / FOLDER):
            if any(_is_file(folder / name) for name in (*TRAIN_BATCHES, *TEST_BATCHES)):
                return folder
        for name in _ARCHIVES:
            if _is_file(place / name):
                return place / name
    looked = ", ".join(str(place.absolute()) for place in places)
    raise ValueError(
        f"path must be a folder with {_ARCHIVES[0]} or {FOLDER}/, got {looked}; the official file is {URL}"
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than the file system has room for
        return False


def _read_folder(folder: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    contents = {}
    for name in names:
        try:
            with (folder / name).open("rb") as file:
                contents[name] = _limited(file, f"{folder}: {name}")
        except FileNotFoundError as error:
            raise ValueError(f"{folder}: {name} is missing") from error
        except OSError as error:
            raise ValueError(f"{folder}: {name} cannot be read: {error}") from error
    return contents


class _ArchiveError(ValueError):
    """An archive that breaks a limit of this reader."""


def _read_archive(archive: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """The named members, read in memory: nothing is extracted, so no member's path or type matters."""
    contents: dict[str, bytes] = {}
    try:
        with gzip.open(archive) as stream:
            for name, content in _members(stream, names, archive):
                contents[name] = content
                if len(contents) == len(names):
                    return contents
    except _ArchiveError:
        raise
    # Damaged headers make tarfile raise nearly anything, a chain of long names even exhausts its recursion.
    except Exception as error:
        raise ValueError(
            f"{archive} must be a complete .tar.gz archive, got a damaged one: {error}"
        ) from error
    missing = ", ".join(name for name in names if name not in contents)
    raise ValueError(f"{archive}: {missing} is missing in the folder {FOLDER}")


def _members(
    stream: gzip.GzipFile, names: tuple[str, ...], archive: Path
) -> Iterator[tuple[str, bytes]]:
    bounded: Any = _Bounded(stream, archive)
    with tarfile.open(fileobj=bounded, mode="r|") as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            if path.parent.name != FOLDER or path.name not in names or not member.isfile():
                continue
            file = tar.extractfile(member)
            if file is not None:
                yield path.name, _limited(file, f"{archive}: {path.name}")


class _Bounded:
    """A stream that raises beyond a limit: a small archive may unpack to any size."""

    def __init__(self, stream: gzip.GzipFile, archive: Path) -> None:
        self._stream = stream
        self._archive = archive
        self._left = _ARCHIVE_LIMIT

    def read(self, size: int) -> bytes:
        data = self._stream.read(min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise _ArchiveError(
                f"{self._archive} must unpack to at most {_ARCHIVE_LIMIT} bytes, got more"
            )
        return data


def _limited(file: Any, where: str) -> bytes:
    content: bytes = file.read(_BATCH_LIMIT + 1)
    if len(content) > _BATCH_LIMIT:
        raise _ArchiveError(f"{where} must have at most {_BATCH_LIMIT} bytes, got more")
    return content


# --- what is in them -----------------------------------------------------------------------------


class _Dtype(StandIn):
    """Stands in for the numpy.dtype of a pickle, which is always uint8 or an integer."""

    def __init__(self, code: object, *_: object) -> None:
        self.code = _text(code)

    def resolve(self) -> np.dtype[Any]:
        order = "=" if self.state is None else _text(self.state[1])
        if self.code not in ("u1", "i4", "i8") or order not in ("|", "<", ">", "="):
            raise ValueError(
                f"arrays must be of type u1, i4 or i8 in a known byte order, got {order:.9}{self.code:.9}"
            )
        return np.dtype(order + self.code)


class _Array(StandIn):
    """Stands in for the numpy.ndarray of a pickle: NumPy never receives its state."""

    def __init__(self, *_: object) -> None:
        pass

    def resolve(self) -> NDArray[Any]:
        _, shape, dtype, fortran, content = self.state
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes):
            raise ValueError("arrays must hold numbers, got Python objects")
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f"shapes must be tuples of integers of at least 0, got {shape!r:.50}")
        flat = np.frombuffer(content, dtype.resolve())
        return flat.reshape(shape, order="F" if fortran is True else "C")


def _encode(text: object, encoding: object = "latin1") -> bytes:
    """How protocol 2 represents bytes written by Python 3."""
    if _text(encoding) not in ("latin1", "latin-1"):
        raise ValueError(f"the encoding of bytes must be latin1, got {_text(encoding)[:20]!r}")
    return _text(text).encode("latin-1")


def _text(value: object) -> str:
    """Check that the value is a string; the repr of another object could exceed the memory."""
    if isinstance(value, bytes):
        return value.decode("ascii")
    if not isinstance(value, str):
        raise ValueError(f"texts must be strings, got {type(value).__name__}")
    return value


_NAMES: dict[tuple[str, str], Callable[..., StandIn | bytes]] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("_codecs", "encode"): _encode,
}


def _parse(content: bytes, where: str) -> tuple[Images, Labels]:
    """Images and labels of one batch, checked; messages begin with `where`."""
    try:
        batch = read_pickle(content, _NAMES)
    except RefusedError as error:
        raise ValueError(
            f"{where}: the file must be a batch of CIFAR-10, got another pickle: {error}; nothing was executed"
        ) from None
    # Reading arbitrary bytes may raise nearly anything.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"{where}: the file must be a pickle, got one that cannot be read: {reason:.200}"
        ) from error
    try:
        data, labels = (_numbers(_entry(batch, key)) for key in ("data", "labels"))
    except Exception as error:
        raise ValueError(
            f"{where}: the file must be a batch of CIFAR-10, got another pickle: {error!s:.200}"
        ) from error
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != PIXELS:
        raise ValueError(
            f"{where}: data must be uint8 (images, {PIXELS}), got {data.dtype} {data.shape}"
        )
    if labels.shape != data.shape[:1]:
        raise wrong_shape(f"{where}: labels", f"({len(data)},), one per image", labels.shape)
    if labels.dtype.kind not in "iu" or not np.all((labels >= 0) & (labels < len(CLASSES))):
        raise ValueError(f"{where}: labels must be integers from 0 to 9, got others")
    return data, labels.astype(np.int64)


def _entry(batch: Any, key: str) -> Any:
    if not isinstance(batch, dict):
        raise ValueError(f"it must be a dictionary, got {type(batch).__name__}")
    for spelling in (key.encode(), key):
        if spelling in batch:
            return batch[spelling]
    raise ValueError(f"it must have the key {key!r}, got none")


def _numbers(value: Any) -> NDArray[Any]:
    if isinstance(value, _Array):
        return value.resolve()
    if isinstance(value, list) and all(type(entry) is int for entry in value):
        return np.array(value, dtype=np.int64)
    raise ValueError(f"entries must be arrays or lists of integers, got {type(value).__name__}")
