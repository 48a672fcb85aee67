import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask
from scipy import ndimage

from wsss_jobs.exports.pixel_contours import outlines

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.booleans())


def by_winding(polygons, size_hw):
    """Pixels whose centre an odd number of a polygon's upright edges has on its left, polygon by polygon."""
    inside_HW = np.zeros(size_hw, dtype=bool)
    for polygon in polygons:
        odd_HW = np.zeros(size_hw, dtype=bool)
        for (x0, y0), (x1, y1) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
            assert x0 == x1 or y0 == y1
            if x0 == x1:
                odd_HW[min(y0, y1) : max(y0, y1), x0:] ^= True
        inside_HW |= odd_HW
    return inside_HW


@settings(max_examples=100, deadline=None)
@given(MASKS)
def test_polygons_cover_exactly_the_pixels_one_a_part(mask_HW):
    polygons = outlines(mask_HW)
    np.testing.assert_array_equal(by_winding(polygons, mask_HW.shape), mask_HW)
    assert len(polygons) == ndimage.label(mask_HW)[1]


@settings(max_examples=100, deadline=None)
@given(MASKS)
def test_pycocotools_fills_them_exactly(mask_HW):
    polygons = [[float(value) for point in polygon for value in point] for polygon in outlines(mask_HW)]
    if not polygons:
        assert not mask_HW.any()
        return
    filled = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, *mask_HW.shape)))
    np.testing.assert_array_equal(filled.astype(bool), mask_HW)


def test_one_pixel():
    mask_HW = np.zeros((3, 4), dtype=bool)
    mask_HW[1, 2] = True
    assert outlines(mask_HW) == [[(2, 1), (3, 1), (3, 2), (2, 2)]]


def test_a_hole_hangs_on_its_part_by_a_cut_of_no_width():
    mask_HW = np.ones((4, 5), dtype=bool)
    mask_HW[1:3, 2] = False
    (polygon,) = outlines(mask_HW)
    hole = [(2, 1), (2, 3), (3, 3), (3, 1), (2, 1)]
    assert polygon == [(0, 0), (5, 0), (5, 4), (0, 4), (0, 1), *hole, (0, 1)]


def test_thousands_of_holes_in_a_row():
    mask_HW = np.ones((3, 6001), dtype=bool)
    mask_HW[1, 1::2] = False
    (polygon,) = outlines(mask_HW)
    np.testing.assert_array_equal(by_winding([polygon], mask_HW.shape), mask_HW)
