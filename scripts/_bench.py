"""What the benchmarks share: contestants in processes of their own, raced in turn, and what is made of the samples.

A machine's speed changes from second to second, with its clock and with whoever else computes on it. So contestants are never
timed one after the other but in rounds, A, B, C, A, B, C, …, and compared by medians; a slow one takes part in every few rounds
only, spread over the whole race. Each lives in a process of its own, started with the same number of threads for every library
there is, so none sees another's threads, allocator or settings, and its memory is its own.
"""

from __future__ import annotations

import ctypes
import gc
import json
import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

_THREADS = (
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NPROC",  # XLA's pool of threads on a CPU
)
_PAUSE = 0.01  # between contestants: idle threads of a parallel region go on spinning for a while


class ContestantError(RuntimeError):
    """A contestant's process failed, or did not answer in time."""


class Contestant(Protocol):
    """Made in the contestant's process; what is resident in memory afterwards is its imports'."""

    def prepare(self) -> dict[str, Any]:
        """Make the data, call once whatever compiles; returns what there is to tell."""

    def calls(self) -> Mapping[str, Callable[[], Any]]:
        """What can be timed, by name."""


# --- a contestant's process ----------------------------------------------------------------------


class Process:
    """A contestant, made there by ``"module:factory"`` with keyword arguments."""

    def __init__(
        self, factory: str, arguments: dict[str, Any], threads: int, timeout: float = 600.0
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self.timeout = timeout
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, factory, arguments))
        with _environment(threads):
            self._process.start()
        theirs.close()
        try:
            self.about: dict[str, Any] = self._answer()
        except ContestantError:
            self.close()
            raise

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the contestant there, or one of `_Server`."""
        self._connection.send((method, arguments))
        return self._answer()

    def _answer(self) -> Any:
        try:
            if not self._connection.poll(self.timeout):
                raise ContestantError(f"no answer within {self.timeout:.0f} s")
            kind, answer = self._connection.recv()
        except (EOFError, OSError) as error:
            self._process.join(5)
            raise ContestantError(
                f"its process ended, exit code {self._process.exitcode}"
            ) from error
        if kind == "failed":
            raise ContestantError(answer)
        return answer

    def close(self) -> None:
        self._connection.close()
        self._process.join(0.5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """Environment of a process that is started within: so many threads for everything, before anything is imported."""
    eigen = "true" if threads > 1 else "false"
    ours = dict.fromkeys(_THREADS, str(threads)) | {
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={eigen}",
        "JAX_PLATFORMS": "cpu",
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
    }
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Server:
    """What every contestant's process can be asked besides its own methods."""

    def __init__(self, contestant: Contestant) -> None:
        self.contestant = contestant
        self.calls: Mapping[str, Callable[[], Any]] = {}
        self.imports = 0
        self.steps_only = False

    def prepare(self) -> dict[str, Any]:
        give_back_free_memory()
        self.imports = resident_bytes()
        about = self.contestant.prepare()
        self.calls = self.contestant.calls()
        return about

    def sample(self, name: str, repeats: int, warm: int) -> tuple[float, float]:
        """Seconds and seconds of all cores, of one call."""
        call = self.calls[name]
        for _ in range(warm):
            call()
        cores, began = time.process_time(), time.perf_counter()
        for _ in range(repeats):
            call()
        seconds = time.perf_counter() - began
        return seconds / repeats, (time.process_time() - cores) / repeats

    def memory(self, name: str) -> dict[str, Any]:
        """Bytes at the peak of two more calls and after the imports; of the whole process where the peak cannot be reset."""
        steps_only = reset_peak()
        for _ in range(2):
            self.calls[name]()
        return {"peak": peak_bytes(), "imports": self.imports, "of_calls_only": steps_only}


def _serve(connection: Any, factory: str, arguments: dict[str, Any]) -> None:
    try:
        os.dup2(2, 1)  # what a library prints must not end up in the table
        module, name = factory.split(":")
        server = _Server(getattr(import_module(module), name)(**arguments))
        connection.send(("ok", server.prepare()))
        while True:
            method, args = connection.recv()
            own = hasattr(_Server, method)
            connection.send(("ok", getattr(server if own else server.contestant, method)(*args)))
    except (EOFError, KeyboardInterrupt):
        pass
    except Exception as error:
        text = str(error).strip().split("\n")[0]
        connection.send(("failed", f"{type(error).__name__}: {text}"))


