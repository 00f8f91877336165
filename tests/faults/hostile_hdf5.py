"""Hostile run files: a real one with its bytes damaged, or with its structure bent through HDF5 itself."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from meanfield.study.config.run_config import load
from meanfield.study.storage.schema import COMPARISONS, ProcessLayout, RunLayout
from meanfield.study.storage.writer import RunWriter
from tests.faults.hostile_bytes import INTEGERS, damage

Rng = np.random.Generator
GD, ENERGY = "gradient_descent", "free_energy_flow"
SECRET = 1234567.25  # what a file elsewhere holds, and no reader may ever show
SECRET_TEXT = "secret-of-another-file"
MARKS = (b"OHDR", b"OCHK", b"FRHP", b"FHDB", b"FHIB", b"BTHD", b"BTLF", b"BTIN", b"FADB", b"FAHD", b"EAHD", b"EADB",
         b"GCOL", b"TREE", b"HEAP", b"SNOD", b"\x89HDF", b"DIMENSION_LIST", b"REFERENCE_LIST", b"status", b"time")  # fmt: skip
NAMES = (
    "../escape",
    "a b",
    "[/x]",
    "[red]",
    "\x1b[31m",
    "$\\frac$",
    "é" * 200,
    "x" * 5000,
    "config2",
    "1",
    "..",
    ".",
    "a\nb",
    "_",
)


@cache
def genuine(kind: int) -> bytes:
    """A run's file: of several particles, of one, of compressed float32 with several fluctuations."""
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = [
            {},
            {"particles": 1},
            {"compression": "gzip", "dtype": "float32"},
        ][kind]
        processes = {
            GD: ProcessLayout(GD, has_iterates=True),
            ENERGY: ProcessLayout(ENERGY, modes=2 if kind == 2 else None),
        }
        shape = {
            "particles": 4,
            "parameter_names": ["a", "w", "b"],
            "steps": 2,
            "snapshot_every": 1,
        }
        layout = RunLayout(processes, **(shape | options))
        attributes = {"learning_rate": 0.5, "seed": 0, "versions_json": "{}"}
        with RunWriter(Path(folder), layout, load().to_toml(), attributes) as writer:
            for name, process in processes.items():
                for t in range(3):
                    values = dict.fromkeys(process.observables, 1.0 + t)
                    writer.observe(name, t, values | {"hessian_eigs": [1.0 + t]})
                    position = np.arange(layout.particles * 3.0).reshape(-1, 3) + t
                    modes = (2,) if process.modes else ()
                    writer.snapshot(
                        name, t, position, np.broadcast_to(position, (*modes, *position.shape))
                    )
                writer.finish(name, "complete")
            times = np.arange(3.0)
            distances = {ENERGY: {key: np.ones(3) for key in COMPARISONS}}
            writer.compare(GD, times, distances, {"w2_note": "exact"})
        return (Path(folder) / "run.h5").read_bytes()


def write_secret(folder: Path) -> None:
    """A file beside the hostile ones that these would like to be read."""
    with h5py.File(folder / "secret.h5", "w") as file:
        file["x"] = np.full(3, SECRET)
        file["text"] = SECRET_TEXT
        file.attrs.update({"flow": SECRET_TEXT, "status": "complete", "message": SECRET_TEXT})
        source = genuine(0)
    path = folder / "secret_run.h5"
    path.write_bytes(source)
    with h5py.File(path, "r+") as file:
        for dataset in _datasets(file):
            if dataset.dtype.kind == "f":
                dataset[...] = SECRET
        file[GD].attrs["message"] = SECRET_TEXT
    (folder / "secret.bin").write_bytes(np.full(1000, SECRET).tobytes())


def write(rng: Rng, folder: Path) -> Path:
    """A hostile run file in the folder; its secrets are those of `write_secret` in the folder above."""
    path = folder / "run.h5"
    content = genuine(int(rng.integers(3)))
    if rng.random() < 0.5:
        path.write_bytes(damage(rng, content, MARKS))
        return path
    path.write_bytes(content)
    for _ in range(rng.integers(1, 3)):
        attack = ATTACKS[rng.integers(len(ATTACKS))]
        try:
            with h5py.File(path, "r+") as file:
                attack(rng, file)
        except (
            OSError,
            ValueError,
            TypeError,
            KeyError,
            RuntimeError,
            AttributeError,
            NotImplementedError,
        ):
            continue  # not every attack is one that HDF5 lets through after another
    if rng.random() < 0.1:
        path.write_bytes(damage(rng, path.read_bytes(), MARKS))
    return path


