"""Localisation on real images: the data set that is made of them, metrics by hand, and figures of a few seeds."""

import csv
import json
import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks import real_voc_wsol
from benchmarks.boxes_by_hand import (
    Found,
    box_at,
    by_split,
    differences,
    image_by_hand,
    iou,
    localisation_by_hand,
    scores_at,
    stretched,
)
from benchmarks.real_voc import half_of
from benchmarks.real_voc_wsol import METHODS, RECIPE, checked_scores, places, summary
from benchmarks.voc_boxes import is_train, write_voc_boxes
from wsss_jobs.config.recipe import load_recipe, parse_recipe
from wsss_jobs.datasets.class_lists import VOC_CLASSES
from wsss_jobs.datasets.config import CubConfig
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.datasets.sources import load_class_names, load_sources
from wsss_jobs.datasets.synthetic import SyntheticStyle, generate_cub
from wsss_jobs.job import prepare
from wsss_jobs.pipeline import build_plan
from wsss_jobs.quality.evaluate import read_truth
from wsss_jobs.quality.localisation import evaluate_localisation
from wsss_jobs.records import Cams, ClassPrediction
from wsss_jobs.stage_io import stage_folder, stage_kind
from wsss_jobs.storage.mask_png import encode_mask

DOG, CAT = VOC_CLASSES.index("dog") + 1, VOC_CLASSES.index("cat") + 1


