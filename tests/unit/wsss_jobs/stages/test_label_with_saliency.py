"""Masks from CAMs and saliency maps of the user: where they lie, and what is said of bad ones."""

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.records import Cams
from wsss_jobs.stages.base import ItemInput, StageContext
from wsss_jobs.stages.label_with_saliency import LabelWithSaliency, LabelWithSaliencyConfig

CONTEXT = StageContext(("cat", "dog"), 0, "cpu", 1, {})
ITEM = DatasetItem("item", "folder/cat 1", "cat.jpg", 24, 16, (2,), "train")


def outcome(folder, item=ITEM):
    cam_Khw = np.zeros((1, 4, 6), dtype=np.float16)
    cam_Khw[0, 1:3, 1:3] = 1.0
    stage = LabelWithSaliency(LabelWithSaliencyConfig(saliency=str(folder / "{source_key}.png")), CONTEXT)
    (result,) = stage.process([ItemInput(item, None, {"cams": Cams((2,), cam_Khw)})])
    return result


def save(folder, array):
    path = folder / "folder" / "cat 1.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def test_objects_lie_where_both_agree(tmp_path):
    saliency_HW = np.zeros((16, 24), dtype=np.uint8)
    saliency_HW[3:13, 3:13] = 255
    saliency_HW[0, 20:] = 90  # a little salient, and no CAM
    save(tmp_path, saliency_HW)
    label_HW = outcome(tmp_path).record.label_HW
    assert (label_HW[5:11, 5:11] == 2).all()
    assert (label_HW[0, 20:] == 255).all()
    assert (label_HW[14:, :] == 0).all()
    assert (outcome(tmp_path).record.before_crf_HW != 255).all()


def test_a_missing_map_and_one_of_another_size_are_named(tmp_path):
    assert outcome(tmp_path).reason == "missing_saliency"
    save(tmp_path, np.zeros((16, 25), dtype=np.uint8))
    result = outcome(tmp_path)
    assert result.reason == "size_mismatch"
    assert "25 x 16 pixels, the image 24 x 16" in result.message


def test_the_address_must_name_the_image():
    with pytest.raises(ValidationError, match=r"must contain \{source_key\}"):
        LabelWithSaliencyConfig(saliency="maps/all.png")
