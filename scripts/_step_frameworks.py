"""The frameworks' contestants of a step: PyTorch by hand, in cache tiles, by autograd, compiled; JAX. See ``_step_peers``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from _step_peers import ETA, TILES, Problem, Step, fastest

_SECONDS = 240.0  # for one way of doing it, to compile it and try it


class _Torch(Step):
    libraries = ("torch",)

    def load(self) -> None:
        import torch

        self.torch = torch
        torch.set_num_threads(self.threads)
        torch.set_num_interop_threads(1)
        probe = torch.ones(64, 64)
        torch.mm(probe, probe).tanh_()

    def tensors(self, problem: Problem) -> tuple[Any, ...]:
        return tuple(self.torch.from_numpy(array) for array in problem)


class TorchByHand(_Torch):
    """Forward and backward written out, in place, into arrays made once; data along rows or particles, whichever is faster."""

    def build(self, problem: Problem) -> dict[str, Any]:
        torch = self.torch
        self.a, self.w, self.x, self.y = self.tensors(problem)
        self.f, self.grad_a = torch.empty_like(self.y), torch.empty_like(self.a)
        with torch.no_grad():
            chosen, self._derivatives = fastest(self.ways(), _SECONDS)
        return {"way": chosen}

    def ways(self) -> dict[str, Callable[[], Any]]:
        return {"rows are particles": self._by_particles, "rows are data": self._by_data}

    def _by_particles(self) -> Callable[[], Any]:
        torch, a, w, x = self.torch, self.a, self.w, self.x
        h = torch.empty(len(a), len(x), dtype=a.dtype)
        g = torch.empty_like(w)

        def derivatives() -> Any:
            torch.mm(w, x.t(), out=h).tanh_()
            torch.mv(h.t(), a, out=self.f)
            r, weighted, total = self._residual()
            torch.mv(h, r, out=self.grad_a)
            torch.mm(torch.mul(h, h, out=h), weighted, out=g)
            return w, torch.sub(total, g, out=g).mul_(a[:, None])

        return derivatives

    def _by_data(self) -> Callable[[], Any]:
        torch, a, x = self.torch, self.a, self.x
        w = self.w.t().contiguous()  # the parameters of a user who works this way
        h = torch.empty(len(x), len(a), dtype=a.dtype)
        g = torch.empty_like(w)

        def derivatives() -> Any:
            torch.mm(x, w, out=h).tanh_()
            torch.mv(h, a, out=self.f)
            r, weighted, total = self._residual()
            torch.mv(h.t(), r, out=self.grad_a)
            torch.mm(weighted.t(), torch.mul(h, h, out=h), out=g)
            return w, torch.sub(total[:, None], g, out=g).mul_(a)

        return derivatives

    def _residual(self) -> tuple[Any, Any, Any]:
        r = (self.f / len(self.a) - self.y) / len(self.y)
        weighted = r[:, None] * self.x
        return r, weighted, weighted.sum(0)

    def step(self) -> None:
        with self.torch.no_grad():
            w, g = self._derivatives()
            self.a.sub_(self.grad_a, alpha=ETA)
            w.sub_(g, alpha=ETA)

    def gradient(self) -> Any:
        with self.torch.no_grad():
            _, g = self._derivatives()
            rows = g if len(g) == len(self.a) else g.t()
            return self.torch.cat([self.grad_a[:, None], rows], dim=1).numpy()


class TorchInTiles(TorchByHand):
    """The same in tiles of particles that stay in the cache, tanh computed again in the backward pass; the fastest of `TILES`."""

    def ways(self) -> dict[str, Callable[[], Any]]:
        sizes = [t for t in TILES if t < self.size.particles] or [self.size.particles]
        rows = {f"{t} particles, as rows": lambda t=t: self._tiles_of_rows(t) for t in sizes}
        columns = {
            f"{t} particles, as columns": lambda t=t: self._tiles_of_columns(t) for t in sizes
        }
        return rows | columns

    def _tiles_of_rows(self, tile: int) -> Callable[[], Any]:
        torch, a, w, x = self.torch, self.a, self.w, self.x
        buffer, g = torch.empty(tile, len(x), dtype=a.dtype), torch.empty_like(w)
        cuts = [(i, min(i + tile, len(a))) for i in range(0, len(a), tile)]

        def derivatives() -> Any:
            self.f.zero_()
            for i, j in cuts:
                h = torch.mm(w[i:j], x.t(), out=buffer[: j - i]).tanh_()
                self.f.addmv_(h.t(), a[i:j])
            r, weighted, total = self._residual()
            for i, j in cuts:
                h = torch.mm(w[i:j], x.t(), out=buffer[: j - i]).tanh_()
                torch.mv(h, r, out=self.grad_a[i:j])
                torch.mm(torch.mul(h, h, out=h), weighted, out=g[i:j])
            return w, torch.sub(total, g, out=g).mul_(a[:, None])

        return derivatives

    def _tiles_of_columns(self, tile: int) -> Callable[[], Any]:
        torch, a, x, n = self.torch, self.a, self.x, len(self.x)
        w = self.w.t().contiguous()
        buffer, g = torch.empty(n * tile, dtype=a.dtype), torch.empty_like(w)
        part = torch.empty(w.shape[0] * tile, dtype=a.dtype)
        cuts = [(i, min(i + tile, len(a))) for i in range(0, len(a), tile)]

        def derivatives() -> Any:
            self.f.zero_()
            for i, j in cuts:
                h = torch.mm(x, w[:, i:j], out=buffer[: n * (j - i)].view(n, j - i)).tanh_()
                self.f.addmv_(h, a[i:j])
            r, weighted, total = self._residual()
            for i, j in cuts:
                h = torch.mm(x, w[:, i:j], out=buffer[: n * (j - i)].view(n, j - i)).tanh_()
                torch.mv(h.t(), r, out=self.grad_a[i:j])
                out = part[: w.shape[0] * (j - i)].view(w.shape[0], j - i)
                g[:, i:j] = torch.mm(weighted.t(), torch.mul(h, h, out=h), out=out)
            return w, torch.sub(total[:, None], g, out=g).mul_(a)

        return derivatives


class TorchAutograd(_Torch):
    """Parameters that require gradients, ``backward``, a step in place; the faster of two ways to write the loss."""

    def build(self, problem: Problem) -> dict[str, Any]:
        self.a, self.w, self.x, self.y = self.tensors(problem)
        ways = {
            "rows are data": lambda: lambda: self._backward(_loss_by_data),
            "rows are particles": lambda: lambda: self._backward(_loss_by_particles),
        }
        chosen, self._derivatives = fastest(ways, _SECONDS)
        return {"way": chosen}

    def _backward(self, loss: Callable[..., Any]) -> tuple[Any, Any]:
        # leaves over the same memory: the step moves both
        a, w = (p.detach().requires_grad_() for p in (self.a, self.w))
        loss(a, w, self.x, self.y).backward()
        return a.grad, w.grad

    def step(self) -> None:
        g, G = self._derivatives()
        with self.torch.no_grad():
            self.a.sub_(g, alpha=ETA)
            self.w.sub_(G, alpha=ETA)

    def gradient(self) -> Any:
        g, G = self._derivatives()
        return self.torch.cat([g[:, None], G], dim=1).numpy()


def _loss_by_data(a: Any, w: Any, x: Any, y: Any) -> Any:
    """N times the risk, whose gradient is the mean-field one."""
    return 0.5 * len(a) * ((x @ w.T).tanh() @ a / len(a) - y).square().mean()


def _loss_by_particles(a: Any, w: Any, x: Any, y: Any) -> Any:
    return 0.5 * len(a) * (a @ (w @ x.T).tanh() / len(a) - y).square().mean()


class TorchCompiled(TorchAutograd):
    """``torch.compile`` of explicit formulas or of autograd's loss, default or max-autotune, whichever is fastest."""

    def build(self, problem: Problem) -> dict[str, Any]:
        self.a, self.w, self.x, self.y = self.tensors(problem)
        ways = {
            "explicit, rows are data": lambda: self._explicit(_by_data, "default"),
            "explicit, rows are particles": lambda: self._explicit(_by_particles, "default"),
            "autograd": lambda: self._autograd("default"),
            "explicit, rows are data, max-autotune": lambda: self._explicit(
                _by_data, "max-autotune"
            ),
            "autograd, max-autotune": lambda: self._autograd("max-autotune"),
        }
        chosen, self._derivatives = fastest(ways, _SECONDS)
        return {"way": chosen}

    def _explicit(self, formulas: Callable[..., Any], mode: str) -> Callable[[], Any]:
        compiled = self.torch.compile(formulas, mode=mode)

        def derivatives() -> Any:
            with self.torch.no_grad():
                return compiled(self.a, self.w, self.x, self.y)

        return derivatives

    def _autograd(self, mode: str) -> Callable[[], Any]:
        compiled = self.torch.compile(_loss_by_particles, mode=mode)
        return lambda: self._backward(compiled)


