"""A process that reads hostile files one after the other and says of each what happened; it may well die of one.

``python -m tests.faults.hostile_worker LOADER FOLDER SEED FIRST COUNT [--unsafe]`` prints a line of JSON before and after each.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

MEMORY = (
    6 * 2**30
)  # bytes of address space: who asks for more gets a MemoryError, not the machine's last
CALLS = ("os.system", "os.exec", "os.posix_spawn", "os.forkpty", "subprocess.Popen", "pty.spawn", "socket.connect",
         "socket.bind", "ctypes.dlopen", "pickle.find_class", "webbrowser.open", "os.kill")  # fmt: skip
WRITES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "shutil.rmtree",
          "shutil.move", "shutil.copyfile")  # fmt: skip
# What the compiler keeps on disk, and how it sees that it may: an index, code, and a file without a name in their folder,
# which is beside the sources, or in the cache of the user or of NUMBA_CACHE_DIR with a digest of where the sources are.
COMPILED = re.compile(
    r"/_kernels(/__pycache__|_[0-9a-f]{40})(/[\w.-]+\.nb[ic](\.tmp\.\w+)?|/tmp\w+)?$"
)


class Watch:
    """Hears of every call that Python audits; keeps those that no reader of data has a need for."""

    def __init__(self) -> None:
        self.armed = False
        self.compiles = False  # a study may want the compiler, whose cache holds pickles of its own
        self.home = ""
        self.heard: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.armed or (self.compiles and _is_compiler(event, arguments)):
            return
        if event in CALLS or (event == "exec" and _is_payload(arguments[0])):
            self.heard.append(f"executed: {event} {arguments!r}"[:300])
        elif event in WRITES or (event == "open" and _writes(arguments)):
            path = (
                os.path.realpath(os.fsdecode(arguments[0]))
                if isinstance(arguments[0], str | bytes)
                else ""
            )
            if path and not path.startswith(self.home + os.sep):
                self.heard.append(f"wrote: {event} {path}"[:300])

    @contextmanager
    def watching(self, home: Path) -> Iterator[None]:
        self.home, self.heard, self.armed = os.path.realpath(home), [], True
        try:
            yield
        finally:
            self.armed = False


def _is_compiler(event: str, arguments: tuple[Any, ...]) -> bool:
    if event in ("open", "os.mkdir", "os.rename"):
        return isinstance(arguments[0], str) and bool(COMPILED.search(arguments[0]))
    return event == "pickle.find_class" or (
        event == "ctypes.dlopen" and "libgomp" in str(arguments[0])
    )


def _is_payload(code: Any) -> bool:
    """Of the code that is compiled at run time (typer does so with annotations), that of `hostile_payload`."""
    names = getattr(code, "co_names", ())
    return getattr(code, "co_filename", "") == "<string>" and bool(
        {"__import__", "os"} & set(names)
    )


def _writes(arguments: tuple[Any, ...]) -> bool:
    flags = arguments[2] if len(arguments) > 2 and isinstance(arguments[2], int) else 0
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def main(loader: str, folder: Path, seed: int, first: int, count: int, unsafe: bool) -> None:
    from tests.faults import hostile_hdf5, hostile_resume
    from tests.faults.hostile_targets import UNSAFE, USES, WRITERS

    warnings.simplefilter("ignore")
    write, use = WRITERS[loader], (UNSAFE if unsafe else USES)[loader]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    watch, home = Watch(), folder / "case"
    watch.compiles = loader in ("toml", "checkpoint", "journal")
    if loader == "hdf5":
        hostile_hdf5.write_secret(folder)
    elif loader in ("checkpoint", "journal"):
        hostile_resume.genuine()
    if not unsafe:
        _warm_up(loader, use, folder)
    for number in range(first, first + count):
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        os.chdir(home)
        rng = np.random.default_rng([seed, number])
        path = write(rng, home)
        print(json.dumps({"case": number}), flush=True)
        began = _worked()
        with watch.watching(home), _compilation() as compilation:
            outcome, detail = _outcome(use, rng, path)
        seconds = _worked() - began - compilation()
        if watch.heard:
            outcome, detail = watch.heard[0].partition(":")[0], "; ".join(watch.heard)
        said = {"case": number, "outcome": outcome, "detail": detail[:2000], "seconds": seconds}
        print(
            json.dumps(said | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}),
            flush=True,
        )


def _worked() -> float:
    """Seconds of work, of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _outcome(use: Any, rng: np.random.Generator, path: Path) -> tuple[str, str]:
    from tests.faults.hostile_hdf5 import SECRET, SECRET_TEXT

    try:
        seen = use(rng, path)
    except ValueError as error:
        return ("refused", str(error)) if str(error) else ("wordless", repr(error))
    except BaseException as error:
        lines = traceback.format_exception(error)
        return "traceback", f"{error!r:.200}\n" + "".join(lines[-6:])
    if repr(SECRET) in seen or SECRET_TEXT in seen:
        return "leaked", "another file was read"
    return "accepted", ""


