"""Affinity labels: the recipe restated, and its bad input."""

import numpy as np
import pytest

from models.affinity.affinity_labels import AffinityLabelConfig, affinity_label
from models.crf.dense_crf import DenseCRF
from models.crf.unaries import unary_from_labels
from models.errors import InvalidInputError


class HardCrf:
    """Leaves hard labels as they are."""

    def refine_many(self, image_HW3, unary_VCHW):
        return np.exp(-unary_VCHW)


def test_thresholds_split_the_cam_into_sure_unsure_and_background():
    cam = np.array([[[0.9, 0.31, 0.30, 0.2, 0.06, 0.05, 0.01]], [[0.1, 0.4, 0.1, 0.1, 0.0, 0.0, 0.0]]], np.float32)
    label = affinity_label(cam, (3, 7), np.zeros((1, 7, 3), np.uint8), AffinityLabelConfig(), HardCrf())
    assert label.tolist() == [[3, 7, 255, 255, 255, 0, 0]]


def test_labels_are_the_released_recipe_with_a_real_crf():
    """Fact sheet 2.6: two CRFs on hard labels; foreground of the first, background of the second, the rest ignored."""
    rng = np.random.default_rng(0)
    cam = rng.random((2, 40, 50)).astype(np.float32) ** 3
    cam[0, 10:30, 10:30] += 0.4
    cam = np.clip(cam, 0, 1)
    image = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    config = AffinityLabelConfig()
    crf = DenseCRF(config.crf)
    hard = []
    for threshold in (0.30, 0.05):
        local = np.concatenate([np.full((1, 40, 50), threshold, np.float32), cam]).argmax(axis=0)
        hard.append(crf.refine(image, unary_from_labels(local, 3, 0.7)).argmax(axis=0))
    expected = np.where(hard[0] > 0, np.array([0, 4, 9])[hard[0]], np.where(hard[1] == 0, 0, 255))
    assert np.array_equal(affinity_label(cam, (4, 9), image, config, crf), expected)


def test_nan_and_thresholds_are_checked():
    cam = np.full((1, 4, 4), np.nan, np.float32)
    with pytest.raises(InvalidInputError, match="not finite"):
        affinity_label(cam, (1,), np.zeros((4, 4, 3), np.uint8), AffinityLabelConfig(), HardCrf())
    with pytest.raises(InvalidInputError, match="background_threshold <= foreground_threshold"):
        AffinityLabelConfig(foreground_threshold=0.1, background_threshold=0.2)
