"""What all proximal schemes check."""

import pytest

import solvers


@pytest.mark.parametrize("scheme", [solvers.JKO, solvers.GridJKO, solvers.QuantileJKO])
@pytest.mark.parametrize(
    ("learning_rate", "step_size"), [(5e-324, 0.1), (1.0, 5e-324), (1e-200, 1e-100), (1e200, 1e200)]
)
def test_a_product_that_is_no_number_is_refused(scheme, learning_rate, step_size):
    # 1/ητ would be infinite or zero
    with pytest.raises(ValueError, match=r"^learning_rate \* step_size must be between .*, got "):
        scheme(step_size, learning_rate=learning_rate)


@pytest.mark.parametrize("scheme", [solvers.JKO, solvers.GridJKO, solvers.QuantileJKO])
def test_very_small_and_large_ones_are_accepted(scheme):
    assert scheme(1e-280).step_size == 1e-280
    assert scheme(1e150, learning_rate=1e130).learning_rate == 1e130
