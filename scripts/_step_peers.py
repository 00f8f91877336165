"""One step of full-batch gradient descent on the mean-field two-layer risk, as users of several libraries would write it.

    f(x) = (1/N) Σ_i a_i tanh(w_i·x + b_i),    R = (1/2n) Σ_k (f(x_k) − y_k)²,    θ ← θ − η N ∂R/∂θ

With z = XWᵀ, h = tanh z, r = (f − y)/n (inputs X (n, d+1) with a column of ones, W (N, d+1) with the bias):

    N ∂R/∂a_i = Σ_k r_k h_ki,    N ∂R/∂w_i = a_i [Σ_k r_k x_k − Σ_k h²_ki r_k x_k]

which is what the explicit peers compute: one N × n array, overwritten by z, h, h² in turn, and no other pass over it than
two products with a vector and one with X.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

ETA = 1e-3
TILES = (256, 1024, 4096)  # particles


class Size(NamedTuple):
    particles: int
    data: int
    inputs: int

    def __str__(self) -> str:
        return f"{self.particles}x{self.data}x{self.inputs}"


class Problem(NamedTuple):
    """Particles (N,) and (N, d+1), inputs (n, d+1), targets (n,)."""

    outer: Any
    inner: Any
    inputs: Any
    targets: Any


def draw(size: Size, dtype: str) -> Problem:
    """Normal particles, pre-activations of variance 2, targets of variance 1; without temporaries of the particles' size."""
    rng = np.random.default_rng(0)
    N, n, d = size
    outer = rng.standard_normal(N, dtype=dtype)
    inner = rng.standard_normal((N, d + 1), dtype=dtype)
    inputs = rng.standard_normal((n, d + 1), dtype=dtype)
    inputs /= np.asarray(max(d, 1) ** 0.5, dtype)
    inputs[:, d] = 1
    return Problem(outer, inner, inputs, rng.standard_normal(n, dtype=dtype))


class Step:
    """A contestant: `step` moves its own particles, `gradient` is at the start."""

    libraries: tuple[str, ...] = ()

    def __init__(self, size: list[int], dtype: str, threads: int) -> None:
        self.size, self.dtype, self.threads = Size(*size), dtype, threads
        self.load()

    def load(self) -> None:
        """Imports, and what they put off until the first call."""

    def prepare(self) -> dict[str, Any]:
        return self.build(draw(self.size, self.dtype)) or {}

    def build(self, problem: Problem) -> dict[str, Any] | None:
        raise NotImplementedError

    def step(self) -> None:
        raise NotImplementedError

    def gradient(self) -> Any:
        """N ∂R/∂θ, (N, D), D = (a, w, b)."""
        raise NotImplementedError

    def calls(self) -> Mapping[str, Callable[[], Any]]:
        return {"step": self.step}

    def check(self, path: str) -> dict[str, float]:
        """Relative distance of the gradient to a saved one: in the 2-norm, and at the worst entry over the largest."""
        return errors(self.gradient(), np.load(path, mmap_mode="r"))

    def save(self, path: str) -> None:
        np.save(path, self.gradient())


def errors(gradient: Any, exact: Any) -> dict[str, float]:
    total = size = worst = largest = 0.0
    for i in range(0, len(exact), 4096):  # no array of the particles' size
        e = np.asarray(exact[i : i + 4096], dtype=np.float64)
        gap = np.asarray(gradient[i : i + 4096], dtype=np.float64) - e
        total, size = total + float(np.vdot(gap, gap)), size + float(np.vdot(e, e))
        worst, largest = max(worst, float(abs(gap).max())), max(largest, float(abs(e).max()))
    return {"relative": (total / size) ** 0.5, "worst": worst / largest}


