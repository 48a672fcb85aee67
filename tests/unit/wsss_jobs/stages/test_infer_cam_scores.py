"""CAM scores straight from the network: what `infer_cams` and `read_cams` give in two steps."""

import numpy as np
import pytest
import torch

from models.backbones import EncoderConfig
from models.classifiers.cam import CamClassifierConfig, build_cam_classifier
from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.records import ARTIFACT_FILE
from wsss_jobs.stages.base import Failed, ItemInput, Ok, StageContext
from wsss_jobs.stages.infer_cam_scores import InferCamScores, InferCamScoresConfig
from wsss_jobs.stages.infer_cams import InferCams, InferCamsConfig
from wsss_jobs.stages.read_cams import ReadCams, ReadCamsConfig

HEIGHT, WIDTH = 37, 50


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    torch.manual_seed(0)
    config = CamClassifierConfig(EncoderConfig("timm/test_efficientnet", weights=None), frozen_stages=0)
    networks.save_classifier(build_cam_classifier(config, 4), folder / ARTIFACT_FILE)
    return StageContext(("a", "b", "c", "d"), seed=0, device="cpu", num_threads=1, artifacts={"classifier": folder})


def entry(labels=(2, 4)):
    image_HW3 = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return ItemInput(DatasetItem("0" * 20, "x", "", WIDTH, HEIGHT, labels, "train"), image_HW3, {})


def test_it_is_infer_cams_and_read_cams_in_one(context):
    given = entry()
    config = InferCamScoresConfig(scales=(1.0, 2.0), background_threshold=0.4)
    (found,) = InferCamScores(config, context).process([given])
    (cams,) = InferCams(InferCamsConfig(scales=(1.0, 2.0), resampling="psa"), context).process([given])
    read = ReadCams(ReadCamsConfig(background_threshold=0.4), context)
    (expected,) = read.process([ItemInput(given.item, None, {"cams": cams.record})])
    assert isinstance(found, Ok)
    assert found.record.class_ids == (0, 2, 4)
    assert found.record.scores_Chw.shape == (3, HEIGHT, WIDTH)
    assert np.abs(found.record.scores_Chw - expected.record.scores_Chw).max() < 1e-3  # stored CAMs are float16
    assert (found.record.scores_Chw[0] == np.float32(0.4)).all()
    assert found.scores["mean_cam"] == pytest.approx(found.record.scores_Chw[1:].mean())


def test_an_image_without_tags_is_a_failed_item(context):
    (outcome,) = InferCamScores(InferCamScoresConfig(), context).process([entry(())])
    assert isinstance(outcome, Failed)
    assert outcome.reason == "unlabelled"


def test_defaults_are_isims():
    config = InferCamScoresConfig()
    assert (config.scales, config.background_threshold, config.resampling) == ((1.0, 0.5, 1.5, 2.0), 0.3, "psa")
