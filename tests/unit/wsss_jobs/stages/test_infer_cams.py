import numpy as np

from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.stages.base import Failed, ItemInput
from wsss_jobs.stages.infer_cams import InferCams


def test_an_image_without_tags_is_a_failed_item():
    item = DatasetItem("0" * 20, "empty", "empty.jpg", 24, 16, (), "train")
    stage = InferCams.__new__(InferCams)  # no network is asked
    (outcome,) = stage.process([ItemInput(item, np.zeros((16, 24, 3), dtype=np.uint8), {})])
    assert isinstance(outcome, Failed)
    assert outcome.reason == "unlabelled"
