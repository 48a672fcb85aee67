"""What stages say of each other, on a small store whose masks are made by hand."""

import json

import numpy as np
import pytest

from wsss_jobs.config.recipe import parse_recipe
from wsss_jobs.datasets.records import Dataset, DatasetItem
from wsss_jobs.pipeline import build_plan
from wsss_jobs.quality.evaluation_files import write_label_free
from wsss_jobs.quality.label_free import label_free
from wsss_jobs.records import Cams, Mask
from wsss_jobs.stage_io import stage_folder, stage_kind
from wsss_jobs.storage.uris import open_store

HEIGHT, WIDTH = 20, 24
ITEMS = tuple(
    DatasetItem(f"{n:020x}", f"image {n}", "", WIDTH, HEIGHT, labels, "train")
    for n, labels in enumerate([(1,), (2,), (1, 2)])
)
STAGES = [
    {"stage": "train_classifier", "classifier": {"encoder": {"weights": None}}},
    {"stage": "infer_cams"},
    {"stage": "read_cams"},
    {"stage": "refine_masks", "name": "first", "unary": "label"},
    {"stage": "make_affinity_labels"},
    {"stage": "train_affinity"},
    {"stage": "random_walk"},
    {"stage": "refine_masks", "name": "second", "unary": "label", "crf": None},
]


@pytest.fixture
def run(tmp_path):
    """CAMs of 0.9 in a left part and 0.2 elsewhere; two stages that cut them at other places."""
    recipe = parse_recipe({"name": "x", "dataset": {"format": "voc", "root": "."}, "stages": STAGES})
    plan, store = build_plan(recipe.stages, "d0", 0), open_store(str(tmp_path))
    dataset = Dataset(("cat", "dog"), ITEMS, "d0")
    for item in ITEMS:
        cam = np.full((len(item.labels), HEIGHT, WIDTH), 0.2, np.float16)
        cam[0, :, :8] = 0.9
        cam[0, :, 8:12] = 0.5
        commit(plan, store, "infer_cams", item, Cams(item.labels, cam[:, ::4, ::4], cam))
        label = np.where(np.arange(WIDTH) < 12, item.labels[0], 0).astype(np.uint8)[None].repeat(HEIGHT, axis=0)
        before = np.where(np.arange(WIDTH) < 8, item.labels[0], 0).astype(np.uint8)[None].repeat(HEIGHT, axis=0)
        commit(plan, store, "first", item, Mask(label, before))
        commit(plan, store, "second", item, Mask(before, before))
    rows = [{"item_id": item.item_id, "random_walk_separation": 0.3 + 0.1 * n} for n, item in enumerate(ITEMS)]
    stage_folder(plan.stage("second"), store).outputs.write_receipts(rows)
    for name in ("infer_cams", "first", "second"):
        stage = plan.stage(name)
        stage_folder(stage, store).outputs.finalise(ITEMS, stage_kind(stage))
    return plan, dataset, store


def commit(plan, store, name, item, record):
    stage_folder(plan.stage(name), store).commit(item, record)


def test_thresholds(run):
    cams, _ = label_free(*run).thresholds
    assert (cams.name, cams.num_images) == ("infer_cams", 3)
    # Half of the pixels have 0.2, a sixth 0.5, a third 0.9. Parted between the last two: 2/9 of (0.9 - 0.275)^2
    # = 0.087; of the first two: 1/4 of (0.767 - 0.2)^2 = 0.080.
    assert cams.separation == pytest.approx(0.7, abs=0.002)
    threshold, agreement = cams.by_agreement["first"]  # foreground to column 12: between 0.2 and 0.5
    assert 0.2 <= threshold < 0.5
    assert agreement == pytest.approx(1.0)
    threshold, agreement = cams.by_agreement["second"]  # to column 8: between 0.5 and 0.9
    assert 0.5 <= threshold < 0.9
    assert agreement == pytest.approx(1.0)


def test_threshold_of_the_walk_is_the_mean_of_its_images(run):
    _, walk = label_free(*run).thresholds
    assert (walk.name, walk.num_images) == ("random_walk", 3)
    assert walk.separation == pytest.approx(0.4)


def test_consistency(run):
    first, second = label_free(*run).masks
    # Of 24 columns, 8 are foreground in both, 4 in one alone; both classes alike.
    expected = np.mean([12 / 16, 8 / 12, 8 / 12])
    assert first.crf_agreement == pytest.approx(expected)
    assert second.crf_agreement is None
    assert first.agreement == {"second": pytest.approx(expected)}
    assert second.agreement == {"first": pytest.approx(expected)}
    assert first.tag_coverage == second.tag_coverage == pytest.approx(3 / 4)  # image 2 shows no dog


def test_stages_that_are_not_finished_are_left_out(run, tmp_path):
    plan, dataset, _ = run
    found = label_free(plan, dataset, open_store(str(tmp_path / "empty")))
    assert found.thresholds == found.masks == ()


def test_the_file(run):
    _, _, store = run
    write_label_free(store, "x", label_free(*run))
    content = json.loads(store.get("evaluation/x-label-free.json"))
    assert [entry["name"] for entry in content["thresholds"]] == ["infer_cams", "random_walk"]
    assert [mask["name"] for mask in content["masks"]] == ["first", "second"]
