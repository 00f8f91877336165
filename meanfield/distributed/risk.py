"""Risks whose evaluation is shared by MPI ranks."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meanfield import _evaluation
from meanfield._digest import digest
from meanfield.distributed.communicator import SupportsArrays
from meanfield.risk import Risk
from solvers._support.arguments import wrong_shape

Array = NDArray[np.floating[Any]]


class _Share(NamedTuple):
    """The share of one rank of N particles: consecutive whole groups."""

    groups: slice
    rows: slice
    bounds: _evaluation.Bounds  #: of its groups, relative to its own first row
    n_groups: int  #: of all ranks


@lru_cache
def _shares(n_particles: int, size: int) -> tuple[_Share, ...]:
    """The shares of all ranks; empty ones where there are fewer groups than ranks."""
    bounds = _evaluation.group_bounds(n_particles)
    n_groups = len(bounds) - 1
    shares = []
    for rank in range(size):
        first, end = rank * n_groups // size, (rank + 1) * n_groups // size
        begin = bounds[first]
        own = tuple(bound - begin for bound in bounds[first : end + 1])
        shares.append(_Share(slice(first, end), slice(begin, bounds[end]), own, n_groups))
    return tuple(shares)


class _SharedRisk(Risk):
    """A risk of which every rank computes the contribution of its groups of particles."""

    def __init__(self, risk: Risk, communicator: SupportsArrays) -> None:
        super().__init__(risk.network, risk.task, risk.loss, risk.weight_decay, risk.dtype)
        self._data, self._targets = risk._data, risk._targets
        self.communicator = communicator

    def largest(self, number: float) -> float:
        """The maximum of a number over the ranks, NaN if one is NaN."""
        return float(np.max(self.communicator.numbers(number)))

    def _shares(self, n_particles: int) -> tuple[_Share, ...]:
        return _shares(n_particles, self.communicator.size)

    def _share(self, n_particles: int) -> _Share:
        return self._shares(n_particles)[self.communicator.rank]

    def _counts(self, n_particles: int) -> list[int]:
        return [share.rows.stop - share.rows.start for share in self._shares(n_particles)]

    def _jet_of_all(
        self,
        own: Array,
        n_particles: int,
        direction: Array | None,
        order: int,
        masses: Array | None = None,
        memory: _evaluation.Memory | None = None,
    ) -> Array:
        """f_ρ of all particles and its derivatives, from this rank's own: the only exchange of an evaluation."""
        share = self._share(n_particles)
        shape = (order + 1, len(self._data), self.network.output_dim)
        sums = np.zeros((share.n_groups, *shape), own.dtype)
        sums[share.groups] = _evaluation.group_sums(
            self.network.architecture,
            own,
            self._data,
            share.bounds,
            direction,
            order,
            masses,
            memory,
        )
        self.communicator.add(sums)
        return _evaluation.mean_of(sums, n_particles)

    def _check_same(self, array: Array) -> None:
        """Raise where the ranks do not hold the same array, as on machines whose arithmetic differs in the last digit."""
        self._check_same_number(float(np.sum(array, dtype=np.float64)))

    def _check_same_number(self, number: float) -> None:
        numbers = self.communicator.numbers(number)
        if not np.array_equal(numbers, np.full_like(numbers, numbers[0]), equal_nan=True):
            raise RuntimeError(
                "all ranks must hold the same particles, got different ones; use the same machines and libraries"
            )