class Ours(Step):
    """``meanfield.Risk(...).gradient(x)``, and a step with it."""

    libraries = ("numba",)

    def load(self) -> None:
        import meanfield

        self.meanfield = meanfield
        self._risk(draw(Size(64, 8, self.size.inputs), self.dtype)).gradient(self._x(64))

    def _risk(self, p: Problem) -> Any:
        network = self.meanfield.TwoLayerNetwork(self.size.inputs)
        task = self.meanfield.tasks.Task(p.inputs[:, :-1], p.targets[:, None], "normal")
        return self.meanfield.Risk(network, task, dtype=self.dtype)

    def _x(self, particles: int) -> Any:
        return np.full((particles, self.size.inputs + 2), 0.1, self.dtype)

    def build(self, problem: Problem) -> None:
        self.risk = self._risk(problem)
        self.x = np.empty((self.size.particles, self.size.inputs + 2), self.dtype)
        self.x[:, 0], self.x[:, 1:] = problem.outer, problem.inner
        self.risk.gradient(self.x)

    def step(self) -> None:
        g = self.risk.gradient(self.x)
        g *= g.dtype.type(-ETA)
        self.x += g

    def gradient(self) -> Any:
        return self.risk.gradient(self.x)


class Derivatives(Ours):
    """Gradient, Hessian product and third derivative of ours."""

    def build(self, problem: Problem) -> None:
        super().build(problem)
        rng = np.random.default_rng(1)
        self.v = rng.standard_normal(self.x.shape, dtype=self.dtype)

    def calls(self) -> Mapping[str, Callable[[], Any]]:
        return {
            "gradient": lambda: self.risk.gradient(self.x),
            "hvp": lambda: self.risk.hvp(self.x, self.v),
            "third": lambda: self.risk.third(self.x, self.v),
        }


class NumPy(Step):
    """The explicit formulas with every array made once."""

    libraries = ("numpy",)

    def build(self, problem: Problem) -> None:
        self.p = problem
        N, n, d = self.size
        self.h = np.empty((N, n), self.dtype)
        self.grad_outer, self.grad_inner = np.empty(N, self.dtype), np.empty((N, d + 1), self.dtype)
        self._derivatives()

    def _derivatives(self) -> None:
        a, w, x, y = self.p
        h = np.matmul(w, x.T, out=self.h)
        np.tanh(h, out=h)
        r = (a @ h / a.dtype.type(len(a)) - y) / a.dtype.type(len(y))
        np.matmul(h, r, out=self.grad_outer)
        np.multiply(h, h, out=h)
        weighted = r[:, None] * x
        g = np.matmul(h, weighted, out=self.grad_inner)
        np.subtract(weighted.sum(axis=0), g, out=g)
        g *= a[:, None]

    def step(self) -> None:
        self._derivatives()
        eta = self.p.outer.dtype.type(ETA)
        self.grad_outer *= eta
        self.grad_inner *= eta
        np.subtract(self.p.outer, self.grad_outer, out=self.p.outer)
        np.subtract(self.p.inner, self.grad_inner, out=self.p.inner)

    def gradient(self) -> Any:
        self._derivatives()
        return np.column_stack([self.grad_outer, self.grad_inner])


def fastest(ways: Mapping[str, Callable[[], Callable[[], Any]]], seconds: float) -> tuple[str, Any]:
    """Of several ways to make a step the one that is fastest, each with a limit of time."""
    best, chosen, step, reasons = float("inf"), "", None, []
    for name, make in ways.items():
        try:
            with _limit(seconds):
                candidate = make()
                for _ in range(2):
                    candidate()
                taken = _least(candidate)
        except Exception as error:  # what a compiler raises is anyone's guess
            reasons.append(f"{name}: {type(error).__name__}: {str(error).splitlines()[:1]}")
            continue
        if taken < best:
            best, chosen, step = taken, name, candidate
    if step is None:
        raise RuntimeError("; ".join(reasons))
    return chosen, step


def _least(call: Callable[[], Any], seconds: float = 0.5) -> float:
    """Of the times of two calls, or of as many as fit into so many seconds."""
    times: list[float] = []
    while len(times) < 2 or sum(times) < seconds:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TimeoutError(f"took more than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
