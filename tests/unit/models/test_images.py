"""Array-level image operations."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.images import min_max

MAPS = arrays(np.float32, (2, 3, 4), elements=st.floats(-1e6, 1e6, width=32))


def test_each_map_is_stretched_by_itself():
    maps_KHW = np.array([[[2.0, 4.0], [3.0, 2.0]], [[-1.0, 0.0], [0.0, 3.0]]], dtype=np.float32)
    expected = [[[0.0, 1.0], [0.5, 0.0]], [[0.0, 0.25], [0.25, 1.0]]]
    assert min_max(maps_KHW).tolist() == expected
    assert min_max(maps_KHW).dtype == np.float32


@given(MAPS)
def test_maps_reach_from_0_to_1_and_keep_their_order(maps_KHW):
    for map_HW, stretched_HW in zip(maps_KHW, min_max(maps_KHW), strict=True):
        has_contrast = map_HW.max() > map_HW.min()
        assert (stretched_HW.min(), stretched_HW.max()) == (0.0, 1.0 if has_contrast else 0.0)
        assert (np.diff(stretched_HW.reshape(-1)[np.argsort(map_HW, axis=None)]) >= 0).all()
