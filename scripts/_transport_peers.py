"""Contestants of a transport distance between equal numbers of points in space.

The distance that is timed is between a normal sample and one of a mixture of two normal laws. The error is taken where the
distance is known: y_i = s x_i + t in shuffled order. The map is the gradient of a convex function, so it is optimal, and

    W2² = (1/n) Σ_i |(s − 1) x_i + t|²,    SW2² = W2²/D (for it is monotone along every direction),    S_ε = |t|² for s = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

EPSILON = 0.1  # per dimension, of the entropic ones: our default for two normal laws
_ITERATIONS = 10_000  # theirs, at most
_KNOWN = 1000  # points, at most, of the known distance


class _Distance:
    """A contestant; ``distance(x, y)`` is the one number that is compared."""

    needs = "solvers"
    kind = "exact"

    def __init__(self, n: int, dimension: int, projections: int, threads: int) -> None:
        self.n, self.dimension, self.projections = n, dimension, projections
        self.threads = threads
        self.load()

    def load(self) -> None:
        """Imports."""

    def distance(self, x: Any, y: Any) -> float:
        raise NotImplementedError

    def prepare(self) -> dict[str, Any]:
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal((self.n, self.dimension))
        self.y = 0.5 * rng.standard_normal((self.n, self.dimension))
        self.y[:, 0] += np.where(rng.random(self.n) < 0.3, -2.0, 1.0)
        return {}

    def calls(self) -> Mapping[str, Callable[[], Any]]:
        return {"distance": lambda: self.distance(self.x, self.y)}

    def value(self) -> float:
        return float(self.distance(self.x, self.y))

    def error(self) -> float:
        """Relative, on a problem whose solution is known."""
        rng = np.random.default_rng(1)
        x = rng.standard_normal((min(self.n, _KNOWN), self.dimension))
        scale = 1.0 if self.kind == "sinkhorn" else 1.5
        shift = rng.standard_normal(self.dimension)
        y = scale * x + shift
        exact = float(np.sqrt(np.mean(np.sum((y - x) ** 2, axis=1))))
        if self.kind == "sliced":
            exact /= self.dimension**0.5
        return abs(float(self.distance(x, rng.permutation(y))) / exact - 1)


class _Ours(_Distance):
    def load(self) -> None:
        from solvers import transport

        self.transport = transport

    def options(self) -> dict[str, Any]:
        return {}

    def distance(self, x: Any, y: Any) -> float:
        found = self.transport.w2(x, y, method=self.kind, max_bytes=2**40, **self.options())
        return float(found.distance)


class Exact(_Ours):
    pass


class Lazy(_Ours):
    def options(self) -> dict[str, Any]:
        return {"lazy": True}


class Sliced(_Ours):
    kind = "sliced"

    def options(self) -> dict[str, Any]:
        return {"projections": self.projections}


class Sinkhorn(_Ours):
    kind = "sinkhorn"

    def options(self) -> dict[str, Any]:
        return {"regularization": EPSILON * self.dimension, "max_iterations": _ITERATIONS}


class _Pot(_Distance):
    needs = "ot"

    def load(self) -> None:
        import os

        for backend in ("PYTORCH", "JAX", "TENSORFLOW", "CUPY"):  # only NumPy's is used
            os.environ[f"POT_BACKEND_DISABLE_{backend}"] = "1"
        import ot

        self.ot = ot


class PotExact(_Pot):
    def distance(self, x: Any, y: Any) -> float:
        weights = np.full(len(x), 1 / len(x))
        cost = self.ot.dist(x, y)
        return float(np.sqrt(self.ot.emd2(weights, weights, cost, numItermax=10**9)))


class PotSliced(_Pot):
    kind = "sliced"

    def distance(self, x: Any, y: Any) -> float:
        return float(
            self.ot.sliced_wasserstein_distance(x, y, n_projections=self.projections, seed=0)
        )


class PotSinkhorn(_Pot):
    kind = "sinkhorn"

    def distance(self, x: Any, y: Any) -> float:
        squared = self.ot.bregman.empirical_sinkhorn_divergence(
            x, y, reg=EPSILON * self.dimension, stopThr=1e-5, numIterMax=_ITERATIONS
        )
        return float(np.sqrt(max(float(squared), 0.0)))


class SciPyAssignment(_Distance):
    needs = "scipy"

    def load(self) -> None:
        from scipy.optimize import linear_sum_assignment
        from scipy.spatial.distance import cdist

        self.assign, self.cdist = linear_sum_assignment, cdist

    def distance(self, x: Any, y: Any) -> float:
        cost = self.cdist(x, y, "sqeuclidean")
        return float(np.sqrt(cost[self.assign(cost)].mean()))


class GeomLoss(_Distance):
    """Its cost is |x − y|²/2: blur² = ε/2, and twice its value."""

    needs = "geomloss"
    kind = "sinkhorn"

    def load(self) -> None:
        import torch
        from geomloss import SamplesLoss

        torch.set_num_threads(self.threads)
        blur = (EPSILON * self.dimension / 2) ** 0.5
        self.tensor = torch.from_numpy
        self.loss = SamplesLoss("sinkhorn", p=2, blur=blur, scaling=0.9, backend="tensorized")

    def distance(self, x: Any, y: Any) -> float:
        squared = 2 * float(self.loss(self.tensor(x), self.tensor(y)))
        return float(np.sqrt(max(squared, 0.0)))


class Ott(_Distance):
    needs = "ott"
    kind = "sinkhorn"

    def load(self) -> None:
        import jax
        from ott.geometry import pointcloud
        from ott.tools import sinkhorn_divergence

        jax.config.update("jax_enable_x64", True)

        def squared(x: Any, y: Any) -> Any:
            return sinkhorn_divergence.sinkhorn_divergence(
                pointcloud.PointCloud, x, y, epsilon=EPSILON * self.dimension
            )[0]

        self.squared = jax.jit(squared)

    def distance(self, x: Any, y: Any) -> float:
        return float(np.sqrt(max(float(self.squared(x, y)), 0.0)))
