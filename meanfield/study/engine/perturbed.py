"""Gradient descent from a start perturbed by one rounding: the resolution of distances to gradient descent.

Below the edge of stability two such runs agree to rounding. Beyond it they separate, the faster the further beyond: the
oscillation has grown from rounding errors. Their distance is the *rounding spread*: a model as close to
gradient descent as that is as close as gradient descent is to itself, and smaller distances cannot be ranked.

It is that of one random draw: others are a few times smaller or larger. Where all
directions contract, as in a few coordinates at equilibrium, the two may become equal bit for bit, with distance zero.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from meanfield.study.config.run_config import RunConfig
from meanfield.study.storage.schema import PERTURBED, Floats, ProcessLayout, reference_of

STREAM = 0x726F756E64  # a random stream of its own for the signs


def one_rounding_away(x: Floats, seed: int) -> Floats:
    """x (1 + ε ξ), ε the machine epsilon of x, with random signs ξ = ±1 for every entry.

    Signs, rather than a law with mass near zero, change each nonzero entry by one or two units in the last place,
    so that the two runs differ wherever they can. Zeros are unchanged.
    """
    signs = np.random.default_rng([seed, STREAM]).choice([-1, 1], np.shape(x))
    epsilon = np.finfo(x.dtype).eps
    moved: Floats = x * (1 + epsilon * signs.astype(x.dtype))
    return moved


def perturbed_layout(
    config: RunConfig, layouts: Mapping[str, ProcessLayout], start: Floats
) -> dict[str, ProcessLayout]:
    """Name and layout of the perturbed gradient descent, or other optimizer; empty without one.

    It runs if the first flow is the one that is compared with, there are others to compare with it, the configuration asks for
    it, and there is a nonzero number in the start. It needs less memory than the first one: no spectrum, no snapshots.
    """
    first, *others = layouts
    flow = layouts[first].flow
    flows = {name: layout.flow for name, layout in layouts.items()}
    is_reference = reference_of(config.optimizer, flows) == first
    wanted = config.output.rounding_spread and is_reference and bool(others)
    if not wanted or np.array_equal(one_rounding_away(start, config.seed), start):
        return {}
    return {f"{first}/{PERTURBED}": ProcessLayout(flow, is_perturbed=True)}
