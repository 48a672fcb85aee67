"""IRN's walk as a stage: the published read-out, and instance masks as what comes along."""

import numpy as np
import pytest
import torch

from models.affinity.irnet import IRNet
from models.affinity.irnet_inference import boundary_features
from models.backbones import EncoderConfig, build_encoder
from models.propagation.instance_masks import InstanceConfig, instance_masks
from models.propagation.random_walk import RandomWalkConfig, random_walk
from wsss_jobs import networks
from wsss_jobs.config.recipe import parse_recipe
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import ConfigError
from wsss_jobs.pipeline import build_plan
from wsss_jobs.quality.otsu import otsu_threshold, score_histogram
from wsss_jobs.records import ARTIFACT_FILE, Cams
from wsss_jobs.stage_io import stage_folder
from wsss_jobs.stages.base import ItemInput, StageContext
from wsss_jobs.stages.random_walk import RandomWalkStage, RandomWalkStageConfig
from wsss_jobs.stages.refine_masks import RefineMasks, RefineMasksConfig, upsample
from wsss_jobs.storage.instance_rows import rows_of_png
from wsss_jobs.storage.uris import open_store

HEIGHT, WIDTH = 33, 47
WALK = RandomWalkConfig(log2_steps=3)
CHAIN = [
    {"stage": "train_classifier", "classifier": {"encoder": {"weights": None}}},
    {"stage": "infer_cams"},
    {"stage": "make_affinity_labels"},
    {"stage": "train_affinity"},
    {"stage": "random_walk", "instances": {}},
    {"stage": "refine_masks", "name": "walk_masks", "unary": "label", "crf": None},
    {"stage": "read_cams"},
    {"stage": "refine_masks", "name": "cam_masks", "unary": "label", "crf": None},
]


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    folder = tmp_path_factory.mktemp("affinity")
    torch.manual_seed(0)
    encoder = EncoderConfig("timm/test_efficientnet", weights=None)
    model = IRNet(build_encoder(encoder))
    model.displacement.last.weight.data *= 30  # a field that is longer than nothing
    networks.save_irnet(model, encoder, folder / ARTIFACT_FILE)
    return StageContext(("cat", "dog"), seed=3, device="cpu", num_threads=1, artifacts={"affinity": folder})


def entry():
    rng = np.random.default_rng(0)
    cam_Khw = rng.random((2, 9, 12)).astype(np.float16)
    image = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return ItemInput(DatasetItem("a", "a", "", WIDTH, HEIGHT, (1, 2), "train"), image, {"cams": Cams((1, 2), cam_Khw)})


def test_scores_are_irns_and_instances_change_none(context):
    given = entry()
    plain = RandomWalkStage(RandomWalkStageConfig(walk=WALK), context)
    [found] = plain.process([given])
    [with_instances] = RandomWalkStage(RandomWalkStageConfig(walk=WALK, instances=InstanceConfig()), context).process(
        [given]
    )
    np.testing.assert_array_equal(found.record.scores_Chw, with_instances.record.scores_Chw)
    assert found.record.instances is None
    boundary = boundary_features(plain._model, given.image, plain._encoder).boundary_hw
    walked = random_walk(torch.from_numpy(given.records["cams"].cam_Khw.astype(np.float32)), boundary, WALK).numpy()
    scores = upsample(found.record, (HEIGHT, WIDTH), "log_probability")
    assert scores[1:].max() == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(scores[0], 0.25)
    ratio = found.record.scores_Chw[1:] / walked
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-5)


def test_instances_go_on_to_the_masks_and_into_the_store(context, tmp_path):
    given, config = entry(), InstanceConfig(min_area_fraction=0.0)
    stage = RandomWalkStage(RandomWalkStageConfig(walk=WALK, instances=config), context)
    [walked] = stage.process([given])
    found = boundary_features(stage._model, given.image, stage._encoder)
    cam_Khw = torch.from_numpy(given.records["cams"].cam_Khw.astype(np.float32))
    expected = instance_masks(cam_Khw, (1, 2), found.boundary_hw, found.displacement_2hw, (HEIGHT, WIDTH), WALK, config)
    assert walked.scores["num_instances"] == len(expected.instances) > 1
    assert walked.scores["separation"] == otsu_threshold(score_histogram(walked.record.scores_Chw[1:]))
    np.testing.assert_array_equal(walked.record.instances.id_HW, expected.id_HW)

    refine = RefineMasks(RefineMasksConfig(crf=None), context)
    [mask] = refine.process([ItemInput(given.item, given.image, {"scores": walked.record})])
    folder = stage_folder(plan().stage("walk_masks"), open_store(str(tmp_path)))
    receipt = folder.commit(given.item, mask.record)
    assert [fact["variant"] for fact in receipt["masks"]] == ["instances", "masks_before_crf", "masks"]
    np.testing.assert_array_equal(folder.outputs.read_mask(given.item, "instances"), expected.id_HW)
    rows = rows_of_png(folder.outputs.mask_data(folder.outputs.mask_key(given.item, "instances"), "instances"))
    assert [(row.instance_id, row.class_id, row.score) for row in rows] == [
        (number, instance.class_id, instance.score) for number, instance in enumerate(expected.instances, 1)
    ]
    np.testing.assert_array_equal(folder.read(given.item).label_HW, mask.record.label_HW)


def plan(*overrides):
    content = {"name": "x", "dataset": {"format": "voc", "root": "."}, "stages": CHAIN}
    return build_plan(parse_recipe(content, overrides).stages, "d0", 0)


def test_only_masks_of_the_walk_have_instances(tmp_path):
    store = open_store(str(tmp_path))
    labels = ("masks_before_crf", "masks")
    assert stage_folder(plan().stage("walk_masks"), store).outputs.mask_variants == ("instances", *labels)
    assert stage_folder(plan().stage("cam_masks"), store).outputs.mask_variants == labels


def test_instances_need_a_network_with_displacements():
    with pytest.raises(ConfigError, match=r"stages\.random_walk\.instances: .*with_displacement: true"):
        plan("stages.train_affinity.with_displacement=false")
    plan("stages.train_affinity.with_displacement=false", "stages.random_walk.instances=null")
