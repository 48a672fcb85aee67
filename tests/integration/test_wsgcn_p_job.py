"""WSGCN-P and its baseline, small, from images to scores through the command line."""

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_job import SMALL_STAGES, small_recipe, write_recipe

from wsss_jobs.storage.mask_png import decode_mask

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.long]

STAGES = [
    {
        **SMALL_STAGES[0],
        "schedule": {"num_epochs": 1, "global_batch_size": 8, "optimiser": "adamw"},
        "biases": {"lr_factor": 2.0, "decay": False},
        "colour_jitter": 0.3,
    },
    {"stage": "infer_cams", "scales": [1.0], "resampling": "psa"},
    {"stage": "make_affinity_scores"},
    {
        "stage": "train_affinitynet",
        "frozen_stages": 0,
        "group_norm": True,
        "schedule": {"num_epochs": 1, "global_batch_size": 8, "optimiser": "adamw"},
        "encoder_lr": 0.0002,
        "new_lr": 0.002,
        "crop_px": 80,
    },
    {"stage": "random_walk_psa"},
    {"stage": "refine_masks", "name": "walk_masks", "unary": "label", "crf": None},
    {"stage": "label_partially", "stride": 8},
    {"stage": "propagate_gcn", "gcn": {"num_steps": 20, "graph": {"graph": "walk", "beta": 8.0}}},
    {"stage": "refine_masks", "name": "gcn_masks"},
]


@pytest.fixture(scope="module")
def job(wsss, images, tmp_path_factory):
    """The job, run once: (run folder, completed process)."""
    folder = tmp_path_factory.mktemp("wsgcn_p")
    recipe = small_recipe(images, folder / "runs", STAGES)
    recipe["dataset"]["splits"] = ["val"]  # few images: what is tested is that the stages fit
    return folder / "runs" / "small", wsss("run", write_recipe(folder / "small.yaml", recipe))


def test_it_ends_well_and_scores_every_step(job):
    run, done = job
    assert done.returncode == 0, done.stderr[-3000:]
    scores = json.loads((run / "evaluation" / "small.json").read_text())
    assert set(scores) == {"infer_cams", "walk_masks", "label_partially", "gcn_masks", "gcn_masks/before_crf"}
    assert all(0 < entry["miou"] < 1 for entry in scores.values())
    assert (run / "report" / "small" / "index.html").is_file()


def test_partial_labels_have_stride_8_and_masks_the_size_of_their_image(job):
    run, _ = job
    [dataset] = run.glob("dataset-*/items.parquet")
    items = pq.read_table(dataset).to_pylist()
    assert items
    [partial] = run.glob("label_partially-*/masks")
    for name in ("walk_masks", "gcn_masks"):
        [masks] = run.glob(f"{name}-*/masks")
        for item in items:
            label = decode_mask((masks / f"{item['source_key']}.png").read_bytes(), name)
            assert label.shape == (item["height_px"], item["width_px"])
            assert set(np.unique(label)) <= {0, *item["labels"]}
            with Image.open(io.BytesIO((partial / f"{item['source_key']}.png").read_bytes())) as small:
                assert small.size == (-(-item["width_px"] // 8), -(-item["height_px"] // 8))


def test_affinitynet_learnt_and_its_scores_are_stored_once(job):
    run, _ = job
    [metrics] = run.glob("train_affinitynet-*/checkpoint/../metrics.parquet")
    [row] = pq.read_table(metrics).to_pylist()
    assert row["loss"] == pytest.approx(row["background"] / 4 + row["foreground"] / 4 + row["negative"] / 2, rel=1e-3)
    [scores] = run.glob("make_affinity_scores-*/part-00000.parquet")
    [dataset] = run.glob("dataset-*/items.parquet")
    assert pq.read_table(scores).num_rows == pq.read_table(dataset).num_rows
    assert not list(run.glob("make_affinity_scores-*/items/*"))
