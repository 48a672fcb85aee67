"""From masks to a trained network to its masks, small, through the command line."""

import json
import shutil
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_job import NUM_IMAGES, small_recipe, write_recipe

from wsss_jobs.storage.mask_png import decode_mask

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.long]

NETWORK = {
    "encoder": {"name": "timm/test_efficientnet", "weights": None, "output_stride": 16, "size_multiple": 32},
    "rates": [1, 2, 3],
    "head_channels": 32,
    "low_level_channels": 16,
    "train_batch_norm": True,
    "head_dropout": 0.0,
}
SCHEDULE = {"num_steps": None, "num_epochs": 45, "global_batch_size": 6, "optimiser": "adamw", "lr_update_steps": 1}


def stages(masks):
    """Returns the stages: masks from a folder, one of which is missing, training, prediction."""
    train = {
        "stage": "train_segmentation",
        "network": NETWORK,
        "schedule": SCHEDULE,
        "encoder_lr": 0.005,
        "head_lr": 0.01,
        "biases": {"lr_factor": 1.0, "decay": True},
        "augmentation": {"scales": [1.0], "crop_px": 80},
        "loss_at": "image",
        "confidence": {"changed_by_crf": 0.5},
        "held_splits": ["val"],
    }
    predict = {"stage": "predict_masks", "scales": [1.0], "window_px": 64, "overlap_px": 16}
    return [{"stage": "read_masks", "source": str(masks)}, train, predict]


@pytest.fixture(scope="module")
def job(wsss, images, tmp_path_factory):
    """The job, run once: (recipe path, run folder, completed process)."""
    folder = tmp_path_factory.mktemp("segmentation")
    masks = folder / "masks"
    shutil.copytree(images / "SegmentationClass", masks)
    next(iter(sorted(masks.glob("*.png")))).unlink()
    recipe = small_recipe(images, folder / "runs", stages(masks), error_budget=0.1)
    path = write_recipe(folder / "small.yaml", recipe)
    return path, folder / "runs" / "small", wsss("run", path)


def best_constant_guess(run):
    """Returns the mIoU of masks that are all of one class, whichever does best: its share, over all classes."""
    [table] = run.glob("read_masks-*/masks.parquet")
    pixels = Counter()
    for row in pq.read_table(table).to_pylist():
        pixels.update(dict(row["class_pixels"]))
    pixels.pop(255, None)
    return max(pixels.values()) / pixels.total() / len(pixels)


def test_the_network_beats_a_guess_and_its_stage_is_like_every_other(job, wsss):
    recipe, run, done = job
    assert done.returncode == 3, done.stderr[-3000:]  # one image has no mask, and so none in what follows
    scores = json.loads((run / "evaluation" / "small.json").read_text())
    assert scores["read_masks"]["miou"] > 0.99  # the masks are the truth here
    predicted = scores["predict_masks/before_crf"]
    assert predicted["miou"] > 1.25 * best_constant_guess(run)
    assert predicted["classes"]["background"]["iou"] > 0.5
    [table] = run.glob("predict_masks-*/masks.parquet")
    rows = pq.read_table(table).to_pylist()
    assert len(rows) == 2 * (NUM_IMAGES - 1)
    assert all(0 < row["predict_masks_mean_confidence"] <= 1 for row in rows)
    [metrics] = run.glob("train_segmentation-*/metrics.parquet")
    curve = pq.read_table(metrics).to_pylist()
    assert curve[-1]["loss"] < curve[0]["loss"]
    assert 0 < curve[-1]["held_pixel_accuracy"] <= 1
    assert (run / "report" / "small" / "index.html").is_file()
    assert wsss("verify", recipe).returncode == 0
    failed = wsss("failed", recipe)
    assert "missing_mask" in failed.stdout


def test_another_recipe_predicts_with_the_networks_file_and_trains_on_the_masks_of_the_run(job, images, wsss, tmp_path):
    first_recipe, run, _ = job
    found = wsss("quality", first_recipe, "--json", "--calibrate", "--worst", "1")
    assert found.returncode == 0, found.stderr[-3000:]
    quality = json.loads(found.stdout)
    assert (quality["step"], quality["num_images"]) == ("predict_masks", NUM_IMAGES - 1)
    assert quality["parts"]["stage_agreement"] > 0  # with the masks that the network learned from
    done = wsss("export", first_recipe, "--format", "label_studio", "--worst", "1", "--to", str(tmp_path / "review"))
    assert done.returncode == 0, done.stderr[-3000:]
    [task] = json.loads((tmp_path / "review" / "tasks-00000.json").read_text())
    assert task["data"]["source_key"] == quality["worst"][0]["source_key"]
    [checkpoint] = run.glob("train_segmentation-*/checkpoint/model.pt")
    [source] = run.glob("predict_masks-*/_MANIFEST.json")
    scores = run / "evaluation" / "small-quality.parquet"
    again = [
        {"stage": "read_masks", "source": str(source.parent), "quality": str(scores)},
        {"stage": "predict_masks", "checkpoint": {"weights": str(checkpoint)}, "scales": [1.0], "crf": None},
    ]
    recipe = small_recipe(images, tmp_path / "runs", again, error_budget=0.1)
    done = wsss("run", write_recipe(tmp_path / "small.yaml", recipe), "--no-report")
    assert done.returncode == 3, done.stderr[-3000:]
    [masks] = (tmp_path / "runs/small").glob("predict_masks-*/masks")
    assert len(list(masks.glob("*.png"))) == NUM_IMAGES  # it does not need masks to predict
    [copied] = (tmp_path / "runs/small").glob("read_masks-*/masks")
    for path in copied.glob("*.png"):
        original = source.parent / "masks" / path.name
        assert np.array_equal(decode_mask(path.read_bytes()), decode_mask(original.read_bytes()))
    [table] = copied.parent.glob("masks.parquet")
    by_id = {row["item_id"]: row["score"] for row in pq.read_table(scores).to_pylist()}
    assert all(row["read_masks_confidence"] == by_id[row["item_id"]] for row in pq.read_table(table).to_pylist())
