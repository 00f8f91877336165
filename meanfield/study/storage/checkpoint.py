"""Checkpoints: separate files with everything needed to continue a run identically.

A file has a line with its format, a line with the digest of all that follows, a line of JSON, and the bytes of the arrays
that it names. Two files are written alternately, each under a temporary name first, so that one of them is always complete.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from meanfield.study.storage.files.fault_tolerant import FaultTolerantFile, open_own
from meanfield.study.storage.run_folder import sync_folder
from meanfield.study.storage.schema import Floats, OutputError, RowCounts, Status
from solvers._support.memory import available_memory
from solvers.objective import is_spread
from solvers.state import State

MAGIC = b"meanfield checkpoint\n"
SCHEMA_VERSION = 1
NAMES = ("checkpoint-0", "checkpoint-1")
_DIGEST_LINE = 2 * hashlib.sha256().digest_size + 1
_DTYPES = ("float32", "float64")


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: damaged, or not of this study."""


class NewerCheckpointError(CheckpointError):
    """The checkpoint was written by a newer version; an older checkpoint must not be used instead."""


@dataclass(frozen=True)
class Position:
    """The state of a process after a completely measured row.

    state : from which the flow continues. message : about its start. vectors : eigenvectors from which the next
    measurement of the spectrum starts. readings, wall_time : of its counting.
    """

    state: State
    message: str
    vectors: Floats | None
    readings: Mapping[str, float]
    wall_time: float

    def mapped(self, change: Callable[[Floats], Floats]) -> Position:
        """A copy with transformed arrays."""
        state = self.state
        history = None if state.history is None else change(state.history)
        vectors = None if self.vectors is None else change(self.vectors)
        moved = replace(state, values=change(state.values), history=history)
        return replace(self, state=moved, vectors=vectors)


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run.

    config : the resolved TOML. problem : digest of its data and start. created, versions : the run's attributes. rows : the
    number of rows of each process in the run's file. ended : processes that have ended, and how. process, position : the current
    process, if it has begun. compared, distances : the number of comparisons done, and their values (processes, COMPARISONS,
    times). given : JSON of the objects that the run was given beside its configuration. extends : steps of the finished run
    beside it that it extends, 0 if there is none; processes then start from where that ended.
    """

    config: str
    problem: str
    created: str
    versions: str
    rows: Mapping[str, RowCounts] = field(default_factory=dict)
    ended: Mapping[str, tuple[Status, str]] = field(default_factory=dict)
    process: str = ""
    position: Position | None = None
    compared: int = 0
    distances: Floats | None = None
    given: str = ""
    extends: int = 0

    def of_all(self, objective: Any) -> Checkpoint:
        """The checkpoint of all particles, where the position is a rank's share on a distributed objective; collective."""
        if self.position is None or not is_spread(objective):
            return self
        return replace(self, position=self.position.mapped(objective.gather))

    def encoded(self, number: int) -> Iterator[bytes | memoryview]:
        """The bytes of the `number`-th file of the run."""
        about: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "number": number}
        about |= {key: getattr(self, key) for key in ("config", "problem", "created", "versions")}
        about |= {"rows": self.rows, "ended": self.ended, "compared": self.compared}
        about |= {"given": self.given, "extends": self.extends}
        arrays = {} if self.distances is None else {"distances": self.distances}
        if self.position is not None:
            state = self.position.state
            about["position"] = {
                "process": self.process,
                "step": state.step,
                "dissipated": float(state.dissipated),
                "report": {name: float(value) for name, value in state.report.items()},
                "message": self.position.message,
                "readings": dict(self.position.readings),
                "wall_time": self.position.wall_time,
            }
            if state.scheme:
                about["position"]["scheme"] = dict(state.scheme)
            named = {
                "values": state.values,
                "history": state.history,
                "vectors": self.position.vectors,
            }
            arrays |= {name: array for name, array in named.items() if array is not None}
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        about["arrays"] = [[name, a.dtype.name, a.shape] for name, a in arrays.items()]
        head = json.dumps(about).encode() + b"\n"
        contents: list[bytes | memoryview] = [head]
        contents += [a.reshape(-1).view(np.uint8).data for a in arrays.values() if a.size]
        digest = hashlib.sha256()
        for content in contents:
            digest.update(content)
        return iter([MAGIC, digest.hexdigest().encode() + b"\n", *contents])

    @classmethod
    def decoded(cls, content: bytes) -> tuple[int, Checkpoint]:
        """The checkpoint and its number in the run.

        Raises
        ------
        CheckpointError
            It is incomplete, or a newer version wrote it.
        """
        body = memoryview(content)[len(MAGIC) + _DIGEST_LINE :]
        digest = content[len(MAGIC) : len(MAGIC) + _DIGEST_LINE]
        if (
            not content.startswith(MAGIC)
            or digest != hashlib.sha256(body).hexdigest().encode() + b"\n"
        ):
            raise CheckpointError("damaged or incomplete")
        try:
            end = content.index(b"\n", len(MAGIC) + _DIGEST_LINE) + 1
            about = json.loads(content[len(MAGIC) + _DIGEST_LINE : end])
            version = about["schema_version"]
            if version > SCHEMA_VERSION:
                raise NewerCheckpointError(
                    f"schema version must be at most {SCHEMA_VERSION}, got {version}: a newer meanfield wrote it"
                )
            arrays = dict(_arrays(about["arrays"], memoryview(content)[end:]))
            return _count(about["number"]), cls._of(about, arrays)
        except (
            LookupError,
            TypeError,
            AttributeError,
            RecursionError,
            ValueError,
            ArithmeticError,
        ) as error:
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(f"not a checkpoint of a run ({error!r})") from error

    @classmethod
    def _of(cls, about: dict[str, Any], arrays: dict[str, Floats]) -> Checkpoint:
        position, process = None, ""
        if (at := about.get("position")) is not None:
            process = str(at["process"])
            position = Position(
                state=State(
                    int(at["step"]),
                    arrays["values"],
                    float(at["dissipated"]),
                    arrays.get("history"),
                    {str(name): float(value) for name, value in at["report"].items()},
                    scheme={str(k): float(v) for k, v in at.get("scheme", {}).items()},
                ),
                message=str(at["message"]),
                vectors=arrays.get("vectors"),
                readings={str(name): _number(value) for name, value in at["readings"].items()},
                wall_time=float(at["wall_time"]),
            )
        return cls(
            **{key: str(about[key]) for key in ("config", "problem", "created")},
            versions=_versions(about["versions"]),
            rows={name: RowCounts(*map(_count, rows)) for name, rows in about["rows"].items()},
            ended={
                name: (_status(status), str(message))
                for name, (status, message) in about["ended"].items()
            },
            process=process,
            position=position,
            compared=_count(about["compared"]),
            distances=arrays.get("distances"),
            given=str(about.get("given", "")),
            extends=_count(about.get("extends", 0)),
        )


