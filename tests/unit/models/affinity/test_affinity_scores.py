"""Affinity scores and the label made of them: PSA's recipe restated, and its bad input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.affinity.affinity_scores import AffinityScoreConfig, affinity_scores, label_from_scores
from models.affinity.background_score import background_stack
from models.crf.dense_crf import DenseCRF
from models.errors import InvalidInputError


class NoCrf:
    """A CRF without pairwise terms: softmax of minus the unary."""

    def refine_many(self, image_HW3, unary_VCHW):
        scores = np.exp(-unary_VCHW)
        return scores / scores.sum(axis=1, keepdims=True)


def restated_label(low, high):
    """Fact sheet 3.3, cell by cell."""
    _, height, width = low.shape
    label = np.zeros((height, width), int)
    for y in range(height):
        for x in range(width):
            label[y, x] = low[:, y, x].argmax()
            if label[y, x] == 0:
                label[y, x] = 255
            if high[:, y, x].argmax() == 0:
                label[y, x] = 0
            if max(low[:, y, x].max(), high[:, y, x].max()) < 1e-5:
                label[y, x] = 255
    return label


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.float32, (2, 3, 4, 5), elements=st.sampled_from([0.0, 1e-6, 0.1, 0.3, 0.5, 0.9])))
def test_label_is_the_released_one(scores):
    assert np.array_equal(label_from_scores(scores), restated_label(*scores))


def test_background_of_the_high_alpha_overrides_foreground_of_the_low_one():
    scores = np.array([[[[0.1]], [[0.9]]], [[[0.8]], [[0.2]]]])
    assert label_from_scores(scores).tolist() == [[0]]


@pytest.mark.parametrize(("alpha", "crossing"), [(4, 0.2755), (16, 0.1228), (24, 0.0939), (32, 0.0770)])
def test_one_class_takes_over_where_computed(alpha, crossing):
    cam = np.array([[[crossing - 0.0005, crossing + 0.0005]]])
    assert background_stack(cam, alpha).argmax(axis=0).tolist() == [[0, 1]]


def test_two_thresholds_leave_an_unsure_band_between_them():
    cam = np.array([[[0.9, 0.28, 0.27, 0.1, 0.078, 0.076, 0.0]]], np.float32)
    image = np.zeros((1, 7, 3), np.uint8)
    scores = affinity_scores(cam, (5,), image, AffinityScoreConfig(), NoCrf())
    assert scores.shape == (2, 2, 1, 7)
    assert label_from_scores(scores).tolist() == [[1, 1, 255, 255, 255, 0, 0]]


def test_scores_are_two_real_crfs_on_the_unnormalised_stack():
    rng = np.random.default_rng(0)
    cam = (rng.random((2, 30, 40)) ** 3).astype(np.float32)
    image = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    config = AffinityScoreConfig()
    crf = DenseCRF(config.crf)
    assert (config.crf.bilateral_sxy_px, config.crf.bilateral_srgb, config.crf.bilateral_compat) == (80, 13, 10)
    found = affinity_scores(cam, (4, 9), image, config, crf)
    for scores, alpha in zip(found, (4, 32), strict=True):
        stack = np.concatenate([(1 - cam.max(axis=0, keepdims=True)) ** alpha, cam])
        expected = crf.refine(image, -np.log(np.clip(stack, 1e-5, 1.0)))
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        np.testing.assert_allclose(scores.sum(axis=0), 1, atol=1e-4)


def test_nan_and_alphas_are_checked():
    cam = np.full((1, 4, 4), np.nan, np.float32)
    with pytest.raises(InvalidInputError, match="not finite"):
        affinity_scores(cam, (1,), np.zeros((4, 4, 3), np.uint8), AffinityScoreConfig(), NoCrf())
    with pytest.raises(InvalidInputError, match="alpha_low <= alpha_high"):
        AffinityScoreConfig(alpha_low=8, alpha_high=4)
