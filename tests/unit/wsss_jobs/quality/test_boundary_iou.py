"""Boundary IoU against distances measured pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_jobs.quality.boundary_iou import boundary, boundary_counts, boundary_distance, boundary_iou


def plain_boundary(mask, distance):
    height, width = mask.shape
    found = np.zeros_like(mask)
    for y, x in np.argwhere(mask):
        rows, columns = range(y - distance, y + distance + 1), range(x - distance, x + distance + 1)
        found[y, x] = any(
            not (0 <= row < height and 0 <= column < width) or not mask[row, column]
            for row in rows
            for column in columns
        )
    return found


def test_distance_is_2_percent_of_the_diagonal():
    assert boundary_distance((375, 500)) == 12  # 0.02 * 625 = 12.5, to even
    assert boundary_distance((300, 400)) == 10
    assert boundary_distance((3, 4)) == 1


def test_a_square_by_hand():
    mask = np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    assert boundary(mask, 1).sum() == 16  # 5 x 5 without the inner 3 x 3
    assert boundary(mask, 2).sum() == 24
    assert boundary(np.ones((5, 5), bool), 1).sum() == 16  # the image's rim is a contour


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 3))
def test_boundary_equals_the_plain_one(seed, distance):
    rng = np.random.default_rng(seed)
    mask = rng.random((8, 10)) < 0.8
    assert np.array_equal(boundary(mask, distance), plain_boundary(mask, distance))


def test_shifted_square():
    truth, label = (np.zeros((20, 20), np.uint8) for _ in range(2))
    truth[4:14, 4:14] = 1
    label[4:14, 5:15] = 1
    counts = boundary_counts(label, truth, 3)
    # d = 1: rings of 36 pixels; they share the upper and lower edge but for one pixel each: 2 * 9
    assert counts[:, 1].tolist() == [18, 54]
    assert counts[:, 2].tolist() == [0, 0]
    scores = boundary_iou(counts)
    assert scores[1] == pytest.approx(1 / 3)
    assert np.isnan(scores[2])


def test_ignored_pixels_do_not_count():
    truth = np.zeros((10, 10), np.uint8)
    truth[2:8, 2:8] = 1
    label = truth.copy()
    label[2:8, 7] = 0  # one column narrower; where they differ, the truth is ignored
    ignoring = truth.copy()
    ignoring[:, 6:9] = 255
    both, either = boundary_counts(label, ignoring, 2)
    plain = [plain_boundary(values == 1, 1) & (ignoring != 255) for values in (label, ignoring)]
    assert both[1] == (plain[0] & plain[1]).sum()
    assert either[1] == (plain[0] | plain[1]).sum()
    assert boundary_counts(truth, np.full((10, 10), 255, np.uint8), 2).sum() == 0


def test_a_label_of_255_is_background():
    truth = np.zeros((6, 6), np.uint8)
    label = np.where(np.arange(6) < 3, 255, 0).astype(np.uint8)[None].repeat(6, axis=0)
    assert boundary_iou(boundary_counts(label, truth, 2))[0] == 1.0
