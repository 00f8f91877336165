"""Products of cases, of which a fast run takes a part: every combination of precision and activation is compiled for seconds."""

import pytest


def slow_unless(fast, cases):
    """The cases, as pairs or tuples of parameters, with those marked slow for which `fast` of the parameters is false."""
    return [case if fast(*case) else pytest.param(*case, marks=pytest.mark.slow) for case in cases]
