"""Cells and their pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidInputError
from models.images import stride_of, strided_size
from models.pooled_grid import cell_means, reduced_image


@given(height=st.integers(1, 30), width=st.integers(1, 30), stride=st.sampled_from([4, 8]))
def test_cell_means_are_those_of_the_pixels_that_a_cell_covers(height, width, stride):
    maps = np.random.default_rng(height * width).random((2, height, width)).astype(np.float32)
    found, padded = cell_means(maps, stride), cell_means(maps, stride, count_padding=True)
    assert found.shape[1:] == padded.shape[1:] == strided_size((height, width), stride)
    for y, x in np.ndindex(*found.shape[1:]):
        pixels = maps[:, y * stride : (y + 1) * stride, x * stride : (x + 1) * stride]
        np.testing.assert_allclose(found[:, y, x], pixels.mean(axis=(1, 2)), rtol=1e-5)
        np.testing.assert_allclose(padded[:, y, x], pixels.sum(axis=(1, 2)) / stride**2, rtol=1e-5)


def test_a_reduced_image_keeps_its_cells_where_they_are():
    image = np.zeros((20, 36, 3), np.uint8)
    image[8:16, 16:24] = 240  # cell (1, 2) of a grid of 3 x 5, whose last row and column reach beyond the image
    reduced = reduced_image(image, 8)
    assert reduced.shape == (3, 5, 3)
    assert np.unravel_index(reduced[..., 0].argmax(), (3, 5)) == (1, 2)
    assert (reduced_image(np.full((20, 36, 3), 77, np.uint8), 8) == 77).all()


@given(height=st.integers(57, 600), width=st.integers(57, 600), stride=st.sampled_from([4, 8, 16]))
def test_the_stride_of_a_grid_is_found_again(height, width, stride):
    assert stride_of(strided_size((height, width), stride), (height, width)) == stride


def test_small_images_have_the_smallest_stride_that_fits_and_others_none():
    assert stride_of((3, 3), (17, 17)) == 8
    with pytest.raises(InvalidInputError, match="no grid of an image"):
        stride_of((47, 20), (375, 500))
