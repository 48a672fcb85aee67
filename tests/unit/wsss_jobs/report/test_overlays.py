import numpy as np
import pytest

from wsss_jobs.report.overlays import (
    CAM_ALPHA,
    CONFUSED_COLOUR,
    EXTRA_COLOUR,
    FILL_ALPHA,
    MISSED_COLOUR,
    cam_overlay,
    label_overlay,
    mistake_overlay,
)


def square_label() -> np.ndarray:
    label_HW = np.zeros((20, 20), dtype=np.uint8)
    label_HW[4:16, 4:16] = 1
    return label_HW


def test_a_class_is_filled_with_its_colour_and_background_is_clear():
    overlay_HW4 = label_overlay(square_label())
    assert overlay_HW4.shape == (20, 20, 4)
    assert overlay_HW4.dtype == np.uint8
    assert overlay_HW4[10, 10].tolist() == [128, 0, 0, FILL_ALPHA]
    assert (overlay_HW4[square_label() == 0] == 0).all()


def test_the_contour_is_two_pixels_inside_the_object():
    opaque_HW = label_overlay(square_label())[..., 3] == 255
    expected_HW = np.zeros((20, 20), dtype=bool)
    expected_HW[4:16, 4:16] = True
    expected_HW[6:14, 6:14] = False
    assert (opaque_HW == expected_HW).all()


def test_the_contour_is_lighter_than_its_class():
    red, green, blue, _ = label_overlay(square_label())[4, 4]
    assert (red, green, blue) == (216, 178, 178)  # 0.3 x (128, 0, 0) + 0.7 x 255


def test_two_classes_that_touch_both_have_a_contour():
    label_HW = np.ones((9, 12), dtype=np.uint8)
    label_HW[:, 6:] = 2
    opaque_W = label_overlay(label_HW)[4, :, 3] == 255
    assert opaque_W.tolist() == [False] * 4 + [True] * 4 + [False] * 4


def test_unlabelled_pixels_are_hatched_grey():
    overlay_HW4 = label_overlay(np.full((30, 30), 255, dtype=np.uint8))
    assert (overlay_HW4[..., 0] == overlay_HW4[..., 1]).all()
    assert (overlay_HW4[..., 1] == overlay_HW4[..., 2]).all()
    assert len(np.unique(overlay_HW4[..., 0])) == 2
    assert ((overlay_HW4[..., 3] > 0) & (overlay_HW4[..., 3] < 255)).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_labels_of_any_size_can_be_drawn(shape: tuple[int, int]):
    assert label_overlay(np.ones(shape, dtype=np.uint8)).shape == (*shape, 4)


def test_a_cam_shows_its_best_class_as_strongly_as_it_is():
    cam_KHW = np.array([[[0.0, 0.5, 1.0]], [[0.0, 0.2, 0.1]]], dtype=np.float32)
    overlay_HW4 = cam_overlay(cam_KHW, (2, 15))
    assert overlay_HW4[0, :, 3].tolist() == [0, round(0.5 * CAM_ALPHA), CAM_ALPHA]
    assert overlay_HW4[0, 1, :3].tolist() == [0, 128, 0]
    other = cam_overlay(cam_KHW[::-1], (15, 2))
    assert (other == overlay_HW4)[:, 1:].all()
    assert cam_overlay(cam_KHW, (15, 2))[0, 1, :3].tolist() == [192, 128, 128]


def test_a_cam_that_is_not_finite_is_clear():
    cam_KHW = np.array([[[np.nan, np.inf, -np.inf]]], dtype=np.float32)
    assert (cam_overlay(cam_KHW, (1,))[..., 3] == 0).all()


def test_mistakes_are_told_apart():
    truth_HW = np.array([[0, 0, 1, 1, 1, 255, 0]], dtype=np.uint8)
    label_HW = np.array([[0, 2, 0, 2, 1, 2, 255]], dtype=np.uint8)
    overlay_HW4 = mistake_overlay(label_HW, truth_HW)
    assert (overlay_HW4[0, :, 3] > 0).tolist() == [False, True, True, True, False, False, False]
    assert tuple(overlay_HW4[0, 1, :3]) == EXTRA_COLOUR
    assert tuple(overlay_HW4[0, 2, :3]) == MISSED_COLOUR
    assert tuple(overlay_HW4[0, 3, :3]) == CONFUSED_COLOUR