def _by_data(a: Any, w: Any, x: Any, y: Any) -> tuple[Any, Any]:
    h = (x @ w.t()).tanh()
    r = (h @ a / a.shape[0] - y) / y.shape[0]
    return r @ h, (((1 - h * h) * a) * r[:, None]).t() @ x


def _by_particles(a: Any, w: Any, x: Any, y: Any) -> tuple[Any, Any]:
    h = (w @ x.t()).tanh()
    r = (a @ h / a.shape[0] - y) / y.shape[0]
    return h @ r, (((1 - h * h) * a[:, None]) * r) @ x


class Jax(Step):
    """``jit`` of a step with ``grad``, its parameters donated; the faster of two ways to write the loss."""

    libraries = ("jax",)

    def load(self) -> None:
        import jax

        jax.config.update("jax_enable_x64", self.dtype == "float64")
        self.jax = jax
        jax.jit(lambda x: x + 1)(np.ones(4, self.dtype)).block_until_ready()

    def build(self, problem: Problem) -> dict[str, Any]:
        jax, tanh = self.jax, self.jax.numpy.tanh
        *self.parameters, x, y = (jax.device_put(array) for array in problem)
        self.data = x, y
        half_n = 0.5 * self.size.particles

        def outputs_by_data(a: Any, w: Any, x: Any) -> Any:
            return tanh(x @ w.T) @ a

        def outputs_by_particles(a: Any, w: Any, x: Any) -> Any:
            return a @ tanh(w @ x.T)

        def derivatives_of(outputs: Callable[..., Any]) -> Any:
            def loss(parameters: Any, x: Any, y: Any) -> Any:
                return half_n * ((outputs(*parameters, x) / self.size.particles - y) ** 2).mean()

            return jax.grad(loss)

        def ready(derivatives: Any) -> Callable[[], Any]:
            compiled = jax.jit(derivatives)
            return lambda: jax.block_until_ready(compiled(self.parameters, *self.data))

        found = {
            "rows are data": derivatives_of(outputs_by_data),
            "rows are particles": derivatives_of(outputs_by_particles),
        }
        ways = {name: lambda d=d: ready(d) for name, d in found.items()}
        chosen, self._gradient = fastest(ways, _SECONDS)

        def step(parameters: Any, x: Any, y: Any) -> Any:
            pairs = zip(parameters, found[chosen](parameters, x, y), strict=True)
            return [p - ETA * g for p, g in pairs]

        self._step = jax.jit(step, donate_argnums=0)
        return {"way": chosen}

    def step(self) -> None:
        self.parameters = self._step(self.parameters, *self.data)
        self.jax.block_until_ready(self.parameters)

    def gradient(self) -> Any:
        return np.column_stack([np.asarray(g) for g in self._gradient()])


