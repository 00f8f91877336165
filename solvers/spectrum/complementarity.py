"""The semidefinite complementarity problem of the central flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers._support.arguments import array, finite_array, wrong_shape
from solvers._support.reprs import compact_repr

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Complementarity:
    """X ⪰ 0 and Y ⪰ 0 with ⟨X, Y⟩ = 0, the solution of a complementarity problem.

    Attributes
    ----------
    x, y : (k, k)
        X and Y, symmetric.
    residual : float
        |A + 𝒦X − Y| relative to |A|, in the Frobenius norm.

    Examples
    --------
    >>> solved = solvers.solve_complementarity(np.array([[-1.0]]), np.array([[[[2.0]]]]))
    >>> solved.x, solved.y
    (array([[0.5]]), array([[0.]]))
    """

    x: Matrix
    y: Matrix
    residual: float

    __repr__ = compact_repr


def solve_complementarity(a: Matrix, operator: NDArray[np.float64]) -> Complementarity:
    """Find X with

        X ⪰ 0,    Y = A + 𝒦X ⪰ 0,    ⟨X, Y⟩ = 0,

    the optimality conditions of min ⟨A, X⟩ + ½⟨X, 𝒦X⟩ over X ⪰ 0. In closed form for k = 1, else by clarabel's interior-point
    method and a few Newton steps on Z = X − Y, of which X and −Y are the positive and the negative part: complementary to
    rounding.

    Parameters
    ----------
    a : (k, k)
        A, symmetric.
    operator : (k, k, k, k)
        𝒦, self-adjoint and positive semidefinite on symmetric matrices: (𝒦X)_ij = Σ_kl operator[i, j, k, l] X_kl.

    Returns
    -------
    Complementarity

    Raises
    ------
    ValueError
        For arrays that are not finite or not of these shapes.
    ArithmeticError
        If there is no solution (𝒦 vanishes where A is negative), or the solver does not find it.

    Examples
    --------
    With one mode, X = max(0, −A/𝒦):

    >>> solvers.solve_complementarity(np.array([[-1.0]]), np.array([[[[2.0]]]])).x
    array([[0.5]])
    >>> solvers.solve_complementarity(np.array([[1.0]]), np.array([[[[2.0]]]])).x
    array([[0.]])
    """
    a, operator = _checked("a", a), _checked("operator", operator)
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise wrong_shape("a", "(k, k)", a.shape)
    if operator.shape != a.shape * 2:
        raise wrong_shape("operator", f"{a.shape * 2}, that of a twice", operator.shape)
    size = float(np.linalg.norm(a))
    if len(a) == 0 or np.linalg.eigvalsh(a)[0] >= 0.0:  # X = 0 is the solution
        return Complementarity(np.zeros_like(a), a, 0.0)
    strength = float(np.linalg.norm(operator.reshape(a.size, a.size), 2))
    if strength == 0.0:
        raise ArithmeticError("the sharpness must decrease, and no fluctuation changes it")
    # Scaled so that A and 𝒦 have norm one.
    unit_a, unit_operator = a / size, operator / strength
    if len(a) == 1:
        z = np.array([[-unit_a[0, 0] / unit_operator[0, 0, 0, 0]]])
    else:
        z = _polished(_interior_point(unit_a, unit_operator), unit_a, unit_operator)
    x, y = _positive_part(z), _positive_part(-z)
    misfit = unit_a + np.einsum("ijkl,kl->ij", unit_operator, x) - y
    return Complementarity(x * (size / strength), y * size, float(np.linalg.norm(misfit)))


def _checked(name: str, value: object) -> NDArray[np.float64]:
    found: NDArray[np.float64] = array(name, value).astype(np.float64, copy=False)
    if found.size:
        finite_array(name, found)
    return found


def _positive_part(z: Matrix) -> Matrix:
    values, vectors = np.linalg.eigh(z)
    part: Matrix = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return part


def _polished(z: Matrix, a: Matrix, operator: NDArray[np.float64]) -> Matrix:
    """Semismooth Newton's method on A + 𝒦Z₊ − (−Z)₊ = 0, as long as it helps.

    In the eigenbasis of Z the derivative of Z₊ multiplies entry (i, j) by (λ_i⁺ − λ_j⁺)/(λ_i − λ_j).
    """
    k, best, smallest = len(a), z, np.inf
    flat_operator = operator.reshape(k * k, k * k)
    for _ in range(20):
        values, q = np.linalg.eigh(z)
        kept = np.maximum(values, 0.0)
        positive = (q * kept) @ q.T
        misfit = a + np.einsum("ijkl,kl->ij", operator, positive) - positive + z
        if not np.linalg.norm(misfit) < smallest:
            break
        best, smallest = z, float(np.linalg.norm(misfit))
        gaps = values[:, None] - values[None, :]
        same = np.abs(gaps) < 1e-14
        ratios = (kept[:, None] - kept[None, :]) / np.where(same, 1.0, gaps)
        ratios = np.where(same, values[:, None] > 0.0, ratios)
        basis = np.kron(q, q)  # row-major vectors: vec(Q M Qᵀ) = (Q ⊗ Q) vec(M)
        derivative = (basis * ratios.ravel()) @ basis.T
        jacobian = flat_operator @ derivative - derivative + np.eye(k * k)
        step = np.linalg.lstsq(jacobian, misfit.ravel(), rcond=None)[0].reshape(k, k)
        z = z - 0.5 * (step + step.T)
    return best


def _interior_point(a: Matrix, operator: NDArray[np.float64]) -> Matrix:
    """X − Y by clarabel, over the upper triangle of X column by column, off-diagonal entries times √2."""
    import clarabel
    from scipy.sparse import csc_matrix, identity

    k = len(a)
    columns, rows = np.tril_indices(k)  # (row, column) of the upper triangle, column after column
    weights = np.where(rows == columns, 1.0, np.sqrt(2.0))

    def packed(m: NDArray[np.float64]) -> NDArray[np.float64]:
        result: NDArray[np.float64] = m[rows, columns] * weights
        return result

    def unpacked(v: NDArray[np.float64]) -> Matrix:
        m = np.empty((k, k))
        m[rows, columns] = m[columns, rows] = v / weights
        return m

    basis = [unpacked(e) for e in np.eye(len(rows))]
    quadratic = np.array([packed(np.einsum("ijkl,kl->ij", operator, b)) for b in basis])
    settings: Any = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-13
    solver = clarabel.DefaultSolver(
        csc_matrix(np.triu(0.5 * (quadratic + quadratic.T))),
        packed(a),
        csc_matrix(-identity(len(rows))),
        np.zeros(len(rows)),
        [clarabel.PSDTriangleConeT(k)],
        settings,
    )
    solution = solver.solve()
    x = unpacked(np.array(solution.x))
    if not np.all(np.isfinite(x)):
        raise ArithmeticError(f"clarabel found no solution: {solution.status}")
    return x - unpacked(np.array(solution.z))