class SpreadRisk(_SharedRisk):
    """The risk of N particles distributed over ranks: x is this rank's share of them, (N_own, D).

    Every method is collective. ``value`` and ``inner`` are those of all N particles, ``gradient``, ``hvp``
    and ``third`` this rank's rows: the same as for a `Risk` on all particles, bit for bit. Created by
    `meanfield.distributed.spread`.

    Examples
    --------
    >>> from meanfield import distributed
    >>> task = meanfield.tasks.Task([[1.0], [-1.0]], [1.0, -1.0])
    >>> risk = meanfield.Risk(meanfield.TwoLayerNetwork(input_dim=1), task)
    >>> x0 = risk.network.initialize(64, seed=0)

    >>> spread = distributed.spread(risk, n_particles=64)
    >>> own = spread.own(x0)  # this rank's particles
    >>> np.array_equal(spread.gather(spread.gradient(own)), risk.gradient(x0))
    True
    """

    def __init__(self, risk: Risk, n_particles: int, communicator: SupportsArrays) -> None:
        super().__init__(risk, communicator)
        self.n_particles = n_particles
        n_groups = self._share(n_particles).n_groups
        if communicator.size > n_groups:
            raise ValueError(
                f"n_particles must be enough for a group of particles on each of the {communicator.size} ranks, "
                f"got {n_particles}, which form {n_groups} groups"
            )

    @cached_property
    def rows(self) -> slice:
        """The rows of this rank among the N particles."""
        return self._share(self.n_particles).rows

    def own(self, whole: ArrayLike) -> Array:
        """The share (…, N_own, D) of this rank in arrays (…, N, D) that all ranks have.

        Raises
        ------
        ValueError
            For another number of particles than N.
        RuntimeError
            The ranks do not hold the same array.
        """
        whole = np.asarray(whole)
        if whole.ndim < 2 or whole.shape[-2] != self.n_particles:
            raise wrong_shape("whole", f"(…, {self.n_particles}, D)", whole.shape)
        self._check_same_number(int(digest(whole)[:12], 16))  # below 2^53
        return np.ascontiguousarray(whole[..., self.rows, :])

    def gather(self, share: ArrayLike) -> Array:
        """The whole (…, N, D), on every rank, of arrays of which each rank has its share (…, N_own, D)."""
        rows = np.moveaxis(np.asarray(share), -2, 0)
        whole = self.communicator.join(rows, self._counts(self.n_particles))
        return np.ascontiguousarray(np.moveaxis(whole, 0, -2))

    def inner(self, u: ArrayLike, v: ArrayLike) -> float:
        u, v = np.asarray(u), np.asarray(v)
        share = self._share(self.n_particles)
        sums = np.zeros(share.n_groups)
        sums[share.groups] = _evaluation.inner_sums(u, v, share.bounds)
        self.communicator.add(sums)
        return _evaluation.inner_of(sums, self.n_particles)

    def _jet(
        self,
        x: Array,
        weights: Array | None,
        direction: Array | None = None,
        order: int = 0,
        memory: _evaluation.Memory | None = None,
    ) -> Array:
        return self._jet_of_all(x, self.n_particles, direction, order, memory=memory)

    def _gradient_jet(
        self,
        x: Array,
        residuals: list[Array],
        direction: Array | None = None,
        memory: _evaluation.Memory | None = None,
    ) -> Array:
        groups = self._share(self.n_particles).bounds
        scaled = self._scaled(residuals)
        return _evaluation.gradient_jet(
            self.network.architecture, x, self._data, scaled, direction, groups, memory
        )

    def _particles(self, name: str, value: ArrayLike) -> Array:
        x = super()._particles(name, value)
        own = self.rows.stop - self.rows.start
        if len(x) != own:
            raise ValueError(
                f"{name} must have the {own} particles of this rank, of {self.n_particles}, got {len(x)}"
            )
        return x

    def _weights(self, value: ArrayLike | None, x: Array) -> None:
        if value is not None:
            raise ValueError(
                "weights must be None for particles distributed over ranks, got weights; see `gathered`"
            )


class GatheredRisk(_SharedRisk):
    """The risk of particles that every rank stores completely, each evaluating its share.

    The same as a `Risk`, bit for bit. Created by `meanfield.distributed.gathered`.

    Examples
    --------
    >>> from meanfield import distributed
    >>> task = meanfield.tasks.Task([[1.0], [-1.0]], [1.0, -1.0])
    >>> risk = meanfield.Risk(meanfield.TwoLayerNetwork(input_dim=1), task)
    >>> x0 = risk.network.initialize(64, seed=0)

    >>> distributed.gathered(risk).value(x0) == risk.value(x0)
    True
    """

    def _jet(
        self,
        x: Array,
        weights: Array | None,
        direction: Array | None = None,
        order: int = 0,
        memory: _evaluation.Memory | None = None,
    ) -> Array:
        self._check_same(x if direction is None else direction)
        n, rows = len(x), self._share(len(x)).rows
        masses = None if weights is None else (n * weights)[rows]
        along = None if direction is None else direction[rows]
        return self._jet_of_all(x[rows], n, along, order, masses, memory)

    def _gradient_jet(
        self,
        x: Array,
        residuals: list[Array],
        direction: Array | None = None,
        memory: _evaluation.Memory | None = None,
    ) -> Array:
        _, rows, groups, _ = self._share(len(x))
        along = None if direction is None else direction[rows]
        scaled = self._scaled(residuals)
        own = _evaluation.gradient_jet(
            self.network.architecture, x[rows], self._data, scaled, along, groups, memory
        )
        return self.communicator.join(own, self._counts(len(x)))
