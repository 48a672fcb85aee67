"""A small run whose stages are filled by hand: images of 50 x 38 pixels with one object each, no network, no Ray."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from models.propagation.instances import Instance, InstanceMasks
from wsss_jobs.config.recipe import parse_recipe
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.job import PreparedJob, prepare
from wsss_jobs.quality.evaluate import evaluate_run
from wsss_jobs.records import AffinityLabel, Cams, Mask, PartialLabel, Record
from wsss_jobs.report.build import build_report
from wsss_jobs.stage_io import stage_folder, stage_kind
from wsss_jobs.storage.mask_png import encode_mask
from wsss_jobs.storage.object_store import ObjectStore
from wsss_jobs.storage.tables import TableKind, write_table
from wsss_jobs.storage.uris import open_store

WIDTH_PX, HEIGHT_PX = 50, 38  # no multiples of the grid's stride
STAGES: list[dict[str, Any]] = [
    {"stage": "train_classifier"},
    {"stage": "infer_cams"},
    {"stage": "make_affinity_labels"},
    {"stage": "train_affinity"},
    {"stage": "random_walk"},
    {"stage": "refine_masks", "name": "walk_masks", "crf": None},
    {"stage": "label_partially"},
    {"stage": "propagate_gcn"},
    {"stage": "refine_masks", "name": "gcn_masks"},
]


@dataclass
class Run:
    """A data set on disk and what its stages are to hold.

    Attributes:
        keys: Source keys of the images; the n-th has the tag of class 1 + n mod the number of classes.
        failed: Stage name -> keys that failed in it; all later stages miss them.
        missing: Stage name -> keys that it holds nothing of, without a failure.
        stages_done: Stages that are finished, from the first on; None: all.
        shift_px: Key -> how far the mask lies from the truth, 2 if not given; before the CRF it is 3 more.
        confidence: Key -> mean confidence in the receipts of the final masks.
        with_instances: Whether the walk makes instance masks: the upper half of the rectangle, and the lower.
    """

    keys: Sequence[str] = ("a", "b", "c")
    class_names: Sequence[str] = ("cat", "dog")
    with_truth: bool = True
    description: str = ""
    failed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)
    stages_done: int | None = None
    shift_px: Mapping[str, int] = field(default_factory=dict)
    confidence: Mapping[str, float] = field(default_factory=dict)
    with_instances: bool = False

    def label(self, key: str) -> int:
        """Returns the class of an image."""
        return 1 + list(self.keys).index(key) % len(self.class_names)

    def truth(self, key: str) -> np.ndarray:
        """Returns the ground truth: one rectangle."""
        truth_HW = np.zeros((HEIGHT_PX, WIDTH_PX), dtype=np.uint8)
        truth_HW[8:28, 8:32] = self.label(key)
        return truth_HW


@pytest.fixture
def tiny_recipe(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Writes the data set of a `Run`; returns a recipe for it. `store_uri` is where the run's folder goes."""

    def write(run: Run, store_uri: str = "") -> dict[str, Any]:
        _write_images(run, tmp_path / "data")
        return {
            "name": "tiny",
            "description": run.description,
            "seed": 7,
            "dataset": {
                "format": "folder",
                "images": str(tmp_path / "data" / "images"),
                "tags": str(tmp_path / "data" / "tags.csv"),
                "classes": list(run.class_names),
                "masks": str(tmp_path / "data" / "masks") if run.with_truth else None,
            },
            "store": {"uri": store_uri or str(tmp_path / "runs")},
            "stages": [each | _instances_of(each, run) for each in STAGES],
        }

    return write


@pytest.fixture
def fill_job() -> Callable[[PreparedJob, Run], None]:
    """Fills the stages of a job by hand."""
    return _fill


@pytest.fixture
def make_job(tiny_recipe: Callable[..., dict[str, Any]]) -> Callable[..., PreparedJob]:
    """Writes the data set of a `Run` and fills its stages; `store` is where the run's folder goes."""

    def make(run: Run, store_uri: str = "") -> PreparedJob:
        job = prepare(parse_recipe(tiny_recipe(run, store_uri)))
        _fill(job, run)
        return job

    return make


@pytest.fixture
def make_report(make_job: Callable[..., PreparedJob]) -> Callable[..., tuple[ObjectStore, str]]:
    """Returns the report's folder and its page, of a `Run`."""

    def make(run: Run, **options: Any) -> tuple[ObjectStore, str]:
        job = make_job(run, options.pop("store_uri", ""))
        build_report(job, evaluate_run(job.plan, job.dataset, job.store), **options)
        folder = open_store(job.store.uri).child("report/tiny")
        return folder, folder.get("index.html").decode()

    return make


