"""What the machine can do: rates of matrix products, of tanh, of memory; and the least time of a gradient by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import numpy as np
from _step_peers import Size

_MATRIX = {"float64": 1024, "float32": 1536}
_VECTOR = 2048  # elements that a thread evaluates tanh of again and again, in its first caches
_PASSES = 20_000  # so that it takes long against waking the threads
_STREAM = 2**22  # elements; three arrays of them are far larger than caches
#: Up to so many inputs the floor computes tanh twice.
FEW_INPUTS = 32


def floor(size: Size, rates: Mapping[str, float], recompute: bool | None = None) -> float:
    """Seconds of a gradient at the measured rates, arithmetic and tanh in sequence, nothing else.

    A product of N × n pre-activations of d inputs takes 2dNn flops at the rate of matrix products. There are three where z and
    tanh z are computed again in the backward pass, with 2Nn tanh, as in a kernel that holds no N × n array; two, with Nn tanh,
    where the activations are kept:

        recompute: 6dNn / gemm + 2Nn / tanh        keep: 4dNn / gemm + Nn / tanh

    By default the former for d ≤ `FEW_INPUTS`, where products are cheap and an N × n array's memory is not; the latter beyond.
    """
    if recompute is None:
        recompute = size.inputs <= FEW_INPUTS
    pairs = size.particles * size.data
    times = 2 if recompute else 1
    return (2 + 2 * times) * size.inputs * pairs / rates["gemm"] + times * pairs / rates["tanh"]


class Machine:
    """A contestant whose calls do a known amount of work: `work` per call, by name."""

    def __init__(self, dtype: str, threads: int) -> None:
        self.dtype, self.threads = np.dtype(dtype), threads

    def prepare(self) -> dict[str, Any]:
        m = _MATRIX[self.dtype.name]
        left, right, out = (np.full((m, m), 0.5, self.dtype) for _ in range(3))
        self._product = lambda: np.matmul(left, right, out=out)
        tanh, source, triad = _compiled(self.dtype)
        pool = ThreadPoolExecutor(self.threads)
        x = np.linspace(-4, 4, self.threads * _VECTOR, dtype=self.dtype).reshape(self.threads, -1)
        y = np.empty_like(x)
        self._tanh = lambda: list(pool.map(tanh, x, y))
        arrays = np.ones((3, self.threads, _STREAM // self.threads), self.dtype)
        self._stream = lambda: list(pool.map(triad, *arrays))
        for call in self.calls().values():
            call()
        size = self.dtype.itemsize
        work = {"gemm": 2 * m**3, "tanh": x.size * _PASSES, "bandwidth": size * arrays.size}
        return {"work": work, "tanh_of": source}

    def calls(self) -> Mapping[str, Callable[[], Any]]:
        # The product last: for a moment after it the threads of BLAS wait by looking.
        return {"tanh": self._tanh, "bandwidth": self._stream, "gemm": self._product}


def _compiled(dtype: np.dtype[Any]) -> tuple[Any, str, Any]:
    """A loop of tanh and a triad for each thread, which let go of the interpreter's lock; whose tanh it is."""
    import numba

    options: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract", "nsz", "arcp"}}
    try:
        activations = import_module("meanfield._kernels.activations")
        wide_vectors = import_module("meanfield._kernels.jit").wide_vectors
        own, source = activations.jet("tanh", dtype.type), "meanfield._kernels"
    except (ImportError, AttributeError):
        own, wide_vectors = _tanh(dtype.type), numba.njit(lambda: None)
        source = "this script"

    @numba.njit(**options)
    def row(x: Any, y: Any) -> None:
        wide_vectors()
        for j in range(x.size):
            y[j] = own(x[j])[0]

    @numba.njit(nogil=True, **options)
    def evaluate(x: Any, y: Any) -> None:
        for _ in range(_PASSES):
            row(x, y)

    @numba.njit(nogil=True, **options)
    def triad(a: Any, b: Any, c: Any) -> None:
        for i in range(a.size):
            a[i] = b[i] + c[i]

    return evaluate, source, triad


def _tanh(real: Any) -> Any:
    """x ↦ (tanh x,): expm1(−2|x|) by reduction with ln 2 and a Taylor polynomial; without branches, so that loops vectorise."""
    import numba

    single = real is np.float32
    integer = np.int32 if single else np.int64
    bias, shift = integer(127 if single else 1023), integer(23 if single else 52)
    high, low = real(0.693145751953125), real(1.42860682030941723212e-06)
    per_ln2, lowest, two = real(1.4426950408889634), real(-20 if single else -40), real(2)
    expression = "c0"
    constants: dict[str, Any] = {}
    factorial = 1.0
    for k in range(2, 8 if single else 14):
        factorial *= k
        constants[f"c{k - 2}"] = real(1 / factorial)
    for k in reversed(range(len(constants))):
        term = f"c{k}"
        expression = term if k == len(constants) - 1 else f"({expression}) * r + {term}"
    series = numba.njit(error_model="numpy", fastmath={"contract"})(
        eval(f"lambda r: {expression}", constants)
    )
    half, one = real(0.5), real(1)

    @numba.njit(error_model="numpy", fastmath={"contract", "nsz", "arcp"})
    def tanh(x: Any) -> Any:
        y = max(-two * abs(x), lowest)
        k = np.floor(y * per_ln2 + half)
        r = (y - k * high) - k * low
        scale = integer((integer(k) + bias) << shift).view(real)
        e = scale * (series(r) * r * r + r) + (scale - one)
        return (np.copysign(-e / (two + e), x),)

    return tanh
