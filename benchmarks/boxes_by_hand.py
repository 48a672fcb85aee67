"""Localisation scores a second time, by other means than the product's.

The product finds the largest part of a map for all thresholds in one pass, by union-find, and its true boxes are those
of a list. Here every threshold is labelled anew by `scipy.ndimage.label`, true boxes are the extents of the masks, and
shares are counted one by one. What is read is what the stages have stored. Metrics: `wsss_jobs.quality.localisation`.

Shapes:
    map_hw: one class's map at stride 4. Boxes are (left, top, right, bottom) in px, the last two exclusive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from scipy import ndimage

from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.job import PreparedJob
from wsss_jobs.quality.evaluate import read_truth
from wsss_jobs.quality.localisation import Localisation, LocalisationScores
from wsss_jobs.records import Cams, ClassPrediction, Record
from wsss_jobs.stage_io import stage_folder

STRIDE = 4
HUNDREDTHS = range(100)  # all thresholds
TOLERANCE = 1e-9  # of shares; one image of a million is a thousand times as much

Corners = tuple[int, int, int, int]


@dataclass(frozen=True)
class Found:
    """What there is of an image: its IoU at every threshold, and whether its class was predicted."""

    split: str
    ious: tuple[float, ...]
    is_correct: bool


def localisation_by_hand(job: PreparedJob) -> list[Localisation]:
    """Returns what `evaluate_localisation` is to return of a job that predicts classes and whose images have masks."""
    [predictions] = [stage_folder(each, job.store) for each in job.plan.stages if each.spec.WRITES is ClassPrediction]
    found: list[Localisation] = []
    for stage in job.plan.stages:
        if stage.spec.WRITES is Cams:
            cams = stage_folder(stage, job.store)
            images = [image_by_hand(item, cams.read(item), predictions.read(item)) for item in job.dataset.items]
            found += by_split(stage.name, images)
    return found


def image_by_hand(item: DatasetItem, cams: Record, predicted: Record) -> Found:
    """Returns an image's IoUs, from its stored map and its mask."""
    assert isinstance(cams, Cams)
    assert isinstance(predicted, ClassPrediction)
    (class_id,) = item.labels
    truth = corners_of(read_truth(item) == class_id)
    map_hw = stretched(cams.cam_Khw[cams.class_ids.index(class_id)])
    boxes = (box_at(map_hw, step / 100, (item.height_px, item.width_px)) for step in HUNDREDTHS)
    ious = tuple(0.0 if box is None else iou(box, truth) for box in boxes)
    return Found(item.split, ious, predicted.class_ids[0] == class_id)


def stretched(map_hw: np.ndarray) -> np.ndarray:
    """Returns the map from 0 to 1. In float32, as is the definition: 0.2 of a float64 may lie above or below it."""
    values_hw = map_hw.astype(np.float32)
    low, high = values_hw.min(), values_hw.max()
    return (values_hw - low) / (high - low) if high > low else np.zeros_like(values_hw)


def box_at(map_hw: np.ndarray, threshold: float, size_hw: Sequence[int]) -> Corners | None:
    """Returns the box of the largest part (four neighbours) where the map reaches the threshold; None without any.

    Of parts of one size it is the one that comes first in reading order.
    """
    part_hw, num_parts = ndimage.label(map_hw.astype(np.float64) >= threshold)
    if num_parts == 0:
        return None
    numbers, firsts, sizes = np.unique(part_hw, return_index=True, return_counts=True)
    _, _, largest = min((-size, first, n) for n, first, size in zip(numbers, firsts, sizes, strict=True) if n > 0)
    left, top, right, bottom = corners_of(part_hw == largest)
    height, width = size_hw
    return STRIDE * left, STRIDE * top, min(STRIDE * right, width), min(STRIDE * bottom, height)


def corners_of(where_hw: np.ndarray) -> Corners:
    """Returns the box around the cells that are True."""
    [(rows, columns)] = ndimage.find_objects(where_hw.astype(np.int32))
    return int(columns.start), int(rows.start), int(columns.stop), int(rows.stop)


def iou(one: Corners, other: Corners) -> float:
    """Returns the intersection over union."""
    left, top = max(one[0], other[0]), max(one[1], other[1])
    right, bottom = min(one[2], other[2]), min(one[3], other[3])
    common = max(right - left, 0) * max(bottom - top, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return common / (areas - common)


def by_split(name: str, images: Sequence[Found]) -> list[Localisation]:
    """Returns a stage's scores of each split at its own best threshold, and of others at that of `train`."""
    found, of_train = [], None
    for split in sorted({image.split for image in images}, key=lambda split: split != "train"):
        of_split = [image for image in images if image.split == split]
        best = scores_at(of_split, best_step(of_split))
        if split == "train":
            of_train = best_step(of_split)
        held_out = None if split == "train" or of_train is None else scores_at(of_split, of_train)
        found.append(Localisation(name, split, best, held_out))
    return found


def best_step(images: Sequence[Found]) -> int:
    """Returns the first threshold, in hundredths, with the most right boxes of right predictions."""
    return max(HUNDREDTHS, key=lambda step: (sum(i.is_correct and i.ious[step] > 0.5 for i in images), -step))


def scores_at(images: Sequence[Found], step: int) -> LocalisationScores:
    """Returns the scores at a threshold in hundredths."""
    number = len(images)
    return LocalisationScores(
        num_images=number,
        threshold=step / 100,
        top_1_cls=sum(image.is_correct for image in images) / number,
        top_1_loc=sum(image.is_correct and image.ious[step] > 0.5 for image in images) / number,
        gt_known_loc=sum(image.ious[step] > 0.5 for image in images) / number,
        max_box_acc=max(sum(image.ious[each] >= 0.5 for image in images) for each in HUNDREDTHS) / number,
    )


def differences(product: Sequence[Localisation], by_hand: Sequence[Localisation]) -> list[str]:
    """Returns a line for each score that the two do not have in common; empty where all are equal."""
    one, other = flattened(product), flattened(by_hand)
    return [
        f"{' '.join(key)}: the product has {one.get(key)}, by hand it is {other.get(key)}"
        for key in sorted(one.keys() | other.keys())
        if not _are_equal(one.get(key), other.get(key))
    ]


def flattened(found: Sequence[Localisation]) -> dict[tuple[str, ...], float | None]:
    """Returns all scores by stage, split, way of choosing the threshold, and name."""
    return {
        (each.name, each.split, chosen, field.name): getattr(scores, field.name)
        for each in found
        for chosen, scores in (("best", each.best), ("held_out", each.held_out))
        if scores is not None
        for field in fields(scores)
    }


def _are_equal(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) <= TOLERANCE
