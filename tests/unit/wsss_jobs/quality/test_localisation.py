"""Localisation scores against values worked out by hand, and boxes as masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.quality.localisation import (
    THRESHOLDS,
    ImageLocalisation,
    _by_split,
    image_localisation,
    localisation_scores,
)
from wsss_jobs.records import Cams, ClassPrediction
from wsss_jobs.stages.base import ItemInput, StageContext
from wsss_jobs.stages.localise_boxes import LocaliseBoxes, LocaliseBoxesConfig

CONTEXT = StageContext(("a", "b", "c"), 0, "cpu", 1, {})


def ious(**at):
    values = np.zeros(len(THRESHOLDS))
    for name, value in at.items():
        values[int(name.removeprefix("t"))] = value
    return values


def image(number, iou_T, correct, split="test"):
    return ImageLocalisation(f"item{number}", split, iou_T, correct)


def test_scores_by_hand():
    images = [
        image(0, ious(t10=0.6, t20=0.9), True),
        image(1, ious(t10=0.8), True),
        image(2, ious(t10=0.7, t20=0.7), False),
        image(3, ious(t20=0.5), True),  # half is not more than half; for MaxBoxAcc it is enough
    ]
    scores = localisation_scores(images)
    assert scores.threshold == 0.10
    assert scores.top_1_cls == 0.75
    assert scores.top_1_loc == 0.5
    assert scores.gt_known_loc == 0.75
    assert scores.max_box_acc == 0.75
    at_20 = localisation_scores(images, 0.20)
    assert (at_20.top_1_loc, at_20.gt_known_loc) == (0.25, 0.5)


def test_without_predictions_the_threshold_is_that_of_the_known_class():
    scores = localisation_scores([image(0, ious(t30=0.9), None), image(1, ious(t30=0.6, t5=0.9), None)])
    assert (scores.top_1_cls, scores.top_1_loc) == (None, None)
    assert (scores.threshold, scores.gt_known_loc) == (0.30, 1.0)


def test_the_training_images_choose_a_threshold_too():
    images = [image(0, ious(t10=0.9), True, "train"), image(1, ious(t40=0.9), True), image(2, ious(t10=0.6), False)]
    train, test = sorted(_by_split("cams", images), key=lambda each: each.split == "test")
    assert train.held_out is None
    assert test.best.threshold == 0.40
    assert test.held_out.threshold == 0.10
    assert (test.best.top_1_loc, test.held_out.top_1_loc, test.held_out.gt_known_loc) == (0.5, 0.0, 0.5)


@settings(deadline=None, max_examples=10)
@given(data=st.data())
def test_top_1_is_never_above_what_it_is_part_of(data):
    values = st.floats(0, 1, width=32)
    images = [
        image(n, np.array(data.draw(st.lists(values, min_size=100, max_size=100))), data.draw(st.booleans()))
        for n in range(3)
    ]
    scores = localisation_scores(images, 0.5)
    assert scores.top_1_loc <= min(scores.top_1_cls, scores.gt_known_loc)
    assert scores.gt_known_loc <= scores.max_box_acc


def item(labels=(2,), boxes=((8.0, 4.0, 16.0, 12.0),)):
    return DatasetItem("item", "bird", "bird.jpg", 40, 30, labels, "test", boxes_xywh=boxes)


def cams(class_ids=(2,)):
    """An object of 16 x 12 px at (8, 4), with a stronger core of 8 x 8 px, on a stride-4 grid of 8 x 10 cells."""
    cam_Khw = np.zeros((len(class_ids), 8, 10), dtype=np.float16)
    cam_Khw[-1, 1:4, 2:6] = 0.5
    cam_Khw[-1, 1:3, 2:4] = 1.0
    return Cams(tuple(class_ids), cam_Khw)


def test_an_image_by_hand():
    found = image_localisation(cams(), item(), predicted=2)
    assert found.is_correct
    assert found.iou_T[0] == pytest.approx(16 * 12 / (40 * 30))  # at 0 the box is the image
    assert found.iou_T[1:51] == pytest.approx(1.0)
    assert found.iou_T[51:] == pytest.approx(8 * 8 / (16 * 12))
    assert not image_localisation(cams((1, 2)), item(), predicted=1).is_correct
    assert image_localisation(cams(), item((3,)), predicted=2) is None


def test_a_box_is_a_rectangle_of_its_class():
    stage = LocaliseBoxes(LocaliseBoxesConfig(threshold=0.4), CONTEXT)
    records = {"cams": cams((1, 2)), "predictions": ClassPrediction((2, 1), np.array([0.9, 0.1], np.float32))}
    (outcome,) = stage.process([ItemInput(item(), None, records)])
    expected = np.zeros((30, 40), dtype=np.uint8)
    expected[4:16, 8:24] = 2
    assert np.array_equal(outcome.record.label_HW, expected)
    assert outcome.scores == {"num_boxes": 1}


def test_boxes_of_all_tags_with_the_smaller_one_on_top():
    cam_Khw = np.zeros((2, 8, 10), dtype=np.float16)
    cam_Khw[0, 1:7, 1:9] = 1.0
    cam_Khw[1, 2:4, 2:4] = 1.0
    stage = LocaliseBoxes(LocaliseBoxesConfig(classes="tags"), CONTEXT)
    assert set(stage.reads(LocaliseBoxesConfig(classes="tags"))) == {"cams"}
    (outcome,) = stage.process([ItemInput(item((1, 3)), None, {"cams": Cams((1, 3), cam_Khw)})])
    label_HW = outcome.record.label_HW
    assert label_HW[10, 10] == 3
    assert label_HW[26, 30] == 1
    assert label_HW[0, 0] == 0