@pytest.fixture
def run_of() -> type[Run]:
    """The `Run` class, for tests to describe theirs."""
    return Run


def _instances_of(stage: dict[str, Any], run: Run) -> dict[str, Any]:
    return {"instances": {}} if run.with_instances and stage["stage"] == "random_walk" else {}


def _write_images(run: Run, root: Path) -> None:
    rng = np.random.default_rng(3)
    rows = []
    for key in run.keys:
        for folder in ("images", "masks"):
            (root / folder / key).parent.mkdir(parents=True, exist_ok=True)
        pixels_HW3 = rng.integers(0, 255, (HEIGHT_PX, WIDTH_PX, 3), dtype=np.uint8)
        Image.fromarray(pixels_HW3).save(root / "images" / f"{key}.png")
        (root / "masks" / f"{key}.png").write_bytes(encode_mask(run.truth(key)))
        rows.append([f"{key}.png", run.class_names[run.label(key) - 1]])
    with (root / "tags.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["image", "labels"], *rows])


def _fill(job: PreparedJob, run: Run) -> None:
    failed: set[str] = set()
    for stage in job.plan.stages[: run.stages_done]:
        outputs = stage_folder(stage, job.store).outputs
        if stage.is_streamed:
            continue
        if stage.is_training:
            write_table(outputs.folder, "metrics.parquet", TableKind("training_metrics", 1), _metrics())
            outputs.finalise((), "artifacts")
            continue
        items = [item for item in job.dataset.items if item.source_key not in failed]
        failed |= set(run.failed.get(stage.name, ()))
        for item in items:
            if item.source_key in failed:
                outputs.commit_failure(item, "nan_cam", "its CAM holds <b>3</b> values that are NaN")
            else:
                _commit(job, stage.name, item, run)
        outputs.finalise(items, stage_kind(stage))
        gone = [item for item in items if item.source_key in run.missing.get(stage.name, ())]
        outputs.folder.delete([outputs.mask_key(item) for item in gone])


def _commit(job: PreparedJob, stage_name: str, item: DatasetItem, run: Run) -> None:
    folder = stage_folder(job.plan.stage(stage_name), job.store)
    receipt = {
        "item_id": item.item_id,
        "attempt": 1,
        f"{stage_name}_seconds": 0.5,
        f"{stage_name}_device": "cpu",
        **folder.commit(item, _record(stage_name, item, run)),
    }
    if stage_name == "gcn_masks":
        receipt |= {"propagate_gcn_seconds": 1.5, "propagate_gcn_device": "cuda"}
        receipt["gcn_masks_mean_confidence"] = run.confidence.get(item.source_key, 0.75)
    folder.outputs.write_receipts([receipt])


def _record(stage_name: str, item: DatasetItem, run: Run) -> Record:
    truth_HW = run.truth(item.source_key)
    if stage_name == "infer_cams":
        return Cams(item.labels, (truth_HW[None, ::4, ::4] > 0).astype(np.float16))
    if stage_name == "make_affinity_labels":
        return AffinityLabel(np.where(np.arange(WIDTH_PX) < 24, truth_HW, 255).astype(np.uint8))
    if stage_name == "label_partially":
        return PartialLabel(np.where(np.arange(-(-WIDTH_PX // 4)) < 6, truth_HW[::4, ::4], 255).astype(np.uint8))
    shift_px = run.shift_px.get(item.source_key, 2)
    instances = _halves(truth_HW) if run.with_instances and stage_name == "walk_masks" else None
    return Mask(np.roll(truth_HW, shift_px, axis=1), np.roll(truth_HW, shift_px + 3, axis=1), instances)


def _halves(truth_HW: np.ndarray) -> InstanceMasks:
    id_HW = np.zeros_like(truth_HW)
    id_HW[8:18, 8:32], id_HW[18:28, 8:32] = 1, 2
    class_id = int(truth_HW.max())
    return InstanceMasks(id_HW, tuple(Instance(class_id, 0.5, 240, 8, y_px, 24, 10) for y_px in (8, 18)))


def _metrics() -> pa.Table:
    return pa.Table.from_pylist(
        [{"loss": 1.0 / epoch, "part": 2.0, "epoch": epoch, "step": 10 * epoch, "seconds": 2.0} for epoch in (1, 2, 3)]
    )
