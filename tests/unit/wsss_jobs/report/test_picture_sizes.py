import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.report.picture_sizes import MAX_SIDE_PX, fit_cam, fit_grid_label, fit_label, fit_photo, picture_size


def item_of(width_px: int, height_px: int) -> DatasetItem:
    return DatasetItem("id", "key", "uri", width_px, height_px, (1,), "train")


@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_pictures_fit_and_keep_their_shape(width_px: int, height_px: int):
    width, height = picture_size(item_of(width_px, height_px))
    assert 1 <= width <= MAX_SIDE_PX
    assert 1 <= height <= MAX_SIDE_PX
    if max(width_px, height_px) <= MAX_SIDE_PX:
        assert (width, height) == (width_px, height_px)
    else:
        assert max(width, height) == MAX_SIDE_PX


def test_a_photo_is_reduced_to_its_picture():
    image_HW3 = np.full((700, 1400, 3), (10, 200, 90), dtype=np.uint8)
    photo_HW3 = fit_photo(image_HW3, picture_size(item_of(1400, 700)))
    assert photo_HW3.shape == (256, 512, 3)
    assert (photo_HW3 == (10, 200, 90)).all()


def test_a_label_is_reduced_without_new_values():
    rng = np.random.default_rng(0)
    label_HW = rng.choice(np.array([0, 3, 255], dtype=np.uint8), (900, 1200))
    small_HW = fit_label(label_HW, (512, 384))
    assert small_HW.shape == (384, 512)
    assert set(np.unique(small_HW)) <= {0, 3, 255}


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70))
def test_a_grid_label_lies_on_every_fourth_pixel(width_px: int, height_px: int):
    rng = np.random.default_rng(width_px * 71 + height_px)
    label_hw = rng.integers(0, 20, (-(-height_px // 4), -(-width_px // 4)), dtype=np.uint8)
    item = item_of(width_px, height_px)
    expected_HW = label_hw[np.ix_(np.arange(height_px) // 4, np.arange(width_px) // 4)]
    assert (fit_grid_label(label_hw, item, picture_size(item)) == expected_HW).all()


@pytest.mark.parametrize(("width_px", "height_px"), [(1, 1), (5, 3), (333, 500), (2000, 1000)])
def test_cams_are_interpolated_at_picture_size(width_px: int, height_px: int):
    item = item_of(width_px, height_px)
    cam_Khw = np.stack([np.full((-(-height_px // 4), -(-width_px // 4)), value, np.float16) for value in (0.25, 0.75)])
    cam_KHW = fit_cam(cam_Khw, item, picture_size(item))
    assert cam_KHW.shape == (2, *reversed(picture_size(item)))
    assert np.allclose(cam_KHW[0], 0.25, atol=1e-3)
    assert np.allclose(cam_KHW[1], 0.75, atol=1e-3)


def test_a_cam_with_nan_is_drawn_as_zero_there():
    cam_Khw = np.full((1, 2, 2), np.nan, dtype=np.float16)
    assert (fit_cam(cam_Khw, item_of(8, 8), (8, 8)) == 0).all()
