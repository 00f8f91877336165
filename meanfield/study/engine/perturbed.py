"""Gradient descent from one rounding away: what no model's distance to it can be told apart from.

Below the edge of stability two such runs stay together to rounding. Past it they separate, the faster the further past: the
oscillation that sets in there has grown from rounding errors. Their distance is the *rounding spread*: a model as close to
gradient descent as that is as close as gradient descent is to itself, and there is no ranking below it.

It is that of one draw, and as random as the growth of rounding errors: others are a few times smaller or larger. Where all
directions contract, as in a few coordinates at rest, the two may meet again bit for bit: it is then zero.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

import solvers
from meanfield.study.config.run_config import RunConfig
from meanfield.study.storage.layout import PERTURBED, Floats, ProcessLayout
from solvers.flows import REFERENCE_FLOW

STREAM = 0x726F756E64  # keeps the signs apart from all else that a seed draws


def one_rounding_away(x: Floats, seed: int) -> Floats:
    """x (1 + ε ξ), ε the machine epsilon of x, with random signs ξ = ±1 for every entry.

    Signs, and not a law with mass near zero: each entry that is not zero then changes, by one or two units in its last place,
    so that the two runs differ wherever they can. Zeros stay.
    """
    signs = np.random.default_rng([seed, STREAM]).choice([-1, 1], np.shape(x))
    epsilon = np.finfo(x.dtype).eps
    moved: Floats = x * (1 + epsilon * signs.astype(x.dtype))
    return moved


def perturbed_layout(
    config: RunConfig, flows: Mapping[str, solvers.Flow], start: Floats
) -> dict[str, ProcessLayout]:
    """Name and layout of the second gradient descent; nothing where there is none.

    It runs where the first flow is gradient descent, there are others to compare with it, the study wants it, and there is a
    number in the start that rounding can change. It needs less memory than the first one: no spectrum, no snapshots.
    """
    reference, *others = flows
    flow = config.processes[reference].flow
    wanted = config.output.rounding_spread and flow == REFERENCE_FLOW and bool(others)
    if not wanted or np.array_equal(one_rounding_away(start, config.seed), start):
        return {}
    return {f"{reference}/{PERTURBED}": ProcessLayout(flow, is_perturbed=True)}
