"""Partial labels on the grid of AffinityNet."""

import numpy as np

from models.images import resize
from models.pooled_grid import reduced_image
from models.propagation.partial_labels import partial_label
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.records import Cams
from wsss_jobs.stages.base import ItemInput, Ok, StageContext
from wsss_jobs.stages.label_partially import LabelPartially, LabelPartiallyConfig

HEIGHT, WIDTH = 75, 101
CONTEXT = StageContext(("cat", "dog"), seed=0, device="cpu", num_threads=1, artifacts={})
CRF = {"gaussian_sxy_px": 2.0, "bilateral_sxy_px": 10.0, "bilateral_srgb": 3.0}


def entry():
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    cam = np.exp(-((rows - 30) ** 2 + (columns - 40) ** 2) / 200)[None].astype(np.float32)
    item = DatasetItem("a", "a", "", WIDTH, HEIGHT, (2,), "train")
    image = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return ItemInput(item, image, {"cams": Cams((2,), cam[:, ::4, ::4].astype(np.float16), cam.astype(np.float16))})


def test_at_stride_8_full_resolution_cams_are_averaged_and_divided_by_their_maximum():
    config = LabelPartiallyConfig(stride=8, labels={"crf": CRF})
    stage = LabelPartially(config, CONTEXT)
    given = entry()
    [result] = stage.process([given])
    assert isinstance(result, Ok)
    cam = given.records["cams"].high_res_KHW.astype(np.float32)
    pooled = np.zeros((1, 10, 13), np.float32)
    for y, x in np.ndindex(10, 13):
        pooled[0, y, x] = cam[0, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8].mean()
    pooled /= pooled.max() + 1e-5
    expected = partial_label(pooled, (2,), reduced_image(given.image, 8), config.labels, stage._crf)
    assert np.array_equal(result.record.label_HW, expected)
    assert {0, 2, 255} == set(np.unique(expected))


def test_at_stride_4_cams_and_image_are_taken_as_released():
    stage = LabelPartially(LabelPartiallyConfig(), CONTEXT)
    given = entry()
    [result] = stage.process([given])
    cams = given.records["cams"]
    image = resize(given.image, (19, 26), "lanczos")
    expected = partial_label(cams.cam_Khw, (2,), image, LabelPartiallyConfig().labels, stage._crf)
    assert np.array_equal(result.record.label_HW, expected)
