import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsss_jobs.quality.otsu import NUM_BINS, otsu_threshold, score_histogram


def between_variance(values, cut):
    """Otsu's criterion from the values themselves: product of the shares times the squared distance of the means."""
    low, high = values[values < cut], values[values >= cut]
    if not len(low) or not len(high):
        return 0.0
    return len(low) * len(high) / len(values) ** 2 * (low.mean() - high.mean()) ** 2


@given(st.lists(st.integers(0, 30), min_size=2, max_size=40).filter(lambda bins: len(set(bins)) > 1))
def test_no_cut_parts_the_values_better(bins):
    counts = np.bincount(bins, minlength=31)
    values = (np.array(bins) + 0.5) / 31
    found = between_variance(values, otsu_threshold(counts))
    assert found == pytest.approx(max(between_variance(values, cut / 31) for cut in range(1, 31)), rel=1e-9)


def test_two_groups_are_parted_in_the_middle_of_the_gap():
    counts = np.zeros(100, int)
    counts[[10, 11]], counts[[60, 61]] = 50, 20
    assert otsu_threshold(counts) == pytest.approx((12 + 60) / 2 / 100)


@pytest.mark.parametrize("counts", [np.zeros(10, int), np.eye(10, dtype=int)[3]])
def test_one_value_cannot_be_parted(counts):
    assert otsu_threshold(counts) is None


def test_the_histogram_is_of_the_best_class():
    cam_KHW = np.array([[[0.1005, 0.0]], [[0.05, 1.0]]], np.float32)
    counts = score_histogram(cam_KHW)
    assert counts.sum() == 2
    assert counts[100] == counts[NUM_BINS - 1] == 1
