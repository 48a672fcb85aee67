"""Scores what stages have stored against ground-truth masks. The only place where masks of a data set are read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.images import stride_of
from wsss_jobs.datasets.records import Dataset, DatasetItem
from wsss_jobs.pipeline import Plan, PlannedStage
from wsss_jobs.quality.boundary_iou import boundary_counts, boundary_iou
from wsss_jobs.quality.each_item import each_item
from wsss_jobs.quality.scores import IGNORE_INDEX, SegmentationScores, confusion_matrix, scores
from wsss_jobs.quality.threshold_sweep import THRESHOLDS, sweep_confusions
from wsss_jobs.records import AffinityLabel, AffinityScores, Cams, ClassPrediction, LabelMap, Mask, PartialLabel
from wsss_jobs.stage_io import StageFolder, stage_folder
from wsss_jobs.stages.cam_sizes import full_resolution
from wsss_jobs.storage.mask_png import decode_mask
from wsss_jobs.storage.object_store import ObjectStore
from wsss_jobs.storage.uris import read_uri

_NOT_SCORED = (AffinityLabel, AffinityScores, ClassPrediction)


@dataclass(frozen=True)
class ImageScore:
    """One image of one evaluation.

    Attributes:
        miou: Mean IoU over the classes of this image's truth or label.
    """

    item_id: str
    source_key: str
    miou: float


@dataclass(frozen=True)
class Evaluation:
    """The scores of one product of a run.

    Attributes:
        name: `<stage>` or `<stage>/<variant>`.
        kind: `cam` (best threshold of a sweep), `partial` or `mask`.
        scores: Over the whole set.
        images: One an image.
        num_missing: Images with a truth, but nothing to score (failed earlier).
        threshold: For CAMs: the background threshold that scored best; it was chosen with the truth.
        labelled_fraction: For partial labels: share of pixels that carry a label.
        boundary_iou: For masks: boundary IoU a class, background first (Cheng et al., CVPR 2021); NaN where a class
            occurs nowhere.
        confusion_CC: Pixel counts over the whole set, truth in rows, label in columns.
    """

    name: str
    kind: str
    scores: SegmentationScores
    images: tuple[ImageScore, ...]
    num_missing: int
    threshold: float | None = None
    labelled_fraction: float | None = None
    boundary_iou: tuple[float, ...] | None = None
    confusion_CC: np.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def boundary_miou(self) -> float | None:
        """Mean boundary IoU over the classes that occur, or None where it is not scored."""
        if self.boundary_iou is None:
            return None
        known = [value for value in self.boundary_iou if not np.isnan(value)]
        return float(np.mean(known)) if known else float("nan")


@dataclass(frozen=True)
class _LabelCounts:
    """What one image adds: confusion matrix; of masks, pixels of boundaries; of partial labels, the labelled share."""

    confusion_CC: np.ndarray
    boundary_2C: np.ndarray | None = None
    labelled: float | None = None


def evaluate_run(plan: Plan, dataset: Dataset, run_store: ObjectStore) -> list[Evaluation]:
    """Returns the evaluations of all finished stages, in the order of the plan; empty without ground truth."""
    items = [item for item in dataset.items if item.mask_uri is not None]
    if not items:
        return []
    found: list[Evaluation] = []
    for stage in plan.stages:
        if stage.is_streamed or stage.is_training or stage.spec.WRITES in _NOT_SCORED:
            continue
        folder = stage_folder(stage, run_store)
        if folder.outputs.manifest() is not None:
            found.extend(_evaluate_stage(stage, folder, items, dataset))
    return found


def _evaluate_stage(
    stage: PlannedStage, folder: StageFolder, items: Sequence[DatasetItem], dataset: Dataset
) -> list[Evaluation]:
    kind = stage.spec.WRITES
    if issubclass(kind, Cams):
        return [_evaluate_cams(stage.name, folder, items, dataset)]
    assert issubclass(kind, LabelMap)
    if issubclass(kind, PartialLabel):
        return [_evaluate_labels(stage.name, "partial", folder, "masks", items, dataset)]
    evaluations = []
    for variant in kind.variants:
        name = stage.name if variant == "masks" else f"{stage.name}/{variant.removeprefix('masks_')}"
        evaluations.append(_evaluate_labels(name, "mask", folder, variant, items, dataset))
    if issubclass(kind, Mask) and getattr(stage.config, "crf", None) is None:
        return evaluations[-1:]  # without a CRF both variants are the same
    return evaluations


def read_truth(item: DatasetItem) -> np.ndarray:
    """Returns the ground truth of an item that has one, `uint8` `[H, W]`."""
    assert item.mask_uri is not None
    return decode_mask(read_uri(item.mask_uri), item.source_key)


def _evaluate_labels(
    name: str, kind: str, folder: StageFolder, variant: str, items: Sequence[DatasetItem], dataset: Dataset
) -> Evaluation:
    def one(item: DatasetItem) -> _LabelCounts:
        truth_HW = read_truth(item)
        label_HW = folder.outputs.read_mask(item, variant)
        if kind == "mask":
            confusion_CC = confusion_matrix(label_HW, truth_HW, dataset.num_classes)
            return _LabelCounts(confusion_CC, boundary_counts(label_HW, truth_HW, dataset.num_classes))
        label_HW = enlarged_label(label_HW, truth_HW.shape)
        # Only what is labelled counts: the rest is for propagation to find.
        truth_HW = np.where(label_HW == IGNORE_INDEX, IGNORE_INDEX, truth_HW)
        labelled = float(np.mean(label_HW != IGNORE_INDEX))
        return _LabelCounts(confusion_matrix(label_HW, truth_HW, dataset.num_classes), labelled=labelled)

    found = list(each_item(one, items))
    total = _total((counts.confusion_CC for _, counts in found), dataset.num_classes)
    labelled = [counts.labelled for _, counts in found if counts.labelled is not None]
    boundary_2C = [counts.boundary_2C for _, counts in found if counts.boundary_2C is not None]
    return Evaluation(
        name=name,
        kind=kind,
        scores=scores(total, dataset.class_names),
        images=tuple(_image_score(item, counts.confusion_CC, dataset) for item, counts in found),
        num_missing=len(items) - len(found),
        labelled_fraction=float(np.mean(labelled)) if labelled else None,
        boundary_iou=boundary_iou(np.sum(boundary_2C, axis=0)) if boundary_2C else None,
        confusion_CC=total,
    )


def _evaluate_cams(name: str, folder: StageFolder, items: Sequence[DatasetItem], dataset: Dataset) -> Evaluation:
    def one(item: DatasetItem) -> np.ndarray:
        cams = folder.read(item)
        assert isinstance(cams, Cams)
        return sweep_confusions(full_resolution(cams, item), cams.class_ids, read_truth(item), dataset.num_classes)

    total_TCC = np.zeros((len(THRESHOLDS), dataset.num_classes, dataset.num_classes), dtype=np.int64)
    mious: list[tuple[DatasetItem, list[float]]] = []
    for item, confusion_TCC in each_item(one, items):
        total_TCC += confusion_TCC
        mious.append((item, [scores(confusion, dataset.class_names).miou for confusion in confusion_TCC]))
    best = int(np.nanargmax([scores(total, dataset.class_names).miou for total in total_TCC])) if mious else 0
    images = tuple(ImageScore(item.item_id, item.source_key, values[best]) for item, values in mious)
    return Evaluation(
        name=name,
        kind="cam",
        scores=scores(total_TCC[best], dataset.class_names),
        images=images,
        num_missing=len(items) - len(mious),
        threshold=THRESHOLDS[best],
        confusion_CC=total_TCC[best],
    )


def _total(confusions: Iterable[np.ndarray], num_classes: int) -> np.ndarray:
    total_CC = np.zeros((num_classes, num_classes), dtype=np.int64)
    for confusion_CC in confusions:
        total_CC += confusion_CC
    return total_CC


def _image_score(item: DatasetItem, confusion_CC: np.ndarray, dataset: Dataset) -> ImageScore:
    return ImageScore(item.item_id, item.source_key, scores(confusion_CC, dataset.class_names).miou)


def enlarged_label(label_hw: np.ndarray, size_hw: Sequence[int]) -> np.ndarray:
    """Returns a grid's label at full resolution, nearest neighbour."""
    stride = stride_of(label_hw.shape, size_hw)
    rows, columns = np.arange(size_hw[0]) // stride, np.arange(size_hw[1]) // stride
    enlarged: np.ndarray = label_hw[np.ix_(rows, columns)]
    return enlarged