def _arrays(about: list[Any], content: memoryview) -> Iterator[tuple[str, Floats]]:
    begin = 0
    for name, dtype, shape in about:
        if dtype not in _DTYPES:
            raise ValueError(
                f"{name} must have one of the dtypes {', '.join(_DTYPES)}, got {dtype}"
            )
        size = math.prod(map(_count, shape))
        end = begin + size * np.dtype(dtype).itemsize
        if end > len(content):
            raise ValueError(f"{name} must have {size} numbers, got fewer")
        yield str(name), np.frombuffer(content[begin:end], dtype).reshape(shape).copy()
        begin = end


def _status(value: Any) -> Status:
    if value not in get_args(Status):
        raise ValueError(f"a status must be one of {', '.join(get_args(Status))}, got {value!r}")
    return cast(Status, value)


def _versions(text: Any) -> str:
    versions = json.loads(text)
    if not all(isinstance(version, str) for version in versions.values()):
        raise ValueError(f"versions must be strings by name, got {text!r:.100}")
    return str(text)


def _count(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"a count must be an integer of at least 0, got {value!r}")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float):
        raise ValueError(f"a time must be a number, got {value!r}")
    return value


def _content(path: Path) -> bytes:
    with open(path, "rb", opener=open_own) as file:
        size, most = os.fstat(file.fileno()).st_size, available_memory()
        if most is not None and size > most:
            raise CheckpointError(
                f"the file must have at most {most} bytes to fit the memory, got {size}"
            )
        return file.read()


def _remove(path: Path) -> None:
    with suppress(OSError):  # it does not exist, or is not a run's file
        path.unlink()


class Checkpoints:
    """The checkpoints in the folder of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._paths = [folder / name for name in NAMES]
        self._next = 0

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the older of the two atomically, safe against power loss.

        Raises
        ------
        OutputError
            It cannot be written; the others are kept.
        """
        path = self._paths[self._next % 2]
        temporary = path.with_name(path.name + ".new")
        try:
            with FaultTolerantFile(temporary, "wb", opener=open_own) as file:
                for part in checkpoint.encoded(self._next):
                    file.write(part)
                if file.error is not None:
                    raise file.error
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            _remove(temporary)
            raise OutputError(
                f"{path}: cannot write: {error.strerror}; the checkpoint before is kept"
            ) from error
        sync_folder(self.folder)
        self._next += 1

    def load(self) -> Checkpoint | None:
        """The newest complete checkpoint; None if there is none.

        Raises
        ------
        CheckpointError
            No existing one can be used, or a newer version wrote one.
        """
        found: dict[int, Checkpoint] = {}
        troubles = []
        for path in self._paths:
            try:
                number, checkpoint = Checkpoint.decoded(_content(path))
                found[number] = checkpoint
            except FileNotFoundError:
                continue
            except NewerCheckpointError as error:
                raise NewerCheckpointError(f"{path}: {error}") from None
            except (CheckpointError, OSError) as error:
                troubles.append(f"{path}: {error}")
        if found:
            newest = max(found)
            self._next = newest + 1
            return found[newest]
        if troubles:
            raise CheckpointError("\n".join(troubles))
        return None

    def remove(self) -> None:
        """Remove all checkpoints."""
        for path in self._paths:
            _remove(path)
            _remove(path.with_name(path.name + ".new"))
