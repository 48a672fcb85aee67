import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from label_studio_brush import decode_brush

from wsss_jobs.exports.brush_rle import encode_brush


@settings(max_examples=60, deadline=None)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.booleans()))
def test_the_decoder_of_the_format_gives_the_mask_back_in_all_channels(mask_HW):
    rgba = np.array(decode_brush(encode_brush(mask_HW))).reshape(*mask_HW.shape, 4)
    np.testing.assert_array_equal(rgba, np.repeat(mask_HW[..., None] * 255, 4, axis=2))


@pytest.mark.parametrize("num_px", [1, 2, 3, 4, 5, 64, 65, 16384, 16385, 32768, 32769])
def test_runs_at_the_limits_of_length_sizes(num_px):
    assert decode_brush(encode_brush(np.ones((1, num_px), dtype=bool))) == [255] * (4 * num_px)


def test_known_bytes():
    # 4 values; words of 8 bits; lengths of 3, 4, 8, 16 bits; one run: 1, size 00, length - 1 = 3, value 255
    bits = f"{4:032b}" + "00111" + "0010001101111111" + "10001111111111"
    expected = [int(bits.ljust(-(-len(bits) // 8) * 8, "0")[i : i + 8], 2) for i in range(0, len(bits), 8)]
    assert encode_brush(np.ones((1, 1), dtype=bool)) == expected
