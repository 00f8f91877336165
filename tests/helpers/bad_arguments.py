"""A pool of values, most of which are wrong for an argument."""

from fractions import Fraction

import numpy as np

import solvers
from tests.helpers.good_arguments import GRID, NETWORK, RISK, STATE, TASK, VALLEY, V

BIG = np.array([1e308, -1e308])
POOL = [
    *(None, True, False, 0, 1, 2, 3, -1, 2**31, 2**63, 2**200, -(2**200), 10**400),
    *(0.0, -0.0, 0.5, 1.5, 1e-6, 5e-324, 1e308, -1e308, float("nan"), float("inf"), -float("inf")),
    *(
        np.float16(0.5),
        np.float32(0.1),
        np.longdouble(0.1),
        np.int8(2),
        np.uint64(2**63),
        np.bool_(1),
    ),
    *(1j, Fraction(1, 3), "", "euler", "exact", "a" * 300, b"x", "\0", "nonsense"),
    *(
        (),
        [],
        {},
        set(),
        [[]],
        [None],
        [1, [2]],
        ["a"],
        [True],
        [1, 2],
        [[1, 2], [3, 4]],
        (1, 2, 3),
    ),
    *(
        np.array(0.5),
        np.array(3),
        np.zeros(0),
        np.zeros((0, 3)),
        np.ones(1),
        np.ones(2),
        np.ones(3),
    ),
    *(
        np.ones((3, 1)),
        np.ones((2, 3)),
        np.ones((1, 2, 2)),
        np.ones((2, 2), int),
        np.ones(2, complex),
    ),
    *(
        np.ones(2, np.float32),
        np.ones(3, np.float16),
        np.array([np.nan, 1.0]),
        np.array([np.inf, 1.0]),
    ),
    *(BIG, BIG[:, None], BIG.astype(np.longdouble) * 10, np.array(["a", "b"]), np.array([None, 1])),
    *(np.full((3, 1), 1e-320), np.array([[0.5], [0.25], [0.25]], np.float32), np.eye(2)),
    *(np.ma.masked_array([1.0, 2.0], [True, False]), np.arange(5.0)[::2], np.ones((3, 2)).T),
    *(
        object(),
        object,
        int,
        len,
        print,
        lambda: 0,
        lambda x: x,
        lambda x: 1 / 0,
        range(3),
        slice(1),
    ),
    *(solvers.GradientDescent, solvers.RK4, VALLEY, VALLEY.gradient, NETWORK, TASK, RISK, V, GRID),
    *(solvers.RK4(), solvers.CentralFlow(0.1), solvers.FreeEnergyFlow(0.1), STATE),
]
