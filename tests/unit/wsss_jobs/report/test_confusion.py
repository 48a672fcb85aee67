"""The confusion matrix as a picture."""

import numpy as np
import pytest

from wsss_jobs.quality.evaluation import Evaluation
from wsss_jobs.quality.scores import scores
from wsss_jobs.report.confusion import MAX_CLASSES, confusion_picture, shown_classes


def evaluation(confusion):
    names = [f"class {n}" for n in range(1, len(confusion))]
    return Evaluation("masks", "mask", scores(confusion, names), (), 0, confusion_CC=confusion)


def test_rows_are_shares_of_the_truth():
    picture = confusion_picture(evaluation(np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])), "GCN")
    shares = {(cell.truth, cell.label): cell.share for cell in picture.cells}
    assert shares["background", "background"] == pytest.approx(0.75)
    assert shares["background", "class 1"] == pytest.approx(0.25)
    assert shares["class 1", "background"] == pytest.approx(0.25)
    assert {shares["class 2", name] for name in picture.names} == {0.0}
    place = {cell.truth: cell.top for cell in picture.cells}
    assert place["background"] < place["class 1"] < place["class 2"]
    assert next(cell.level for cell in picture.cells if cell.share == 0.75) == 15


def test_nothing_to_show():
    assert confusion_picture(None, "") is None
    assert confusion_picture(evaluation(np.zeros((2, 2), int)), "") is None


def test_of_many_classes_those_that_are_confused_most():
    confusion = np.eye(MAX_CLASSES + 10, dtype=int) * 1000
    confusion[45, 3], confusion[7, 44] = 50, 40
    shown = shown_classes(confusion)
    assert len(shown) == MAX_CLASSES
    assert shown == sorted(shown)
    assert {0, 3, 7, 44, 45} <= set(shown)
    picture = confusion_picture(evaluation(confusion), "")
    assert picture.num_left_out == 10
    assert len(picture.cells) == MAX_CLASSES**2