def give_back_free_memory() -> None:
    """What imports and compilers have freed, to the system, so that it does not pass for theirs (glibc)."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def resident_bytes() -> int:
    """Of this process, now."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return peak_bytes()


def peak_bytes() -> int:
    """The most that was resident at once."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def reset_peak() -> bool:
    """Whether the peak now counts from here (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


# --- the race ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Timing:
    """Seconds per call: median and quartiles of so many samples of so many calls; median of the seconds of all cores.

    The latter hardly feel who else computes on the machine.
    """

    median: float
    lower: float
    upper: float
    samples: int
    repeats: int
    cpu: float

    @classmethod
    def of(cls, samples: Sequence[tuple[float, float]], repeats: int) -> Timing:
        seconds = [s for s, _ in samples]
        lower, median, upper = quartiles(seconds)
        cpu = statistics.median(c for _, c in samples)
        return cls(median, lower, upper, len(samples), repeats, cpu)


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Interpolated between the values."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return lower, median, upper


@dataclass(frozen=True)
class Lane:
    """What is raced: a call of a contestant."""

    process: Process
    call: str


@dataclass(frozen=True)
class Plan:
    """rounds; budget : seconds of a lane's samples in all, unless its least number takes longer; sample : seconds of one."""

    rounds: int = 21
    least: int = 3
    budget: float = 6.0
    sample: float = 0.05


def race(lanes: Mapping[str, Lane], plan: Plan) -> tuple[dict[str, Timing], dict[str, str]]:
    """Timings by name, and why others have none."""
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in lanes}
    failed: dict[str, str] = {}
    repeats, every = {}, {}
    for name, lane in lanes.items():  # not counted: caches, and threads that start
        try:
            estimate = min(lane.process.ask("sample", lane.call, 1, warm)[0] for warm in (1, 0))
        except ContestantError as error:
            failed[name] = str(error)
            continue
        repeats[name] = max(1, min(round(plan.sample / estimate), 10_000))
        cost = plan.rounds * repeats[name] * estimate
        stride = math.ceil(cost / plan.budget)
        every[name] = max(1, min(stride, plan.rounds // plan.least))
    for k in range(plan.rounds):
        for name, lane in lanes.items():
            if name in failed or k % every[name]:
                continue
            time.sleep(_PAUSE)
            warm = 1 if repeats[name] > 1 else 0
            try:
                sample = lane.process.ask("sample", lane.call, repeats[name], warm)
            except ContestantError as error:
                failed[name] = str(error)
                continue
            samples[name].append(sample)
    done = {n: Timing.of(s, repeats[n]) for n, s in samples.items() if s and n not in failed}
    return done, failed


def start_all(
    makers: Mapping[str, Callable[[], Process]], say: Callable[[str], None]
) -> tuple[dict[str, Process], dict[str, str]]:
    """Processes by name, and why others have none."""
    processes, failed = {}, {}
    for name, make in makers.items():
        try:
            processes[name] = make()
        except ContestantError as error:
            failed[name] = str(error)
            say(f"{name}: left out, {error}")
    return processes, failed


def slope(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """Slope of log y over log x by least squares, and its standard error."""
    u, v = [math.log(x) for x in xs], [math.log(y) for y in ys]
    fit = statistics.linear_regression(u, v)
    rest = sum((b - fit.slope * a - fit.intercept) ** 2 for a, b in zip(u, v, strict=True))
    spread = sum((a - statistics.fmean(u)) ** 2 for a in u)
    error = math.sqrt(rest / max(len(u) - 2, 1) / spread)
    return fit.slope, error


def as_json(value: Any) -> Any:
    """Dataclasses and numbers of NumPy as what JSON has."""
    if isinstance(value, Timing):
        return asdict(value)
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return value.item() if hasattr(value, "item") else value


def save_json(path: Path, data: Mapping[str, Any]) -> None:
    text = json.dumps(as_json(data), indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
