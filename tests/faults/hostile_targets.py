"""What each kind of file is given to, and the same without any protection: by that the oracle is seen to work."""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import struct
import tarfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import numpy as np
from typer.main import get_command

import meanfield
from meanfield import tasks
from meanfield.study.cli.app import app
from meanfield.study.config.run_config import load, load_text
from meanfield.study.engine import resume
from meanfield.study.engine.build import check
from meanfield.study.engine.memory import data_memory
from meanfield.study.engine.prepared_run import Options
from meanfield.study.engine.ranks import Ranks
from meanfield.study.engine.resume import _differing, _work
from meanfield.study.report.source import read_source
from meanfield.study.storage import reader
from meanfield.study.storage.checkpoint import NAMES, Checkpoints
from meanfield.study.storage.files.sandbox import limit_work, read_in_child
from meanfield.study.storage.recovery import take_back
from meanfield.study.storage.schema import RunFileError
from meanfield.study.storage.writer import read_run
from tests.faults import hostile_cifar, hostile_hdf5, hostile_npz, hostile_resume, hostile_toml

Rng = np.random.Generator
Write = Callable[[Rng, Path], Path]
Use = Callable[[Rng, Path], str]
# They solve an equation before the first step, or draw data for long; what that takes is the study's, not the file's.
SLOW_STARTS, MUCH_DATA = ("sharpness_flow", "self_stabilization"), 10**9
PROGRAM = get_command(app)
_PROCESSES = (hostile_hdf5.GD, hostile_hdf5.ENERGY)


def use_npz(rng: Rng, path: Path) -> str:
    """Read it, and return what there is to see."""
    return repr(tasks.from_npz(path))


def use_cifar(rng: Rng, path: Path) -> str:
    return repr(tasks.cifar10(path, n=2, train=False))


def use_toml(rng: Rng, path: Path) -> str:
    """Load it, with overrides, validate it; run it where that is soon done."""
    options = [part for text in hostile_toml.overrides(rng) for part in ("--set", text)]
    study = load(path)
    processes = study.processes.values()
    if any(process.flow in SLOW_STARTS for process in processes) or data_memory(study) > MUCH_DATA:
        return "valid"
    soon_done = all((getattr(process, "dt", None) or 1.0) >= 0.1 for process in processes)
    seen = command(["validate", str(path), *(["--json"] if rng.random() < 0.5 else [])])
    check(load(path, tuple(options[1::2])))
    if soon_done and rng.random() < 0.1:
        small = ["--set", "steps=1", "--set", "output.snapshot_every=1"]
        out = ["--out", str(path.parent / "out"), "--no-figures", "--quiet"]
        seen += command(["run", str(path), *out, *options, *small])
    return seen


def use_checkpoint(rng: Rng, path: Path) -> str:
    """Look where the run stands; go on with it where that is soon done, here and there only."""
    start = Checkpoints(path).load()
    if start is None:
        raise ValueError("there is none")
    _differing(start.versions)
    _work(start, path, Options(), None, Ranks())
    return _resumed(path) if rng.random() < 0.2 else "fits"


def use_journal(rng: Rng, path: Path) -> str:
    """Read the file with what its journal would change; go on with it, now and then."""
    partial = path / "run.h5.partial"
    try:
        with mock.patch.object(reader, "BIRTH", 0.0):  # the waiting is the same for any file
            read_in_child(partial, read_source)
            seen = _result(partial)
    except ValueError:
        if rng.random() >= 0.2:
            raise
        seen = ""
    return seen + (_resumed(path) if rng.random() < 0.2 else "")


def _resumed(path: Path) -> str:
    """The command, but with the recovery in a fork of this process: to start another takes a second, and the watch forbids it."""
    with mock.patch.object(resume, "_recover", _recover_in_fork):
        return command(["resume", str(path), "--no-figures"])


def _recover_in_fork(folder: Any, start: Any) -> None:
    try:
        folder.go_on().close()
    except OSError as error:
        raise RunFileError(f"{folder.partial}: {error}") from error
    child = os.fork()
    if child == 0:
        code = 1
        try:
            limit_work(folder.partial.stat().st_size)
            about = {key: getattr(start, key) for key in ("created", "config", "rows", "ended")}
            take_back(folder.partial, about)
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1]:
        raise RunFileError(f"{folder.partial}: cannot be recovered")