@contextmanager
def _compilation() -> Iterator[Callable[[], float]]:
    """Within it the seconds that Numba takes to compile are counted; they are the same for any file."""
    from numba.core import event

    with event.install_recorder("numba:compile") as recorder:

        def seconds() -> float:
            depth, began, total = 0, 0.0, 0.0
            for at, what in recorder.buffer:
                depth += 1 if what.is_start else -1
                if what.is_start and depth == 1:
                    began = at
                elif depth == 0:
                    total += at - began
            return total

        yield seconds


class _First:
    """A generator that always draws the first of everything."""

    def random(self) -> float:
        return 0.0

    def integers(self, *bounds: int) -> int:
        return 0


def _compile(use: Any, path: Path) -> None:
    """Everything that a study may want compiled."""
    from meanfield.activations import ACTIVATIONS

    for activation in ACTIVATIONS:
        for dtype in ("float64", "float32"):
            text = "steps = 1\n[task]\nn = 3\n[network]\nwidth = 2\nactivation = '{}'\n[risk]\ndtype = '{}'\n"
            path.write_text(text.format(activation, dtype))
            use(_First(), path)


def _derive_tables() -> None:
    """Annotations of our own functions are evaluated when they are first asked for, which is an ``exec``."""
    from meanfield.study.config.processes import PROCESS_SECTIONS
    from meanfield.study.config.sections import INIT_SECTIONS, LANDSCAPE_SECTIONS, TASK_SECTIONS

    for sections in (PROCESS_SECTIONS, INIT_SECTIONS, LANDSCAPE_SECTIONS, TASK_SECTIONS):
        for section in sections.values():
            section.model_fields  # noqa: B018


def _warm_up(loader: str, use: Any, folder: Path) -> None:
    """Imports and compilation are over before the first case."""
    from tests.faults import hostile_hdf5, hostile_npz, hostile_resume

    _derive_tables()
    home = folder / "warm"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    rng = np.random.default_rng(0)
    try:
        if loader == "toml":
            _compile(use, home / "study.toml")
        elif loader == "hdf5":
            (home / "run.h5").write_bytes(hostile_hdf5.genuine(0))
            use(_First(), home / "run.h5")
        elif loader in ("checkpoint", "journal"):
            use(_First(), hostile_resume.write_genuine(home))
        elif loader == "cifar":
            use(rng, home / "nothing")
        elif loader == "npz":
            (home / "task.npz").write_bytes(hostile_npz._plain(rng))
            use(rng, home / "task.npz")
    except (ValueError, SystemExit):
        pass


if __name__ == "__main__":
    name, where, *numbers = sys.argv[1:6]
    main(name, Path(where), *map(int, numbers), unsafe="--unsafe" in sys.argv)
