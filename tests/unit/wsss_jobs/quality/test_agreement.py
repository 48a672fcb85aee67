"""Agreement of labels against sets of pixels, counted one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsss_jobs.quality.agreement import SWEPT, cam_agreement, label_agreement


def test_agreement_by_hand():
    first = np.array([[1, 1, 0, 0], [1, 1, 0, 0]], np.uint8)
    second = np.array([[1, 0, 0, 0], [1, 0, 0, 2]], np.uint8)
    # background: 3 of 6; class 1: 2 of 4; class 2: 0 of 1
    assert label_agreement(first, second, (1, 2), 3) == pytest.approx((3 / 6 + 2 / 4 + 0) / 3)
    assert label_agreement(first, second, (1,), 3) == pytest.approx((3 / 6 + 2 / 4) / 2)


def test_a_tag_that_both_lack_counts_as_zero():
    empty = np.zeros((3, 3), np.uint8)
    assert label_agreement(empty, empty, (), 3) == 1.0
    assert label_agreement(empty, empty, (2,), 3) == 0.5


def test_255_is_background_in_the_first_and_does_not_count_in_the_second():
    first = np.array([[255, 1, 1, 0]], np.uint8)
    second = np.array([[0, 1, 255, 0]], np.uint8)
    assert label_agreement(first, second, (1,), 2) == 1.0


labels = st.integers(0, 2**31).map(lambda seed: np.random.default_rng(seed).integers(0, 3, (5, 6)).astype(np.uint8))


@given(labels, labels)
def test_agreement_is_symmetric_and_one_for_equal_labels(first, second):
    forward = label_agreement(first, second, (1, 2), 3)
    assert forward == pytest.approx(label_agreement(second, first, (1, 2), 3))
    assert 0.0 <= forward <= 1.0
    present = tuple(c for c in (1, 2) if (first == c).any())
    if (first == 0).any():
        assert label_agreement(first, first, present, 3) == 1.0


@given(st.integers(0, 2**31))
def test_cam_agreement_is_the_mean_over_plain_read_outs(seed):
    rng = np.random.default_rng(seed)
    cam = rng.random((2, 5, 6)).astype(np.float32)
    label = rng.choice([0, 1, 3], (5, 6)).astype(np.uint8)
    wanted = []
    for threshold in SWEPT:
        read = np.where(cam.max(0) > np.float32(threshold), np.array([1, 3])[cam.argmax(0)], 0).astype(np.uint8)
        pairs = [((read == c) & (label == c), (read == c) | (label == c)) for c in (0, 1, 3)]
        wanted.append(np.mean([both.sum() / max(either.sum(), 1) for both, either in pairs]))
    assert cam_agreement(cam, (1, 3), label, 4) == pytest.approx(np.mean(wanted))
