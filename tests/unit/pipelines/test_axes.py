"""Volumes turned round in memory."""

import numpy as np
import pytest

from pipelines.axes import reverse_axes


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 4), (17, 5, 33), (16, 16, 16), (1, 40, 3)])
def test_every_voxel_is_where_a_transposition_puts_it(shape: tuple[int, ...], dtype: type) -> None:
    array = np.random.default_rng(0).integers(0, 2 if dtype is np.bool_ else 200, shape).astype(dtype)
    turned = reverse_axes(array)
    np.testing.assert_array_equal(turned, array.transpose(2, 1, 0))
    assert turned.flags.c_contiguous
    assert turned.dtype == array.dtype


def test_a_view_is_turned_as_well() -> None:
    whole = np.arange(6 * 7 * 8, dtype=np.float32).reshape(6, 7, 8)
    np.testing.assert_array_equal(reverse_axes(whole[::2, 1:, 3:]), whole[::2, 1:, 3:].transpose(2, 1, 0))


def test_an_array_that_nobody_may_write_is_turned_without_a_word() -> None:
    whole = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    whole.flags.writeable = False
    np.testing.assert_array_equal(reverse_axes(whole), whole.transpose(2, 1, 0))
