"""What each kind of file is given to, and the same without any protection: by that the oracle is seen to work."""

from __future__ import annotations

import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from typer.testing import CliRunner

import meanfield
from meanfield import tasks
from meanfield.study.cli import app
from meanfield.study.config import load
from meanfield.study.problem import check
from meanfield.study.snapshots import read_run
from tests.faults import hostile_cifar, hostile_hdf5, hostile_npz, hostile_toml

Rng = np.random.Generator
Write = Callable[[Rng, Path], Path]
Use = Callable[[Rng, Path], str]


def use_npz(rng: Rng, path: Path) -> str:
    """Read it, and return what there is to see."""
    return repr(tasks.from_npz(path))


def use_cifar(rng: Rng, path: Path) -> str:
    return repr(tasks.cifar10(path, n=2, train=False))


def use_toml(rng: Rng, path: Path) -> str:
    """Load it, with overrides, validate it; run it where that is soon done."""
    seen = command(["validate", str(path)] + (["--json"] if rng.random() < 0.5 else []))
    options = [part for text in hostile_toml.overrides(rng) for part in ("--set", text)]
    study = load(path, tuple(options[1::2]))
    check(study)
    if rng.random() < 0.1:
        small = ["--set", "steps=1", "--set", "output.snapshot_every=1"]
        out = ["--out", str(path.parent / "out"), "--no-figures", "--quiet"]
        seen += command(["run", str(path), *out, *options, *small])
    return seen


def use_hdf5(rng: Rng, path: Path) -> str:
    """Read it in every way there is; what was seen is returned, that secrets may be found in it."""
    errors, seen = [], []
    for read in (_record, _result):
        try:
            seen.append(read(path))
        except ValueError as error:
            errors.append(error)
    seen.append(command(["info", str(path)]))
    seen.append(command(["info", "--json", str(path)]))
    seen.append(command(["compare", "--no-figure", str(path)]))
    seen.append(command(["distance", "--json", str(path), str(path)]))
    if rng.random() < 0.02:
        seen.append(command(["plot", str(path), "--out", str(path.parent / "figures")]))
        seen.append(command(["compare", str(path)]))
    if errors:
        raise errors[0]
    return "\n".join(seen)


def _record(path: Path) -> str:
    record = read_run(path)
    arrays = [
        array for process in record.processes.values() for array in process.observables.values()
    ]
    arrays += [
        a
        for p in record.processes.values()
        for a in (p.first, p.last, p.trajectory, p.snapshot_times)
        if a is not None
    ]
    return repr(record) + "".join(_shown(array) for array in arrays)


def _result(path: Path) -> str:
    with meanfield.Result.open(path) as result:
        seen = [repr(result), result._repr_html_(), repr(result.attributes), result.config]
        for process in result.values():
            seen += [_shown(values) for values in process.observables.values()]
            for snapshot in process.snapshots[-2:]:
                seen += [
                    _shown(a) for a in (snapshot.position, snapshot.fluctuation, snapshot.weight)
                ]
        return "\n".join(seen)


def _shown(array: Any) -> str:
    return repr(np.ravel(array)[:50].tolist())


def command(arguments: list[str]) -> str:
    """Run a command in this process; whatever it lets through is raised."""
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    if result.exit_code not in (0, 1, 2):
        raise SystemExit(f"exit code {result.exit_code}")
    if result.exit_code and not result.stderr.strip() and "valid" not in result.stdout:
        raise SystemExit("refused without a word")
    if "--json" in arguments and result.exit_code == 0:
        json.loads(result.stdout, parse_constant=_no_constant)
    return str(result.output)


def _no_constant(name: str) -> None:
    raise SystemExit(f"{name} is no JSON")


# --- without any protection ----------------------------------------------------------------------


def unsafe_npz(rng: Rng, path: Path) -> str:
    try:
        with np.load(path, allow_pickle=True) as archive:
            return repr([archive[name] for name in archive])
    except (Exception, SystemExit) as error:
        raise ValueError("damaged") from error


def unsafe_cifar(rng: Rng, path: Path) -> str:
    try:
        if path.is_file():
            with tarfile.open(path) as tar:
                tar.extractall(path.parent / "unpacked", filter="fully_trusted")
            path = path.parent / "unpacked" / hostile_cifar.FOLDER
        content = (path / hostile_cifar.NAME).read_bytes()
        if any(attack() == content for attack in hostile_cifar.ATTACKS.values()):
            return "these take all the memory or time there is"
        return repr(pickle.loads(content))
    except (Exception, SystemExit) as error:
        raise ValueError("damaged") from error


def unsafe_toml(rng: Rng, path: Path) -> str:
    """A study that may say where its output goes."""
    try:
        study = load(path)
        target = Path(study.model_dump()["task"].get("path") or "x")
        with (path.parent / target).open("a"):
            return "made"
    except OSError as error:
        raise ValueError("no such place") from error


def unsafe_hdf5(rng: Rng, path: Path) -> str:
    seen = []
    try:
        with h5py.File(path) as file:
            seen = [
                _shown(item[...])
                for item in map(file.get, _names(file))
                if isinstance(item, h5py.Dataset) and item.size < 10**6
            ]
    except (Exception, SystemExit) as error:
        raise ValueError("damaged") from error
    return "\n".join(seen)


def _names(file: h5py.File) -> list[str]:
    processes = (hostile_hdf5.GD, hostile_hdf5.ENERGY)
    return [f"{p}/{group}/{name}" for p in processes for group in ("observables", "snapshots") if group in file.get(p, {})
            for name in file[f"{p}/{group}"]]  # fmt: skip


WRITERS: dict[str, Write] = {
    "toml": hostile_toml.write,
    "npz": hostile_npz.write,
    "hdf5": hostile_hdf5.write,
    "cifar": hostile_cifar.write,
}
USES: dict[str, Use] = {"toml": use_toml, "npz": use_npz, "hdf5": use_hdf5, "cifar": use_cifar}
UNSAFE: dict[str, Use] = {
    "toml": unsafe_toml,
    "npz": unsafe_npz,
    "hdf5": unsafe_hdf5,
    "cifar": unsafe_cifar,
}
