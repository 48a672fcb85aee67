"""Scores against torchmetrics' own mean IoU, and against values worked out by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_jaccard_index

from wsss_jobs.errors import DataError
from wsss_jobs.quality.scores import confusion_matrix, scores
from wsss_jobs.quality.threshold_sweep import THRESHOLDS, sweep_confusions


def test_by_hand():
    truth = np.array([[0, 0, 1, 255], [1, 1, 2, 2]], dtype=np.uint8)
    label = np.array([[0, 1, 1, 2], [1, 0, 2, 255]], dtype=np.uint8)
    counts = confusion_matrix(label, truth, 4)
    assert counts.tolist() == [[1, 1, 0, 0], [1, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    found = scores(counts, ["a", "b", "c"])
    assert found.iou[:3] == pytest.approx((1 / 4, 2 / 4, 1 / 2))
    assert np.isnan(found.iou[3])
    assert found.miou == pytest.approx((1 / 4 + 1 / 2 + 1 / 2) / 3)
    assert found.precision[:3] == pytest.approx((1 / 3, 2 / 3, 1))
    assert found.recall[:3] == pytest.approx((1 / 2, 2 / 3, 1 / 2))
    assert found.pixel_accuracy == pytest.approx(4 / 7)
    assert found.num_pixels == 7


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), num_classes=st.integers(2, 8))
def test_miou_is_that_of_torchmetrics(seed, num_classes):
    rng = np.random.default_rng(seed)
    truth = rng.choice([*range(num_classes), 255], size=(13, 17)).astype(np.uint8)
    label = rng.integers(0, num_classes, size=(13, 17)).astype(np.uint8)
    found = scores(confusion_matrix(label, truth, num_classes), [""] * (num_classes - 1))
    expected = multiclass_jaccard_index(
        torch.from_numpy(label.astype(np.int64)),
        torch.from_numpy(truth.astype(np.int64)),
        num_classes=num_classes,
        ignore_index=255,
        average="none",
    )
    assert np.nan_to_num(np.array(found.iou)) == pytest.approx(np.nan_to_num(expected.numpy()), abs=1e-6)


def test_the_sweep_equals_one_read_out_a_threshold():
    rng = np.random.default_rng(0)
    cam = np.round(rng.random((2, 30, 40)), 2).astype(np.float32)  # values on the thresholds themselves, too
    truth = rng.choice([0, 1, 3, 2, 255], size=(30, 40)).astype(np.uint8)
    ids = np.array([1, 3])
    swept = sweep_confusions(cam, (1, 3), truth, 5)
    for index, threshold in enumerate(THRESHOLDS):
        label = np.where(cam.max(axis=0) > threshold, ids[cam.argmax(axis=0)], 0).astype(np.uint8)
        assert np.array_equal(swept[index], confusion_matrix(label, truth, 5)), threshold


def test_sizes_and_values_are_checked():
    good = np.zeros((4, 5), dtype=np.uint8)
    with pytest.raises(DataError, match="5 x 3") as caught:
        confusion_matrix(np.zeros((3, 5), dtype=np.uint8), good, 3)
    assert caught.value.reason == "size_mismatch"
    with pytest.raises(DataError, match=r"truth holds \[7\]"):
        confusion_matrix(good, np.full((4, 5), 7, dtype=np.uint8), 3)
