"""Products of cases, of which a fast run takes a part: every combination of precision and activation is compiled for seconds."""

import pytest

#: Single precision doubles what has to be compiled: it is slow but for the tests of networks of many inputs.
PRECISIONS = ["float64", pytest.param("float32", marks=pytest.mark.slow)]


def slow_unless(fast, cases, *more):
    """The cases, as pairs or tuples of parameters, with those marked slow, and `more`, for which `fast` is false."""
    marks = (pytest.mark.slow, *more)
    return [case if fast(*case) else pytest.param(*case, marks=marks) for case in cases]
