"""Weakly supervised object localisation: Top-1 Cls, Top-1 Loc, GT-known Loc and MaxBoxAcc.

Sources: Russakovsky et al., IJCV 2015 (Top-1 Loc); Singh and Lee, ICCV 2017 (GT-known Loc); Choe et al., "Evaluating
Weakly Supervised Object Localization Methods Right" (CVPR 2020; MaxBoxAcc). The threshold is searched from 0.00 to
0.99, as in Zhou et al., IEEE TIP 2022; the best one of a split is chosen with its truth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsss_jobs.datasets.records import Dataset, DatasetItem
from wsss_jobs.pipeline import Plan, PlannedStage
from wsss_jobs.quality.each_item import each_item
from wsss_jobs.records import Cams, ClassPrediction
from wsss_jobs.stage_io import stage_folder
from wsss_jobs.stages.localise_boxes import boxes_of_map
from wsss_jobs.storage.object_store import ObjectStore

THRESHOLDS = tuple(round(0.01 * step, 2) for step in range(100))
MIN_IOU = 0.5


@dataclass(frozen=True)
class ImageLocalisation:
    """One image.

    Attributes:
        iou_T: Of the box of the true class with the true box that it fits best, for each of `THRESHOLDS`.
        is_correct: Whether the predicted class is the true one; None without predictions.
    """

    item_id: str
    split: str
    iou_T: NDArray[np.float64]
    is_correct: bool | None


@dataclass(frozen=True)
class LocalisationScores:
    """Scores of some images, as fractions.

    Attributes:
        threshold: At which `gt_known_loc` and `top_1_loc` are given.
        top_1_cls: Images whose predicted class is the true one; None without predictions.
        top_1_loc: Those of them whose box has more than half its union with the true one in common.
        gt_known_loc: The same of the true class's box, whatever was predicted.
        max_box_acc: The highest share over all thresholds of boxes with an IoU of at least 0.5.
    """

    num_images: int
    threshold: float
    top_1_cls: float | None
    top_1_loc: float | None
    gt_known_loc: float
    max_box_acc: float


def localisation_scores(images: Sequence[ImageLocalisation], threshold: float | None = None) -> LocalisationScores:
    """Returns the scores at a threshold; without one, at the best for `top_1_loc` (else for `gt_known_loc`).

    Args:
        images: At least one.
        threshold: One of `THRESHOLDS`.
    """
    iou_NT = np.stack([image.iou_T for image in images])
    known_T = (iou_NT > MIN_IOU).mean(axis=0)
    has_predictions = all(image.is_correct is not None for image in images)
    correct_N = np.array([bool(image.is_correct) for image in images])
    top_T = ((iou_NT > MIN_IOU) & correct_N[:, None]).mean(axis=0)
    best = int(np.argmax(top_T if has_predictions else known_T)) if threshold is None else THRESHOLDS.index(threshold)
    return LocalisationScores(
        num_images=len(images),
        threshold=THRESHOLDS[best],
        top_1_cls=float(correct_N.mean()) if has_predictions else None,
        top_1_loc=float(top_T[best]) if has_predictions else None,
        gt_known_loc=float(known_T[best]),
        max_box_acc=float((iou_NT >= MIN_IOU).mean(axis=0).max()),
    )


def image_localisation(cams: Cams, item: DatasetItem, predicted: int | None) -> ImageLocalisation | None:
    """Returns how an image's maps fit its boxes; None where its one true class has no map."""
    if len(item.labels) != 1 or item.labels[0] not in cams.class_ids:
        return None
    boxes = boxes_of_map(cams, item.labels[0], list(THRESHOLDS), (item.height_px, item.width_px))
    ious = [0.0 if box is None else max(box.iou(truth) for truth in item.boxes_xywh) for box in boxes]
    return ImageLocalisation(
        item.item_id, item.split, np.array(ious), None if predicted is None else predicted == item.labels[0]
    )


@dataclass(frozen=True)
class Localisation:
    """The scores of one stage's CAMs.

    Attributes:
        name: The stage.
        split: Of these images.
        best: At the threshold that suits these images best: chosen with their truth, as in the paper.
        held_out: At the threshold that suits the images of `train` best; None for `train` itself, or without it.
    """

    name: str
    split: str
    best: LocalisationScores
    held_out: LocalisationScores | None


def evaluate_localisation(plan: Plan, dataset: Dataset, run_store: ObjectStore) -> list[Localisation]:
    """Returns the scores of all finished CAM stages, by split; empty where no image has boxes and exactly one tag."""
    items = [item for item in dataset.items if item.boxes_xywh and len(item.labels) == 1]
    found: list[Localisation] = []
    for stage in plan.stages if items else ():
        folder = stage_folder(stage, run_store) if stage.spec.WRITES is Cams else None
        if folder is not None and folder.outputs.manifest() is not None:
            found += _by_split(stage.name, _images(stage, plan, items, run_store))
    return found


def _images(
    stage: PlannedStage, plan: Plan, items: Sequence[DatasetItem], run_store: ObjectStore
) -> list[ImageLocalisation]:
    folder = stage_folder(stage, run_store)
    predictions = _predictions(plan, run_store, items)

    def one(item: DatasetItem) -> ImageLocalisation | None:
        cams = folder.read(item)
        assert isinstance(cams, Cams)
        return image_localisation(cams, item, predictions.get(item.item_id))

    return [image for _, image in each_item(one, items) if image is not None]


def _predictions(plan: Plan, run_store: ObjectStore, items: Sequence[DatasetItem]) -> Mapping[str, int]:
    """Returns the predicted class of each item, of the plan's last stage that predicts."""
    stages = [stage for stage in plan.stages if stage.spec.WRITES is ClassPrediction]
    if not stages:
        return {}
    folder = stage_folder(stages[-1], run_store)

    def one(item: DatasetItem) -> int:
        prediction = folder.read(item)
        assert isinstance(prediction, ClassPrediction)
        return prediction.top_class

    return {item.item_id: top_class for item, top_class in each_item(one, items)}


def _by_split(name: str, images: Sequence[ImageLocalisation]) -> list[Localisation]:
    splits = sorted({image.split for image in images})
    of_split = {split: [image for image in images if image.split == split] for split in splits}
    best = {split: localisation_scores(of_split[split]) for split in splits}
    chosen = best["train"].threshold if "train" in best else None
    return [
        Localisation(
            name,
            split,
            best[split],
            None if chosen is None or split == "train" else localisation_scores(of_split[split], chosen),
        )
        for split in splits
    ]