def use_hdf5(rng: Rng, path: Path) -> str:
    """Read it in every way there is; what was seen is returned, that secrets may be found in it."""
    read_in_child(path, read_source)  # as the commands do
    errors, seen = [], []
    for read in (_record, _result):
        try:
            seen.append(read(path))
        except ValueError as error:
            errors.append(error)
    file, folder = str(path), str(path.parent / "figures")
    if rng.random() < 0.005:
        seen.append(
            command(["plot", file, "--out", folder] if rng.random() < 0.5 else ["compare", file])
        )
    commands = (
        ["info", file],
        ["info", "--json", file],
        ["compare", "--no-figure", file],
        ["distance", "--json", file, file],
    )
    seen.append(command(commands[rng.integers(4)]))
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
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    code: object = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            PROGRAM.main(args=arguments, prog_name="meanfield")
        except SystemExit as end:
            code = end.code
    said, complaint = (_written(stream) for stream in (out, err))
    if code not in (None, 0, 1, 2) or "Traceback" in complaint:
        raise SystemExit(f"exit code {code}: {complaint}")
    if code and not complaint.strip() and "valid" not in said:
        raise SystemExit("refused without a word")
    if "--json" in arguments and not code:
        json.loads(said, parse_constant=_no_constant)
    return said + complaint


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    content: bytes = stream.buffer.getvalue()  # type: ignore[attr-defined]
    return content.decode()


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
    """A configuration any text of which may be the name of an output."""
    try:
        settings = tomllib.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError("not TOML") from error
    for text in _texts(settings):
        try:
            with (path.parent / text).open("a"):
                pass
        except (OSError, ValueError):
            continue
    return "made"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _texts(entry)


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
    return [f"{p}/{group}/{name}" for p in _PROCESSES for group in ("observables", "snapshots") if group in file.get(p, {})
            for name in file[f"{p}/{group}"]]  # fmt: skip


def unsafe_checkpoint(rng: Rng, path: Path) -> str:
    """What the newer checkpoint says, word for word."""
    both = [hostile_resume.parts((path / name).read_bytes()) for name in NAMES]
    head, content = max(both, key=lambda part: part[0]["number"])
    position, arrays, start = head["position"], {}, 0
    for name, dtype, shape in head["arrays"]:
        arrays[name] = np.frombuffer(content, dtype, math.prod(shape), start).reshape(shape)
        start += arrays[name].nbytes
    left = load_text(head["config"]).steps - position["step"]
    return f"{left} {position['wall_time'] + 1.0} {arrays['values'] + 1.0}"


def unsafe_journal(rng: Rng, path: Path) -> str:
    """The file with what its journal puts anywhere in it, read by this very process."""
    content = hostile_resume.journal_path(path / "run.h5.partial").read_bytes()[32:]
    size, count = struct.unpack_from("<QQ", content)
    position = 16 * (1 + count)
    with (path / "run.h5.partial").open("r+b") as file:
        for i in range(count):
            offset, length = struct.unpack_from("<QQ", content, 16 * (1 + i))
            file.seek(offset)
            file.write(content[position : position + length])
            position += length
        file.truncate(size)
    with h5py.File(path / "run.h5.partial") as changed:
        return repr([_shown(changed[name]["observables/train_loss"][...]) for name in _PROCESSES])


WRITERS: dict[str, Write] = {
    "toml": hostile_toml.write,
    "npz": hostile_npz.write,
    "hdf5": hostile_hdf5.write,
    "cifar": hostile_cifar.write,
    "checkpoint": hostile_resume.write_checkpoint,
    "journal": hostile_resume.write_journal,
}
USES: dict[str, Use] = {
    "toml": use_toml,
    "npz": use_npz,
    "hdf5": use_hdf5,
    "cifar": use_cifar,
    "checkpoint": use_checkpoint,
    "journal": use_journal,
}
UNSAFE: dict[str, Use] = {
    "toml": unsafe_toml,
    "npz": unsafe_npz,
    "hdf5": unsafe_hdf5,
    "cifar": unsafe_cifar,
    "checkpoint": unsafe_checkpoint,
    "journal": unsafe_journal,
}
