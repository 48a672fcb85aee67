"""PSA's walk as a stage, against dense matrices and loops over pixels."""

import numpy as np
import pytest
import torch

from models.affinity.affinitynet import AffinityNetConfig, build_affinitynet
from models.affinity.affinitynet_inference import affinity_features
from models.backbones import EncoderConfig
from models.propagation.random_walk import RandomWalkConfig
from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.records import ARTIFACT_FILE, Cams
from wsss_jobs.stages.base import Failed, ItemInput, Ok, StageContext
from wsss_jobs.stages.random_walk_psa import RandomWalkPsa, RandomWalkPsaConfig
from wsss_jobs.stages.refine_masks import upsample

HEIGHT, WIDTH = 44, 61


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("affinitynet")
    torch.manual_seed(0)
    encoder = EncoderConfig("timm/test_efficientnet", weights=None)
    model = build_affinitynet(AffinityNetConfig(encoder, frozen_stages=0, group_norm=True))
    networks.save_affinitynet(model, folder / ARTIFACT_FILE)
    context = StageContext(("cat", "dog"), seed=3, device="cpu", num_threads=1, artifacts={"affinity": folder})
    return RandomWalkPsa(RandomWalkPsaConfig(), context)


def entry(cam_KHW):
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    item = DatasetItem("a", "a", "", WIDTH, HEIGHT, (1, 2), "train")
    cams = Cams((1, 2), cam_KHW[:, ::4, ::4].astype(np.float16), cam_KHW.astype(np.float16))
    return ItemInput(item, image, {"cams": cams})


def restated(stage, given, beta=8, alpha=16, radius=5):
    """Fact sheet 3.5 with the dense matrix, squared eight times."""
    cam = given.records["cams"].high_res_KHW.astype(np.float64)
    scores = np.concatenate([(1 - cam.max(axis=0, keepdims=True)) ** alpha, cam])
    h, w = -(-HEIGHT // 8), -(-WIDTH // 8)
    pooled = np.zeros((3, h, w))
    for y in range(HEIGHT):
        for x in range(WIDTH):
            pooled[:, y // 8, x // 8] += scores[:, y, x] / 64
    features = affinity_features(stage._model, given.image).double().numpy().reshape(448, -1)
    matrix = np.eye(h * w)
    for i in range(h * w):
        for j in range(h * w):
            if i != j and (i // w - j // w) ** 2 + (i % w - j % w) ** 2 < radius**2:
                matrix[i, j] = np.exp(-np.abs(features[:, i] - features[:, j]).mean())
    transition = matrix**beta
    transition /= transition.sum(axis=0, keepdims=True)
    for _ in range(8):
        transition = transition @ transition
    return (pooled.reshape(3, -1) @ transition).reshape(3, h, w)


def test_defaults_are_those_of_the_released_code(stage):
    config = RandomWalkPsaConfig()
    assert config.walk == RandomWalkConfig(radius=5, beta=8.0, log2_steps=8, damp_boundary=False)
    assert config.alpha == 16


def test_the_walk_is_the_released_one(stage):
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    cam = np.stack([np.exp(-((rows - 20) ** 2 + (columns - c) ** 2) / 150) for c in (15, 45)])
    given = entry(cam)
    [result] = stage.process([given])
    assert isinstance(result, Ok)
    assert result.record.class_ids == (0, 1, 2)
    np.testing.assert_allclose(result.record.scores_Chw, restated(stage, given), rtol=2e-4)


def test_scores_come_back_to_the_image_by_8_and_cropped(stage):
    [result] = stage.process([entry(np.full((2, HEIGHT, WIDTH), 0.5))])
    found = upsample(result.record, (HEIGHT, WIDTH), "log_probability")
    grid = torch.from_numpy(result.record.scores_Chw)[None]
    padded = torch.nn.functional.interpolate(grid, size=(48, 64), mode="bilinear", align_corners=False)[0].numpy()
    np.testing.assert_allclose(found, padded[:, :HEIGHT, :WIDTH], rtol=1e-6)


def test_a_cam_that_is_not_finite_fails_alone(stage):
    cam = np.full((2, HEIGHT, WIDTH), np.nan)
    good, bad = stage.process([entry(np.full((2, HEIGHT, WIDTH), 0.5)), entry(cam)])
    assert isinstance(good, Ok)
    assert isinstance(bad, Failed)
    assert bad.reason == "nan_cam"
