"""Boxes of maps: against one connected-component search a threshold, and by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.affinity.connected_components import connected_components
from models.classifiers.boxes import Box, largest_boxes

THRESHOLDS = [0.0, 0.25, 0.5, 0.75, 1.0]
maps = hnp.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from(THRESHOLDS))


def plain_box(map_hw, threshold):
    parts_hw = connected_components(torch.from_numpy(map_hw >= threshold)).numpy()
    if not parts_hw.any():
        return None
    sizes = np.bincount(parts_hw.ravel())[1:]
    rows, columns = np.nonzero(parts_hw == sizes.argmax() + 1)
    return Box(columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)


@settings(deadline=None, max_examples=300)
@given(map_hw=maps, thresholds=st.lists(st.sampled_from([*THRESHOLDS, 0.1, 1.1]), min_size=1, max_size=6))
def test_one_pass_finds_the_box_of_every_threshold(map_hw, thresholds):
    assert largest_boxes(map_hw, thresholds) == [plain_box(map_hw, threshold) for threshold in thresholds]


def test_the_overlap_of_boxes_by_hand():
    box = Box(0, 0, 4, 4)
    assert box.iou((0, 0, 4, 4)) == 1.0
    assert box.iou((2, 2, 4, 4)) == pytest.approx(4 / 28)
    assert box.iou((4, 0, 4, 4)) == 0.0
    assert box.iou((1, 1, 2.0, 2.0)) == pytest.approx(4 / 16)


def test_cells_become_pixels_within_the_image():
    assert Box(1, 0, 3, 2).in_pixels(4, (7, 14)) == Box(4, 0, 10, 7)