class Reference(Step):
    """Float64 autograd of the same numbers, by PyTorch; without PyTorch the formulas in NumPy."""

    def load(self) -> None:
        pass

    def build(self, problem: Problem) -> dict[str, Any]:
        self.p = Problem(*(np.asarray(array, dtype=np.float64) for array in problem))
        try:
            import torch
        except ImportError:
            self.torch = None
            return {"reference": "explicit formulas in float64, for PyTorch is not installed"}
        torch.set_num_threads(self.threads)
        self.torch = torch
        return {"reference": "PyTorch's autograd in float64"}

    def calls(self) -> dict[str, Callable[[], Any]]:
        return {}

    def gradient(self) -> Any:
        return self._explicit() if self.torch is None else self._autograd()

    def _autograd(self) -> Any:
        torch = self.torch
        a, w, x, y = (torch.from_numpy(array) for array in self.p)
        a.requires_grad_()
        w.requires_grad_()
        f = torch.tanh(x @ w.t()) @ a / len(a)
        (0.5 * len(a) * (f - y).square().mean()).backward()
        return torch.cat([a.grad[:, None], w.grad], dim=1).numpy()

    def _explicit(self) -> Any:
        a, w, x, y = self.p
        h = np.tanh(w @ x.T)
        r = (a @ h / len(a) - y) / len(y)
        return np.column_stack([h @ r, (a[:, None] * (1 - h * h) * r) @ x])
