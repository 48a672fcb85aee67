"""Unaries against numbers worked out by hand."""

import numpy as np
import pytest

from models.crf.unaries import unary_from_labels, unary_from_probabilities, unary_from_softmax
from models.errors import InvalidInputError


def test_probabilities_are_clipped_and_not_normalised():
    score_CHW = np.array([0.0, 1e-9, 0.25, 1.0, 1.5, -1.0], np.float32).reshape(2, 1, 3)
    expected_CHW = np.array([11.512925, 11.512925, 1.3862944, 0, 0, 11.512925]).reshape(2, 1, 3)
    unary_CHW = unary_from_probabilities(score_CHW)
    assert unary_CHW.dtype == np.float32
    assert np.allclose(unary_CHW, expected_CHW, rtol=1e-6, atol=0)


def test_softmax():
    score_CHW = np.log(np.array([1.0, 3.0, 4.0])).reshape(3, 1, 1)
    expected_CHW = -np.log(np.array([1 / 8, 3 / 8, 1 / 2])).reshape(3, 1, 1)
    for shift in (0.0, 500.0, -500.0):
        unary_CHW = unary_from_softmax((score_CHW + shift).astype(np.float64))
        assert unary_CHW.dtype == np.float32
        assert np.allclose(unary_CHW, expected_CHW, rtol=1e-5)


def test_softmax_of_probabilities_leaves_one_nat():
    """The released WSGCN's double softmax: scores 1, 0, 0."""
    unary_CHW = unary_from_softmax(np.array([1.0, 0.0, 0.0], np.float32).reshape(3, 1, 1))
    assert np.allclose(unary_CHW.ravel(), [np.log(1 + 2 / np.e), np.log(np.e + 2), np.log(np.e + 2)], rtol=1e-6)


@pytest.mark.parametrize(("num_labels", "other"), [(2, 1.2039728), (3, 1.8971200), (4, 2.3025851)])
def test_labels_with_confidence(num_labels, other):
    label_HW = np.array([[0, 1], [1, 0]])
    unary_CHW = unary_from_labels(label_HW, num_labels, confidence=0.7)
    assert unary_CHW.dtype == np.float32
    for y, x in np.ndindex(2, 2):
        expected = [0.35667494 if label == label_HW[y, x] else other for label in range(num_labels)]
        assert np.allclose(unary_CHW[:, y, x], expected, rtol=1e-6)


def test_ignored_pixels_favour_nothing():
    label_HW = np.array([[0, 255, 2]], np.uint8)
    unary_CHW = unary_from_labels(label_HW, 4, confidence=0.7, ignore_label=255)
    assert np.allclose(unary_CHW[:, 0, 1], np.log(4))
    assert np.allclose(unary_CHW[:, 0, 2], [2.3025851, 2.3025851, 0.35667494, 2.3025851])


def test_one_label_has_no_energy():
    assert np.array_equal(unary_from_labels(np.zeros((2, 3), np.uint8), 1, 0.7), np.zeros((1, 2, 3)))


SCORES = np.full((2, 2, 2), 0.5, np.float32)
BAD_CALLS = {
    "NaN score": (lambda: unary_from_probabilities(SCORES * np.nan), "found NaN"),
    "NaN logit": (lambda: unary_from_softmax(SCORES * np.nan), "found NaN"),
    "infinite logit": (lambda: unary_from_softmax(SCORES * np.inf), "infinity"),
    "no labels axis": (lambda: unary_from_probabilities(SCORES[0]), r"found shape \(2, 2\)"),
    "empty": (lambda: unary_from_softmax(SCORES[:0]), r"not empty, found shape \(0, 2, 2\)"),
    "label too large": (lambda: unary_from_labels(np.array([[0, 3]]), 3, 0.7), r"0..2, found 0..3"),
    "label below 0": (lambda: unary_from_labels(np.array([[-1, 2]]), 3, 0.7), r"found -1..2"),
    "unnamed ignore": (lambda: unary_from_labels(np.array([[0, 255]]), 3, 0.7), "as ignore_label"),
    "float labels": (lambda: unary_from_labels(np.zeros((2, 2)), 3, 0.7), "integers"),
    "three axes": (lambda: unary_from_labels(np.zeros((1, 2, 2), int), 3, 0.7), "integers"),
    "confidence 1": (lambda: unary_from_labels(np.zeros((2, 2), int), 3, 1.0), "confidence"),
    "confidence 0": (lambda: unary_from_labels(np.zeros((2, 2), int), 3, 0.0), "confidence"),
    "no labels": (lambda: unary_from_labels(np.zeros((2, 2), int), 0, 0.7), "num_labels"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_input(name):
    call, reason = BAD_CALLS[name]
    with pytest.raises(InvalidInputError, match=reason):
        call()
