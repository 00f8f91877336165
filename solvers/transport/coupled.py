"""The distance of labelled particles."""

from __future__ import annotations

from numpy.typing import ArrayLike

from solvers._support.arguments import wrong_shape
from solvers.measures.representations import check_positions
from solvers.transport.positions import root_mean_square


def coupled_distance(x: ArrayLike, y: ArrayLike) -> float:
    """√((1/N) Σ_i |x_i − y_i|²) of labelled particles (N, D): the cost of one coupling, so an upper bound of W2.

    Raises
    ------
    ValueError
        For empty or non-finite positions or shapes that differ.

    Examples
    --------
    >>> solvers.transport.coupled_distance([[0.0], [1.0]], [[1.0], [0.0]])
    1.0
    >>> solvers.transport.w2([[0.0], [1.0]], [[1.0], [0.0]]).distance  # the same measure
    0.0
    """
    x, y = check_positions("x", x), check_positions("y", y)
    if x.shape != y.shape:
        raise wrong_shape("y", f"{x.shape}, as x", y.shape)
    return root_mean_square(x - y)
