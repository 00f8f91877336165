"""The largest eigenvalues of a symmetric operator, by a block Lanczos method that certifies that none is missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

_SPARE_PAIRS = 4  # Ritz pairs kept at a restart beyond one for each start
# Vectors of a basis for several pairs: none is restarted where that takes little memory. A restart costs a fifth of the products.
_ROOM, _ROOM_BYTES = 64, 2**25
# A guess is used by itself where less than this of its square is in the basis: it belongs to a multiple eigenvalue.
_NEW = 0.5
# An eigenvector whose overlap with the random part of the starts is below this may be missed. The probability of that is at
# most 0.8 times as much for one start, 2.35 times for several (Sankar, Spielman, Teng, SIAM J. Matrix Anal. Appl. 28, 2006).
_LEAST_SHARE = 1e-3
# Of the operator's norm: products that are less symmetric than this are no Hessian's. Differences at a kink are not.
ASYMMETRY, NOT_SYMMETRIC = 1e-2, "the operator is not symmetric"
# A remainder this far below what it is the remainder of is rounding.
_EPS = float(np.finfo(np.float64).eps)
_NOTHING = 100 * _EPS
# Sums of squares that lost no significant term to underflow.
_SQUARES = 1e-200, 1e200


@dataclass(frozen=True)
class RitzPairs:
    """Eigenvalues (k,) in decreasing order, orthonormal vectors (k, size), residual norms (k,).

    The first `found` have converged and are the largest eigenvalues; `complete`: they are all that were requested.
    """

    values: Vector
    vectors: Vector
    residuals: Vector
    found: int
    complete: bool


def lanczos(
    product: Callable[[Vector], Vector],
    starts: Vector,
    k: int,
    tol: float,
    max_products: int,
    above: float = -np.inf,
    certify: bool = True,
    guesses: Vector | None = None,
) -> RitzPairs:
    """The k largest eigenvalues of a symmetric operator, with their multiplicities, and their eigenvectors.

    The method keeps an orthonormal basis, the m rows of V, with H V* = V* T + R* B, where T = V H V*, and the rows of R,
    orthonormal and orthogonal to V, span the remainders of the products and the starts not yet used. With T = S diag(θ) Sᵀ the
    pair of θ_i and y_i = S_i V has the residual R* B S_i. The next product is that of the residual of the first pair that has
    not converged: a good start thus needs few products. With one start this is the Lanczos method. A full basis is restarted
    with the best Ritz vectors.

    Small residuals do not show that no eigenvalue was missed; for a multiple one, the Krylov space of one vector has only one
    eigenvector. But take a unit eigenvector z, Hz = λz, orthogonal to the pairs found. With the other pairs y_i, of residuals
    r_i, it has ⟨y_i, z⟩ = ⟨r_i, z⟩/(λ − θ_i); and with a start s therefore

        ⟨s, z⟩ = ⟨g(λ), z⟩,    g(λ) = Σ_i ⟨s, y_i⟩ r_i/(λ − θ_i) + (the part of s in the span of R).

    As s is partly random, the left-hand side is not tiny: once |g(t)| is, there is no such z of λ ≥ t. Until then the next
    product is that of g(t). One start suffices for all eigenvalues that differ from those found. For an eigenvalue of which f
    copies were found, these may contain all that f starts had of its eigenvectors: then f + 1 starts are tested, by the
    largest singular value of their g, at that eigenvalue only.

    The Krylov space of one start that has parts of all eigenvectors needs far fewer products than those of several, each with
    one of them. So the space begins with the first start, and others follow where a test requires them. A guess is used by itself
    only where it turns out that one start cannot have found its eigenvector, for a multiple eigenvalue.

    Parameters
    ----------
    product : callable
        v (size,) ↦ Hv, a new array, which is overwritten.
    starts : (p, size)
        p ≥ k vectors, each the sum of any vector and of independent standard normal numbers. They are overwritten.
    k : int
        From 1 to size.
    tol : float
        Pairs converge when their residual is at most tol |λ|; no missing eigenvalue exceeds the k-th by more than
        tol |λ_k|.
    max_products : int
        Limit of the products; at least p.
    above : float
        Only eigenvalues above this are needed; the other pairs need not converge.
    certify : bool
        False: stop when the pairs have converged; the starts then need no random part.
    guesses : (g, size), optional
        Unit vectors, whose sum is in the first start. Without them all starts are used: for a cluster of eigenvalues.

    References
    ----------
    Wu, Simon, Thick-restart Lanczos method for large symmetric eigenvalue problems, SIAM J. Matrix Anal. Appl. 22 (2000); for the
    bound with one start van Dorsselaer, Hochstenbach, van der Vorst, Computing probabilistic bounds for extreme eigenvalues of
    symmetric matrices with the Lanczos method, SIAM J. Matrix Anal. Appl. 22 (2001).
    """
    count, size = starts.shape
    room = max(16, 2 * count + 2 * _SPARE_PAIRS)
    if guesses is not None:
        room = max(room, min(_ROOM, _ROOM_BYTES // (8 * size)))
    space = _Space(starts, min(room, size), 0 if guesses is None else len(guesses))
    waiting = [] if guesses is None else list(guesses)
    done = 0
    while True:
        space.expand(product)
        done += 1
        if guesses is None and done < count:
            continue
        question = _Question(space, k, tol, above, certify)
        direction = question.next_direction()
        if direction is None or done >= max_products:
            return question.answer(is_complete=direction is None)
        if waiting and question.lacks_a_start:
            direction = space.with_new(waiting, direction)
        if space.is_full:
            space.restart(count + _SPARE_PAIRS, question.level(min(k, space.m)))
        space.turn(direction)


class _Space:
    """V and R, with T and B; the starts are C V + D R. Pairs are in decreasing order.

    V and R are consecutive rows of one array, so that the first row of R moves to V without a copy.
    """

    values: Vector  #: θ (m,)
    rotation: Vector  #: S (m, m)
    residuals: Vector  #: coordinates of the residuals in R, B S (r, m)
    rounding: float  #: of the operator itself: no pair can be more accurate

    def __init__(self, starts: Vector, capacity: int, guesses: int) -> None:
        count, size = starts.shape
        most = capacity + count + guesses
        self.m, self.r, self.capacity = 0, 0, capacity
        self.rows = np.empty((most, size))  # V, R
        self.inside = np.empty(size)  # room for the part of a vector in their span
        self.projected = np.zeros((capacity, capacity))  # T, above its diagonal
        self.couplings = np.zeros((most, capacity))  # of each row: those of R are B
        self.shares = np.zeros((count, most))  # C, D
        for i, start in enumerate(starts):
            overlaps, length = self._reduce_to_remainder(start)
            self._add_to_rest(start, length)
            self.shares[i, : self.r] = np.append(overlaps, length)[: self.r]

    @property
    def basis(self) -> Vector:
        """V."""
        return self.rows[: self.m]

    @property
    def of_rest(self) -> slice:
        """Where R is among the rows."""
        return slice(self.m, self.m + self.r)

    @property
    def unused(self) -> Vector:
        """D."""
        return self.shares[:, self.of_rest]

    @property
    def is_full(self) -> bool:
        return self.m == self.capacity

    def expand(self, product: Callable[[Vector], Vector]) -> None:
        """Move the first row of R to V, with its product."""
        m = self.m
        known = self.couplings[m, :m].copy()  # ⟨Hv_i, v_m⟩, where the product has ⟨v_i, Hv_m⟩
        self.m, self.r = m + 1, self.r - 1
        image = product(self.rows[m])
        overlaps, length = self._reduce_to_remainder(image, known)
        asymmetry = np.abs(overlaps[:m] - known).max(initial=0.0)
        self.projected[: m + 1, m] = overlaps[: m + 1]
        self._add_to_rest(image, length)
        self.couplings[self.of_rest, m] = np.append(overlaps[m + 1 :], length)[: self.r]
        self._diagonalise()
        if asymmetry > ASYMMETRY * np.abs(self.values).max():
            raise FloatingPointError(NOT_SYMMETRIC)

    def with_new(self, guesses: list[Vector], direction: Vector) -> Vector:
        """The direction of R towards the first guess that is not in the space, which is added; the given one if all are."""
        while guesses:
            guess = guesses.pop(0)
            inside = float(np.sum((self.rows[: self.m + self.r] @ guess) ** 2))
            if inside < _NEW:
                remainder, before = guess.copy(), self.r
                overlaps, length = self._reduce_to_remainder(remainder)
                self._add_to_rest(remainder, length)
                towards: Vector = np.append(overlaps[self.m :], [length] * (self.r - before))
                return towards / _norm(towards)
        return direction

    def turn(self, direction: Vector) -> None:
        """Rotate the rows of R so that the first is this combination of them, a unit vector, up to its sign."""
        axis = direction.copy()
        axis[0] += np.copysign(1.0, axis[0])
        axis /= np.linalg.norm(axis)
        if len(axis) > 1:
            where = self.of_rest
            for rows in (self.rows[where], self.couplings[where], self.shares[:, where].T):
                rows -= np.outer(2 * axis, axis @ rows)

    def restart(self, kept: int, level: float) -> None:
        """Keep the largest pairs only.

        The overlap of an eigenvector of eigenvalue `level` with the dropped pairs is visible in R. That of a larger one is
        smaller.
        """
        m, kept, before = self.m, min(kept, self.m - 1), self.of_rest
        used = self.shares[:, :m] @ self.rotation
        dropped = used[:, kept:] / (level - self.values[kept:])
        unused = self.unused + dropped @ self.residuals[:, kept:].T
        self.rows[:kept] = self.rotation[:, :kept].T @ self.basis
        self.projected[:] = self.couplings[:] = self.shares[:] = 0.0
        self.m = kept
        self.rows[self.of_rest] = self.rows[before]
        np.fill_diagonal(self.projected[:kept, :kept], self.values[:kept])
        self.couplings[self.of_rest, :kept] = self.residuals[:, :kept]
        self.shares[:, :kept], self.shares[:, self.of_rest] = used[:, :kept], unused

    def overlaps_with_starts(self, count: int, pairs: slice) -> Vector:
        """⟨s, y_i⟩ of the first starts."""
        overlaps: Vector = self.shares[:count, : self.m] @ self.rotation[:, pairs]
        return overlaps

    def _reduce_to_remainder(
        self, vector: Vector, known: Vector | None = None
    ) -> tuple[Vector, float]:
        """Subtract the part of a vector in the span of V and R: its overlaps with the rows, and the norm of what is left.

        That is 0 if it is rounding. `known` are the overlaps of a product with V except its last row, all but a few of them
        zero: subtracted first, they leave parts of the size of rounding. What a projection leaves in the span is rounding of the
        part that it removes; it is repeated where that was larger than what remained (Daniel, Gragg, Kaufman, Stewart, Math.
        Comp. 30, 1976).
        """
        rows = self.rows[: self.m + self.r]
        size, overlaps = _norm(vector), np.zeros(len(rows))
        if not math.isfinite(size):
            raise FloatingPointError("the operator's products are not finite, or too large")
        if known is not None:
            last = len(known)
            first = int(np.argmax(known != 0.0)) if known.any() else last
            overlaps[first:last] = known[first:]
            overlaps[last] = rows[last] @ vector
            near = slice(first, last + 1)
            vector -= np.matmul(overlaps[near], rows[near], out=self.inside)
        while True:
            parts = rows @ vector
            vector -= np.matmul(parts, rows, out=self.inside)
            overlaps += parts
            length = _norm(vector)
            if not length > _NOTHING * size:
                return overlaps, 0.0
            if not _norm(parts) > length:
                return overlaps, length

    def _add_to_rest(self, remainder: Vector, length: float) -> None:
        if length > 0.0:
            np.divide(remainder, length, out=self.rows[self.m + self.r])
            self.r += 1

    def _diagonalise(self) -> None:
        values, rotation = np.linalg.eigh(self.projected[: self.m, : self.m], UPLO="U")
        self.values, self.rotation = values[::-1], rotation[:, ::-1]
        self.residuals = self.couplings[self.of_rest, : self.m] @ self.rotation
        self.rounding = _EPS * float(max(abs(values[0]), abs(values[-1])))


def _norm(vector: Vector) -> float:
    """Safe from underflow and overflow of the squares."""
    square = float(np.vdot(vector, vector))  # which, unlike `@`, does not warn of either
    if _SQUARES[0] < square < _SQUARES[1]:
        return math.sqrt(square)
    return float(_norms(vector)) if vector.size else 0.0


def _norms(columns: Vector) -> Vector:
    """Norms of columns, likewise."""
    squares = np.einsum("i...,i...->...", columns, columns)
    if np.all((squares > _SQUARES[0]) & (squares < _SQUARES[1])):
        return np.sqrt(squares)
    scale = np.abs(columns).max(axis=0, initial=0.0)
    divisor = np.where(scale > 0.0, scale, 1.0)
    with np.errstate(invalid="ignore"):  # of infinite entries
        norms: Vector = scale * np.linalg.norm(columns / divisor, axis=0)
    return norms


class _Question:
    """The convergence test of a space for the k largest eigenvalues, or those of them above a bound."""

    def __init__(self, space: _Space, k: int, tol: float, above: float, certify: bool) -> None:
        self.space, self.tol, self.above, self.k, self.certify = space, tol, above, k, certify
        self.lacks_a_start = False  # whether the first pair has converged, so that a guess outside is worth a product
        self.values = space.values[:k]
        self.residuals = _norms(space.residuals)
        allowed = np.maximum(tol * np.abs(space.values), space.rounding)
        self.converged = self.residuals <= allowed
        self.wanted = int(np.count_nonzero(self.values > above))

    def level(self, found: int) -> float:
        """The bound that no eigenvalue beyond the first `found` may exceed."""
        bound = float(self.values[found - 1] if 0 < found <= self.wanted else self.above)
        if found == self.wanted < self.k:
            bound = self.above
        return bound + max(self.tol * abs(bound), self.space.rounding)

    def next_direction(self) -> Vector | None:
        """The direction of R in which the space should grow; None if it need not."""
        missing = np.flatnonzero(~self.converged[: self.wanted])
        if len(missing):
            i = missing[0]
            self.lacks_a_start = i > 0
            direction: Vector = self.space.residuals[:, i] / self.residuals[i]
            return direction
        self.lacks_a_start = True
        if len(self.values) < self.k and self.space.r:
            return np.eye(1, self.space.r)[0]
        return self._hidden_direction(self.wanted)

    def answer(self, is_complete: bool) -> RitzPairs:
        found = self.wanted
        while found and not (is_complete or self._is_certain(found)):
            found -= 1
        vectors = self.space.rotation[:, : self.k].T @ self.space.basis
        return RitzPairs(self.values, vectors, self.residuals[: self.k], found, is_complete)

    def _is_certain(self, found: int) -> bool:
        return bool(self.converged[:found].all()) and self._hidden_direction(found) is None

    def _hidden_direction(self, found: int) -> Vector | None:
        """The direction of R in which a missing eigenvector would be visible first; None if there is none."""
        space = self.space
        if not (self.certify and space.r):
            return None
        others = slice(found, None)
        residuals = np.where(
            self.residuals[others] > space.rounding, space.residuals[:, others], 0.0
        )
        for level, count in self._tests(found):
            overlaps = space.overlaps_with_starts(count, others)
            with np.errstate(over="raise"):  # of an operator near the underflow
                weights = overlaps / (level - space.values[others])
            g = space.unused[:count] + weights @ residuals.T
            _, sizes, directions = np.linalg.svd(g, full_matrices=False)
            if sizes[0] > _LEAST_SHARE / np.sqrt(count):
                direction: Vector = directions[0]
                return direction
        return None

    def _tests(self, found: int) -> Iterator[tuple[float, int]]:
        """Bounds of missing eigenvalues, each with the number of starts that is tested: one for all above the last found; for one
        that is found itself, one more than its copies. More copies of the smallest would not matter.
        """
        level = self.level(found)
        yield level, 1
        values = self.values[:found]
        if not np.any(values > level):
            return
        near = 2 * np.maximum(self.tol * np.abs(values[:-1]), self.space.rounding)
        groups = np.split(values, np.flatnonzero(-np.diff(values) > near) + 1)
        for group in groups:
            copies = group[group > level]
            if len(copies):
                below = copies[-1] - 2 * max(self.tol * abs(copies[-1]), self.space.rounding)
                yield max(below, level), 1 + len(copies)