@pytest.fixture
def voc(tmp_path):
    """A subset of four images, of which three have one tag; `a` is for training, `e` and `f` for tests."""
    root = tmp_path / "voc_subset"
    for folder in ("JPEGImages", "SegmentationClassAug", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    rows = [("a", "dog"), ("e", "cat"), ("c", "cat|dog"), ("f", "dog"), ("elsewhere", "dog")]
    for number, (name, tags) in enumerate(rows):
        label_HW = np.zeros((30, 40), np.uint8)
        label_HW[5 : 9 + number, 10:30] = DOG if "dog" in tags else CAT
        label_HW[20, 35] = 255
        Image.new("RGB", (40, 30), (number, 0, 0)).save(root / "JPEGImages" / f"{name}.jpg")
        (root / "SegmentationClassAug" / f"{name}.png").write_bytes(encode_mask(label_HW))
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("a\ne\nc\nf\n")
    with (root / "image_labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "labels"), *((f"{name}.jpg", tags) for name, tags in rows)])
    return root


def test_images_with_one_tag_and_the_extents_of_their_masks(voc, tmp_path):
    root = tmp_path / "boxes"
    assert write_voc_boxes(voc, root) == 3
    config = CubConfig(root=str(root), splits=("train", "test"))
    assert load_class_names(config)[DOG - 1] == f"{DOG:03d}.dog"
    found = {source.source_key: source for source in load_sources(config)}
    assert {key: (source.labels, source.boxes_xywh) for key, source in found.items()} == {
        f"{DOG:03d}.dog/a": ((DOG,), ((10.0, 5.0, 20.0, 4.0),)),
        f"{CAT:03d}.cat/e": ((CAT,), ((10.0, 5.0, 20.0, 5.0),)),
        f"{DOG:03d}.dog/f": ((DOG,), ((10.0, 5.0, 20.0, 7.0),)),
    }
    for key, source in found.items():
        assert source.split == ("train" if is_train(key.rpartition("/")[2]) else "test")
        assert source.mask_uri is not None
    assert all(path.is_symlink() for path in (root / "images").rglob("*.jpg"))
    assert write_voc_boxes(voc, root) == 3  # again, over what is there
    assert write_voc_boxes(voc, tmp_path / "two", 2) == 2


def test_the_split_is_that_of_the_halves():
    for name in map(str, range(20)):
        item = DatasetItem(name, name, name, 1, 1, (1,), "train")
        assert is_train(name) == (half_of(item) == "tuned_half")


def test_the_recipe_can_be_planned_and_every_method_is_a_stage_of_it(tmp_path):
    recipe = load_recipe(str(RECIPE), places(tmp_path, tmp_path, tmp_path))
    plan = build_plan(recipe.stages, "0" * 16, 0)
    assert {stage.name for stage in plan.stages if stage.spec.WRITES is Cams} == set(METHODS.values())
    assert plan.stage("infer_single_cams").inputs["network"] == "train_single"
    assert plan.stage("infer_groupwise_cams").inputs["network"] == "train_groupwise"
    for stage in plan.stages:
        if stage.is_training:
            network = getattr(stage.config, "network", None) or stage.config.classifier
            assert network.encoder.weights == str(tmp_path / "weights" / "mobilenet_v2_imagenet.pt")
            assert stage.config.splits == ("train",)  # never the test images


def test_boxes_by_hand():
    map_hw = np.zeros((8, 10))
    map_hw[1:4, 2:6] = 0.5  # 12 cells
    map_hw[4, 6] = 0.5  # touches at a corner only: another part
    map_hw[6, 0:3] = 1.0
    assert box_at(map_hw, 0.0, (30, 40)) == (0, 0, 40, 30)
    assert box_at(map_hw, 0.5, (30, 40)) == (8, 4, 24, 16)
    assert box_at(map_hw, 0.51, (30, 40)) == (0, 24, 12, 28)
    assert box_at(map_hw, 1.01, (30, 40)) is None
    map_hw[0, 7:10] = 1.0  # as large, and earlier
    assert box_at(map_hw, 0.51, (30, 40)) == (28, 0, 40, 4)
    assert iou((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(50 / 150)
    assert iou((0, 0, 4, 4), (4, 0, 8, 4)) == 0
    assert stretched(np.array([[2.0, 4.0], [6.0, 3.0]], np.float16)).tolist() == [[0.0, 0.5], [1.0, 0.25]]
    assert not stretched(np.ones((2, 2))).any()


def test_metrics_by_hand():
    """Of four images; thresholds above 0.02 find nothing."""
    ious = [(0.6, 0.9, 0.0), (0.8, 0.2, 0.0), (0.7, 0.7, 0.0), (0.0, 0.5, 0.0)]
    correct = [True, True, False, True]
    images = [
        Found("test", (*values, *[0.0] * 97), is_correct) for values, is_correct in zip(ious, correct, strict=True)
    ]
    scores = scores_at(images, 0)
    assert (scores.top_1_cls, scores.top_1_loc, scores.gt_known_loc, scores.max_box_acc) == (0.75, 0.5, 0.75, 0.75)
    assert (scores_at(images, 1).top_1_loc, scores_at(images, 1).gt_known_loc) == (0.25, 0.5)
    train = [Found("train", (0.0, 0.9, *[0.0] * 98), True)]
    first, second = by_split("cams", [*images, *train])
    assert (first.split, first.best.threshold, first.held_out) == ("train", 0.01, None)
    assert (second.best.threshold, second.held_out.threshold, second.held_out.top_1_loc) == (0.0, 0.01, 0.25)


@pytest.fixture
def finished(tmp_path):
    """A job on generated boxes whose CAMs are random blobs and whose predictions are wrong for every third image."""
    style = SyntheticStyle(width_px=66, height_px=50, max_objects=1, val_part=0.5)
    config = generate_cub(tmp_path / "cub", 24, style=style)
    stages = [{"stage": "train_single_label_classifier"}, {"stage": "predict_classes"}, {"stage": "infer_cams"}]
    content = {"name": "boxes", "dataset": config.model_dump(), "store": {"uri": str(tmp_path)}, "stages": stages}
    job = prepare(parse_recipe(content))
    return job, fill(job)


def fill(job):
    """Fills all stages of predictions and CAMs; returns both records of each item."""
    rng = np.random.default_rng(0)
    records = {item.item_id: _records(item, rng, number) for number, item in enumerate(job.dataset.items)}
    for stage in job.plan.stages:
        if stage.spec.WRITES in (ClassPrediction, Cams):
            folder = stage_folder(stage, job.store)
            for item in job.dataset.items:
                facts = folder.commit(item, records[item.item_id][int(stage.spec.WRITES is Cams)])
                folder.outputs.write_receipts([{"item_id": item.item_id, "attempt": 1, **facts}])
            folder.outputs.finalise(job.dataset.items, stage_kind(stage))
    return records


def _records(item, rng, number):
    """Returns a prediction, and the mask at stride 4 on a floor of noise with few values, so that parts are alike."""
    (class_id,) = item.labels
    truth_hw = (read_truth(item) == class_id)[::4, ::4]
    cam_hw = np.round(rng.random(truth_hw.shape) * 5) / 10 + 0.5 * truth_hw * rng.random()
    predicted = class_id if number % 3 else class_id % 6 + 1
    prediction = ClassPrediction((predicted,), np.array([0.9], np.float32))
    return prediction, Cams((class_id,), cam_hw[None].astype(np.float16))


def test_the_products_metrics_are_those_by_hand_on_generated_boxes(finished):
    job, records = finished
    found = checked_scores(job)
    assert [(each.split, each.best.num_images) for each in found] == [("test", 12), ("train", 12)]
    test_items = [item for item in job.dataset.items if item.split == "test"]
    right = [records[item.item_id][0].top_class == item.labels[0] for item in test_items]
    assert found[0].best.top_1_cls == sum(right) / 12
    assert 0 < found[0].best.gt_known_loc < 1
    image = image_by_hand(test_items[0], records[test_items[0].item_id][1], records[test_items[0].item_id][0])
    (_, _, width, height) = test_items[0].boxes_xywh[0]
    assert image.ious[0] == pytest.approx(width * height / (66 * 50))  # at 0 the box is the image


def test_a_wrong_metric_is_found(finished):
    job, _ = finished
    product, by_hand = evaluate_localisation(job.plan, job.dataset, job.store), localisation_by_hand(job)
    assert differences(product, by_hand) == []
    assert len(differences(product[:1], by_hand)) == 6
    assert "infer_cams train best" in differences(product[:1], by_hand)[0]


def test_the_whole_benchmark_but_its_networks(voc, tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "mobilenet_v2_imagenet.pt").write_bytes(b"not looked into")
    monkeypatch.setattr(real_voc_wsol, "run_job", lambda job, watch: fill(job))
    options = {"--data": tmp_path, "--store": tmp_path / "store", "--seeds": "0,1", "--json": tmp_path / "found.json"}
    monkeypatch.setattr(sys, "argv", ["real_voc_wsol", *(str(part) for pair in options.items() for part in pair)])
    real_voc_wsol.main()
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["num_images"], found["num_test_images"], found["seeds"]) == (3, 2, [0, 1])
    assert found["margins"]["wsol_top1_loc"] == {
        "value": 0.0, "aim": 23.13, "spread": 0.0, "held_out": 0.0, "train": 0.0,
    }  # fmt: skip
    for prefix in ("", "held_out.", "train."):
        for method in METHODS:
            assert 0 <= found[f"{prefix}top_1_loc.{method}"] <= found[f"{prefix}gt_known_loc.{method}"] <= 100


def test_figures_of_two_seeds():
    def seed(gain):
        return {
            f"{prefix}top_1_loc.{method}": 40.0 + gain * (method == "groupwise")
            for prefix in ("", "held_out.", "train.")
            for method in METHODS
        }

    found = summary([seed(1.0), seed(4.0)])
    assert found["margins"] == {
        "wsol_top1_loc": {"value": 2.5, "aim": 23.13, "spread": 2.12, "held_out": 2.5, "train": 2.5}
    }
    assert found["top_1_loc.groupwise"] == 42.5
    assert found["spread.top_1_loc.cam"] == 0.0
    assert "spread" not in summary([seed(1.0)])["margins"]["wsol_top1_loc"]
