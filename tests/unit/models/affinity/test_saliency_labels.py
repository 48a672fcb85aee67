"""Labels from CAMs and saliency, pixel by pixel by hand."""

import numpy as np
import pytest

from models.affinity.saliency_labels import SaliencyRules, saliency_label
from models.errors import InvalidInputError


def test_each_rule_by_hand():
    # columns: clear object; weak object without saliency; background; background that is salient; both classes strong
    first = np.array([[1.0, 0.3, 0.0, 0.05, 0.95]], dtype=np.float32)
    second = np.array([[0.0, 0.0, 0.0, 0.0, 1.0]], dtype=np.float32)
    saliency = np.array([[250, 10, 10, 100, 250]], dtype=np.uint8)
    result = saliency_label(np.stack([first, second]), (3, 7), saliency, SaliencyRules())
    assert result.plain_HW.tolist() == [[3, 0, 0, 0, 7]]
    assert result.label_HW.tolist() == [[3, 0, 0, 255, 255]]


def test_a_strong_cam_is_no_background():
    cam = np.array([[[1.0, 0.85, 0.0]]], dtype=np.float32)
    saliency = np.array([[255, 13, 0]], dtype=np.uint8)  # the background's score is 0.95 in the middle
    assert saliency_label(cam, (1,), saliency, SaliencyRules()).label_HW.tolist() == [[1, 255, 0]]


def test_an_image_without_foreground_has_no_labels():
    cam = np.zeros((1, 20, 20), dtype=np.float32)
    cam[0, 0, :3] = 1.0
    saliency = np.zeros((20, 20), dtype=np.uint8)
    saliency[0, :3] = 255
    assert (saliency_label(cam, (1,), saliency, SaliencyRules()).label_HW == 255).all()
    kept = saliency_label(cam, (1,), saliency, SaliencyRules(min_foreground=0.005)).label_HW
    assert (kept[0, :3] == 1).all()
    assert (kept[1:] == 0).all()


def test_cams_are_stretched_first():
    saliency = np.array([[250, 3]], dtype=np.uint8)
    low = saliency_label(np.array([[[0.2, 0.1]]], dtype=np.float32), (1,), saliency, SaliencyRules())
    assert low.label_HW.tolist() == [[1, 0]]


def test_bad_input_is_named():
    with pytest.raises(InvalidInputError, match="must have one size"):
        saliency_label(np.zeros((1, 2, 2), np.float32), (1,), np.zeros((3, 2), np.uint8), SaliencyRules())
    with pytest.raises(InvalidInputError, match="conflict must be in"):
        SaliencyRules(conflict=2.0)