def _datasets(file: h5py.File) -> list[h5py.Dataset]:
    found: list[h5py.Dataset] = []
    file.visititems(
        lambda name, item: found.append(item) if isinstance(item, h5py.Dataset) else None
    )
    return found


def _any_dataset(rng: Rng, file: h5py.File) -> h5py.Dataset:
    datasets = _datasets(file)
    return datasets[rng.integers(len(datasets))]


def _replace(rng: Rng, file: h5py.File, make: Callable[[h5py.Group, str], Any]) -> None:
    """Something else under the name of a dataset (or, now and then, of a group)."""
    name = _any_dataset(rng, file).name
    if rng.random() < 0.2:
        name = name.rsplit("/", int(rng.integers(1, 3)))[0] or f"/{GD}"
    parent, _, leaf = name.rpartition("/")
    group = file[parent or "/"]
    del group[leaf]
    make(group, leaf)


# --- what reaches outside ------------------------------------------------------------------------


def _external_link(rng: Rng, file: h5py.File) -> None:
    target = str(
        rng.choice(["../secret.h5", "../secret_run.h5", "/etc/passwd", "run.h5", "/dev/zero"])
    )
    inside = str(
        rng.choice(
            ["/x", "/text", "/", f"/{GD}", f"/{GD}/observables", f"/{GD}/snapshots/position"]
        )
    )
    if rng.random() < 0.5:
        name = str(
            rng.choice([GD, ENERGY, f"{GD}/observables", f"{GD}/snapshots", "config", "comparison"])
        )
        del file[name]
        file[name] = h5py.ExternalLink("../secret_run.h5", f"/{name}")
        return
    _replace(
        rng, file, lambda group, name: group.__setitem__(name, h5py.ExternalLink(target, inside))
    )


def _soft_link(rng: Rng, file: h5py.File) -> None:
    target = str(rng.choice(["/", ".", "/loop", "/missing", f"/{GD}", f"/{GD}/observables/time"]))
    _replace(rng, file, lambda group, name: group.__setitem__(name, h5py.SoftLink(target)))
    file["loop"] = h5py.SoftLink("/loop")


def _hard_link(rng: Rng, file: h5py.File) -> None:
    """A group within itself."""
    groups = [file, file[GD], file[f"{GD}/observables"], file[f"{ENERGY}/snapshots"]]
    inner, outer = groups[rng.integers(4)], groups[rng.integers(4)]
    inner[str(rng.choice(["again", "x", "comparison2"]))] = outer


def _external_storage(rng: Rng, file: h5py.File) -> None:
    source = str(
        rng.choice(
            ["../secret.bin", "/etc/passwd", str(Path(file.filename).parent.parent / "secret.bin")]
        )
    )
    external = [(source, 0, h5py.h5f.UNLIMITED if rng.random() < 0.3 else 800)]
    _replace(
        rng, file, lambda group, name: group.create_dataset(name, (3,), "f8", external=external)
    )


def _virtual(rng: Rng, file: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(3,), dtype="f8")
    layout[:] = h5py.VirtualSource(str(rng.choice(["../secret.h5", "."])), "x", shape=(3,))
    _replace(
        rng, file, lambda group, name: group.create_virtual_dataset(name, layout, fillvalue=0.0)
    )


# --- what lies about its size --------------------------------------------------------------------


def _huge(rng: Rng, file: h5py.File) -> None:
    size = min(INTEGERS[rng.integers(9, len(INTEGERS))], 2**62)
    shapes = ((size,), (3, size, 3), (size, 1, 3), (3, 1, size), (size, size))
    shape = shapes[rng.integers(len(shapes))]
    chunks = tuple(min(length, 64) for length in shape)
    _replace(rng, file, lambda group, name: group.create_dataset(name, shape, "f8", chunks=chunks))


def _grown(rng: Rng, file: h5py.File) -> None:
    dataset = _any_dataset(rng, file)
    dataset.resize(int(rng.choice([0, 1, 2, 4, 10**6, 10**9, 10**12])), axis=0)


def _bomb(rng: Rng, file: h5py.File) -> None:
    shape = (3, 4, 3) if rng.random() < 0.3 else (2**19,)
    chunks = shape if rng.random() < 0.5 else tuple(min(2**16, n) for n in shape)

    def make(group: h5py.Group, name: str) -> None:
        dataset = group.create_dataset(name, shape, "f8", chunks=chunks, compression="gzip")
        if rng.random() < 0.1:
            dataset[...] = 0.0

    _replace(rng, file, make)


# --- what is of another kind ---------------------------------------------------------------------


