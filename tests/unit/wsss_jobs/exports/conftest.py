"""A finished step with the masks that formats stumble over, filled by hand: no network, no Ray."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsss_jobs.config.recipe import parse_recipe
from wsss_jobs.job import PreparedJob, prepare
from wsss_jobs.stage_io import stage_folder
from wsss_jobs.storage.instance_rows import InstanceRow

CLASS_NAMES = ("cat", "dog", 'odd & "quoted"')
STAGES = [
    {"stage": "train_classifier"},
    {"stage": "infer_cams"},
    {"stage": "read_cams"},
    {"stage": "refine_masks", "name": "cam_masks"},
]
WITH_INSTANCES = [
    *STAGES[:2],
    {"stage": "make_affinity_labels"},
    {"stage": "train_affinity"},
    {"stage": "random_walk", "instances": {}},
    {"stage": "refine_masks", "name": "walk_masks"},
    *STAGES[2:],
]
FAILED = "zz failed"


def difficult_masks() -> dict[str, np.ndarray]:
    """Masks by source key, uint8 [H, W], of different sizes."""
    ring = np.zeros((23, 31), dtype=np.uint8)
    ring[1:22, 2:29] = 1
    ring[4:18, 5:20] = 0
    ring[7:14, 8:16] = 1  # an island in the hole,
    ring[9:11, 10:12] = 0  # with a hole of its own
    ring[5, 24] = 0
    touching = np.zeros((8, 9), dtype=np.uint8)
    touching[1:4, 1:4] = touching[4:7, 4:7] = 2  # corner to corner
    one = np.zeros((9, 12), dtype=np.uint8)
    one[8, 11] = 3
    parts = np.random.default_rng(0).choice(
        np.array([0, 1, 2, 3], dtype=np.uint8), size=(40, 33), p=[0.4, 0.3, 0.2, 0.1]
    )
    ignored = ring.copy()
    ignored[0, :] = ignored[12:15, 3:9] = 255
    return {
        "all of it": np.full((300, 410), 2, dtype=np.uint8),  # runs that no 16-bit length holds
        "deep/er/ring": ring,
        "ignored": ignored,
        "ignored only": np.full((8, 8), 255, dtype=np.uint8),
        "many parts #1": parts,
        "nothing": np.zeros((10, 14), dtype=np.uint8),
        "one pixel": one,
        "touching ü": touching,
    }


def some_instances(label_HW: np.ndarray) -> tuple[np.ndarray, list[InstanceRow]]:
    """Returns ids and rows: the left and the right half of each class of a mask, as far as they have pixels."""
    id_HW, rows = np.zeros_like(label_HW), []
    right_HW = np.broadcast_to(np.arange(label_HW.shape[1]) >= label_HW.shape[1] // 2, label_HW.shape)
    for class_id in (1, 2, 3):
        for half_HW in (right_HW, ~right_HW):
            object_HW = (label_HW == class_id) & half_HW
            if object_HW.any():
                number = len(rows) + 1
                id_HW[object_HW] = number
                rows.append(InstanceRow(number, class_id, 1 / (number + 1), int(object_HW.sum()), 0, 0, 1, 1))
    return id_HW, rows


@pytest.fixture
def masks() -> dict[str, np.ndarray]:
    """What `make_job` stores."""
    return difficult_masks()


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., PreparedJob]:
    """Writes images and the masks of the step `cam_masks`; one image has failed in it."""

    def make(masks=None, class_names=CLASS_NAMES, finished=True, packed=False, stages=STAGES, step="cam_masks"):
        masks = difficult_masks() if masks is None else masks
        _write_images(tmp_path / "data", masks, class_names)
        recipe = {
            "name": "tiny",
            "dataset": {
                "format": "folder",
                "images": str(tmp_path / "data" / "images"),
                "tags": str(tmp_path / "data" / "tags.csv"),
                "classes": list(class_names),
            },
            "store": {"uri": str(tmp_path / "runs")},
            "stages": stages,
        }
        job = prepare(parse_recipe(recipe))
        outputs = stage_folder(job.plan.stage(step), job.store).outputs
        for item in job.dataset.items:
            if item.source_key == FAILED:
                outputs.commit_failure(item, "cannot_decode", "was broken")
                continue
            if "instances" in outputs.mask_variants:
                id_HW, rows = some_instances(masks[item.source_key])
                outputs.commit_mask(item, id_HW, "instances", rows)
            for variant in ("masks_before_crf", "masks"):
                label_HW = masks[item.source_key]
                outputs.commit_mask(item, label_HW if variant == "masks" else np.zeros_like(label_HW), variant)
        if finished:
            outputs.finalise(job.dataset.items, "masks", pack_masks=packed)
        return job

    return make


@pytest.fixture
def job(make_job) -> PreparedJob:
    """The job with all the difficult masks."""
    return make_job()


@pytest.fixture
def job_with_instances(make_job) -> Callable[..., PreparedJob]:
    """As `make_job`, of a recipe whose step `walk_masks` has instances and whose last step, `cam_masks`, has none."""
    return lambda **options: make_job(stages=WITH_INSTANCES, **options)


@pytest.fixture
def objects_of() -> Callable[[np.ndarray], tuple[np.ndarray, list[InstanceRow]]]:
    """What `make_job` stores as the objects of a mask."""
    return some_instances


def _write_images(root: Path, masks: dict[str, np.ndarray], class_names: tuple[str, ...]) -> None:
    rng = np.random.default_rng(1)
    rows = ["image,labels,split"]
    sizes = {key: label_HW.shape for key, label_HW in masks.items()} | {FAILED: (8, 8)}
    for number, (key, size_hw) in enumerate(sizes.items()):
        path = root / "images" / f"{key}{'.jpg' if number % 2 else '.png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (*size_hw, 3), dtype=np.uint8)).save(path)
        rows.append(f"{key},{1 + number % len(class_names)},{'val' if number % 3 == 0 else 'train'}")
    (root / "tags.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
