import numpy as np
import pytest

from solvers._support.bits import Bits


@pytest.mark.parametrize("dtype", ["float64", "float32", "longdouble", "int64"])
@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (0, 3)])
def test_an_array_is_its_own_copy_in_any_order(dtype, shape):
    array = np.arange(np.prod(shape, dtype=int), dtype=dtype).reshape(shape)
    bits = Bits(array.copy(order="F"))
    assert bits.are_of(array) and bits.are_of(array.copy())


def test_other_entries_shapes_types_and_zeros_are_others():
    array = np.zeros((3, 4))
    bits = Bits(array)
    assert not bits.are_of(array.reshape(4, 3))
    assert not bits.are_of(array.astype(np.int64))  # of the same bytes
    assert not bits.are_of(-array)
    array[-1, -1] = np.nan
    assert not bits.are_of(array)  # what is kept is a copy
    assert Bits(array).are_of(array)
