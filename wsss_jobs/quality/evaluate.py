"""Scores what stages have stored against ground-truth masks. The only place where masks of a data set are read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from models.images import stride_of
from wsss_jobs.datasets.records import Dataset, DatasetItem
from wsss_jobs.pipeline import Plan, PlannedStage
from wsss_jobs.quality.boundary_iou import boundary_counts
from wsss_jobs.quality.each_item import each_item
from wsss_jobs.quality.evaluation import Evaluation
from wsss_jobs.quality.scores import IGNORE_INDEX, confusion_matrix, scores
from wsss_jobs.quality.tally import CamTally, LabelCounts, LabelTally, Tally
from wsss_jobs.quality.threshold_sweep import sweep_confusions
from wsss_jobs.records import AffinityLabel, AffinityScores, Cams, ClassPrediction, LabelMap, Mask, PartialLabel
from wsss_jobs.stage_io import StageFolder, stage_folder
from wsss_jobs.stages.cam_sizes import full_resolution
from wsss_jobs.storage.mask_png import decode_mask
from wsss_jobs.storage.object_store import ObjectStore
from wsss_jobs.storage.uris import read_uri

_NOT_SCORED = (AffinityLabel, AffinityScores, ClassPrediction)


C = TypeVar("C")
KeepItem = Callable[[DatasetItem], bool]


def evaluate_run(plan: Plan, dataset: Dataset, run_store: ObjectStore) -> list[Evaluation]:
    """Returns the evaluations of all finished stages, in the order of the plan; empty without ground truth."""
    [evaluations] = evaluate_parts(plan, dataset, run_store, [lambda _: True])
    return evaluations


def evaluate_parts(
    plan: Plan, dataset: Dataset, run_store: ObjectStore, parts: Sequence[KeepItem]
) -> list[list[Evaluation]]:
    """Returns what `evaluate_run` does for each part of the data set; an image is read and counted once for all.

    Args:
        parts: Which images count; an image may be in several parts, or in none.
    """
    items = [item for item in dataset.items if item.mask_uri is not None and any(keep(item) for keep in parts)]
    found: list[list[Evaluation]] = [[] for _ in parts]
    if not items:
        return found
    for stage in plan.stages:
        if stage.is_streamed or stage.is_training or stage.spec.WRITES in _NOT_SCORED:
            continue
        folder = stage_folder(stage, run_store)
        if folder.outputs.manifest() is not None:
            for product in _products(stage, folder, dataset):
                for evaluations, evaluation in zip(found, _evaluated(product, items, parts), strict=True):
                    evaluations.append(evaluation)
    return found


@dataclass(frozen=True)
class _Product(Generic[C]):
    """One thing that a stage has stored: how an image of it is counted, and what such counts add up to."""

    name: str
    kind: str
    count: Callable[[DatasetItem], tuple[C, list[float]]]
    tally: Callable[[], Tally[C]]


def _products(stage: PlannedStage, folder: StageFolder, dataset: Dataset) -> list[_Product[Any]]:
    kind = stage.spec.WRITES
    if issubclass(kind, Cams):
        return [_cams(stage.name, folder, dataset)]
    assert issubclass(kind, LabelMap)
    if issubclass(kind, PartialLabel):
        return [_labels(stage.name, "partial", folder, "masks", dataset)]
    products = []
    for variant in kind.variants:
        name = stage.name if variant == "masks" else f"{stage.name}/{variant.removeprefix('masks_')}"
        products.append(_labels(name, "mask", folder, variant, dataset))
    if issubclass(kind, Mask) and getattr(stage.config, "crf", None) is None:
        return products[-1:]  # without a CRF both variants are the same
    return products


def _evaluated(product: _Product[C], items: Sequence[DatasetItem], parts: Sequence[KeepItem]) -> list[Evaluation]:
    tallies = [product.tally() for _ in parts]
    for item, (counts, mious) in each_item(product.count, items):
        for keep, tally in zip(parts, tallies, strict=True):
            if keep(item):
                tally.add(item, counts, mious)
    num_items = [sum(map(keep, items)) for keep in parts]
    return [tally.evaluation(product.name, product.kind, num) for tally, num in zip(tallies, num_items, strict=True)]


def read_truth(item: DatasetItem) -> np.ndarray:
    """Returns the ground truth of an item that has one, `uint8` `[H, W]`."""
    assert item.mask_uri is not None
    return decode_mask(read_uri(item.mask_uri), item.source_key)


def _labels(name: str, kind: str, folder: StageFolder, variant: str, dataset: Dataset) -> _Product[LabelCounts]:
    def counts(item: DatasetItem) -> LabelCounts:
        truth_HW = read_truth(item)
        label_HW = folder.outputs.read_mask(item, variant)
        if kind == "mask":
            confusion_CC = confusion_matrix(label_HW, truth_HW, dataset.num_classes)
            return LabelCounts(confusion_CC, boundary_counts(label_HW, truth_HW, dataset.num_classes))
        label_HW = enlarged_label(label_HW, truth_HW.shape)
        # Only what is labelled counts: the rest is for propagation to find.
        truth_HW = np.where(label_HW == IGNORE_INDEX, IGNORE_INDEX, truth_HW)
        labelled = float(np.mean(label_HW != IGNORE_INDEX))
        return LabelCounts(confusion_matrix(label_HW, truth_HW, dataset.num_classes), labelled=labelled)

    def one(item: DatasetItem) -> tuple[LabelCounts, list[float]]:
        found = counts(item)
        return found, [scores(found.confusion_CC, dataset.class_names).miou]

    return _Product(name, kind, one, lambda: LabelTally(dataset.class_names))


def _cams(name: str, folder: StageFolder, dataset: Dataset) -> _Product[np.ndarray]:
    def one(item: DatasetItem) -> tuple[np.ndarray, list[float]]:
        cams = folder.read(item)
        assert isinstance(cams, Cams)
        cam_KHW = full_resolution(cams, item)
        confusion_TCC = sweep_confusions(cam_KHW, cams.class_ids, read_truth(item), dataset.num_classes)
        return confusion_TCC, [scores(confusion_CC, dataset.class_names).miou for confusion_CC in confusion_TCC]

    return _Product(name, "cam", one, lambda: CamTally(dataset.class_names))


def enlarged_label(label_hw: np.ndarray, size_hw: Sequence[int]) -> np.ndarray:
    """Returns a grid's label at full resolution, nearest neighbour."""
    stride = stride_of(label_hw.shape, size_hw)
    rows, columns = np.arange(size_hw[0]) // stride, np.arange(size_hw[1]) // stride
    enlarged: np.ndarray = label_hw[np.ix_(rows, columns)]
    return enlarged