def _typed(rng: Rng, file: h5py.File) -> None:
    compound = np.dtype([("a", "f8"), ("b", "S3")])
    types = ("i4", "u8", "f4", "f2", "?", "c16", "S7", compound, h5py.string_dtype(), h5py.string_dtype(length=4), h5py.ref_dtype,
             h5py.regionref_dtype, h5py.vlen_dtype("f8"), h5py.enum_dtype({"A": 0}), h5py.opaque_dtype("M8[s]"), ">f8",
             np.dtype(("f8", (2,))), "V5")  # fmt: skip
    dtype = types[rng.integers(len(types))]
    shapes = ((3,), (), (3, 4, 3), (0,), (1,), (3, 1), (3, 4), (4, 3, 4, 3), None)
    shape = shapes[rng.integers(len(shapes))]
    if shape is None:
        _replace(rng, file, lambda group, name: group.__setitem__(name, h5py.Empty("f8")))
    else:
        _replace(rng, file, lambda group, name: group.create_dataset(name, shape, dtype))


def _values(rng: Rng, file: h5py.File) -> None:
    dataset = _any_dataset(rng, file)
    if dataset.dtype.kind in "fiu":
        dataset[...] = (
            rng.choice([np.nan, np.inf, -1.0, 0.0, 1e308, -1e308, 5e-324])
            if dataset.dtype.kind == "f"
            else -1
        )
    else:
        dataset[...] = NAMES[rng.integers(len(NAMES))]


def _attribute(rng: Rng, file: h5py.File) -> None:
    values = (0, -1, 2**63, 3.5, np.nan, np.inf, 0.0, -1.0, "", "complete", "running", "x" * 10_000, b"\xff\xfe", np.zeros(3),
              np.zeros((2, 2)), "[/x]", "\x1b]0;x\x07", h5py.Empty("f8"), ["a", "b"], np.array([], "f8"), True, 1 + 2j,
              np.zeros(2, [("a", "f8")]), file.ref, np.bytes_(b"complete"), "a\nb")  # fmt: skip
    owner = (file, file[GD], file[ENERGY], _any_dataset(rng, file))[rng.integers(4)]
    names = (*owner.attrs, "schema", "status", "x")
    name = names[rng.integers(len(names))]
    if rng.random() < 0.2:
        del owner.attrs[name]
    else:
        owner.attrs[name] = values[rng.integers(len(values))]


def _missing(rng: Rng, file: h5py.File) -> None:
    names: list[str] = []
    file.visit(names.append)
    del file[names[rng.integers(len(names))]]


def _stranger(rng: Rng, file: h5py.File) -> None:
    """A group, a process or a type that is not in the layout, under a name that nobody would choose."""
    name = NAMES[rng.integers(len(NAMES))]
    kind = rng.integers(4)
    if kind == 0:
        file.create_group(name)
    elif kind == 1:
        file[name] = np.dtype("f8")
    elif kind == 2:
        file.copy(GD, name)
    else:
        file[f"{GD}/observables"].create_dataset(name, (3,), "f8")


def _renamed(rng: Rng, file: h5py.File) -> None:
    file.move(str(rng.choice([GD, ENERGY])), NAMES[rng.integers(len(NAMES))])


def _filtered(rng: Rng, file: h5py.File) -> None:
    options: tuple[dict[str, Any], ...] = (
        {"compression": "lzf"},
        {"fletcher32": True},
        {"scaleoffset": 3},
        {"compression": "szip"},
    )
    chosen = options[rng.integers(len(options))]

    def make(group: h5py.Group, name: str) -> None:
        group.create_dataset(name, data=np.arange(3.0), chunks=(3,), **chosen)

    def plugin(group: h5py.Group, name: str) -> None:
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk((3,))
        settings.set_filter(32004, h5py.h5z.FLAG_OPTIONAL, (1, 2))
        h5py.h5d.create(
            group.id, name.encode(), h5py.h5t.NATIVE_DOUBLE, h5py.h5s.create_simple((3,)), settings
        )

    _replace(rng, file, plugin if rng.random() < 0.3 else make)


def _deep(rng: Rng, file: h5py.File) -> None:
    group = file
    for _ in range(int(rng.choice([10, 200]))):
        group = group.create_group("g")


def _many(rng: Rng, file: h5py.File) -> None:
    for i in range(int(rng.choice([10, 300]))):
        file.create_group(f"g{i}")


ATTACKS = (_external_link, _external_link, _soft_link, _hard_link, _external_storage, _virtual, _huge, _grown, _bomb, _typed,
           _typed, _typed, _values, _attribute, _attribute, _attribute, _missing, _missing, _stranger, _renamed, _filtered,
           _deep, _many)  # fmt: skip
