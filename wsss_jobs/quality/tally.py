"""Sums over the images of one part of a data set, from which its scores follow. Nothing of a size of the set but rows.

Pixel counts are added up image by image: a matrix an image would be gigabytes at the size of COCO.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.quality.boundary_iou import boundary_iou
from wsss_jobs.quality.evaluation import Evaluation, ImageScore
from wsss_jobs.quality.scores import scores
from wsss_jobs.quality.threshold_sweep import THRESHOLDS

C_contra = TypeVar("C_contra", contravariant=True)


class Tally(Protocol[C_contra]):
    """Sums of counts of one kind."""

    def add(self, item: DatasetItem, counts: C_contra, mious: Sequence[float]) -> None:
        """Adds an image, with its own mIoU under each of its labellings."""

    def evaluation(self, name: str, kind: str, num_items: int) -> Evaluation:
        """Returns the scores of what was added, of `num_items` images with a truth."""


@dataclass(frozen=True)
class LabelCounts:
    """What one image's label map adds.

    Attributes:
        confusion_CC: Pixel counts, truth in rows, label in columns.
        boundary_2C: Of masks: pixels of boundaries, see `boundary_counts`.
        labelled: Of partial labels: share of pixels that carry a label.
    """

    confusion_CC: np.ndarray
    boundary_2C: np.ndarray | None = None
    labelled: float | None = None


class LabelTally:
    """Sums of label maps: masks, or partial labels. `class_names` are the foreground classes."""

    def __init__(self, class_names: Sequence[str]) -> None:
        num_classes = len(class_names) + 1
        self._class_names = class_names
        self._total_CC = np.zeros((num_classes, num_classes), dtype=np.int64)
        self._boundary_2C: np.ndarray | None = None
        self._labelled: list[float] = []
        self._images: list[ImageScore] = []

    def add(self, item: DatasetItem, counts: LabelCounts, mious: Sequence[float]) -> None:
        """Adds an image, with its own mIoU as the only value of `mious`."""
        self._total_CC += counts.confusion_CC
        if counts.boundary_2C is not None:
            boundary_2C = counts.boundary_2C
            self._boundary_2C = boundary_2C if self._boundary_2C is None else self._boundary_2C + boundary_2C
        if counts.labelled is not None:
            self._labelled.append(counts.labelled)
        self._images.append(ImageScore(item.item_id, item.source_key, mious[0]))

    def evaluation(self, name: str, kind: str, num_items: int) -> Evaluation:
        """Returns the scores of what was added, of `num_items` images with a truth."""
        return Evaluation(
            name=name,
            kind=kind,
            scores=scores(self._total_CC, self._class_names),
            images=tuple(self._images),
            num_missing=num_items - len(self._images),
            labelled_fraction=float(np.mean(self._labelled)) if self._labelled else None,
            boundary_iou=None if self._boundary_2C is None else boundary_iou(self._boundary_2C),
            confusion_CC=self._total_CC,
        )


class CamTally:
    """Sums of CAMs at every threshold of the sweep; the best one is this part's own. `class_names` as above."""

    def __init__(self, class_names: Sequence[str]) -> None:
        num_classes = len(class_names) + 1
        self._class_names = class_names
        self._total_TCC = np.zeros((len(THRESHOLDS), num_classes, num_classes), dtype=np.int64)
        self._mious: list[tuple[DatasetItem, Sequence[float]]] = []

    def add(self, item: DatasetItem, counts: np.ndarray, mious: Sequence[float]) -> None:
        """Adds an image's `[T, C, C]`, with its own mIoU at every threshold."""
        self._total_TCC += counts
        self._mious.append((item, mious))

    def evaluation(self, name: str, kind: str, num_items: int) -> Evaluation:
        """Returns the scores at the best threshold of what was added, of `num_items` images with a truth."""
        of_threshold = [scores(total_CC, self._class_names) for total_CC in self._total_TCC]
        best = int(np.nanargmax([each.miou for each in of_threshold])) if self._mious else 0
        images = (ImageScore(item.item_id, item.source_key, mious[best]) for item, mious in self._mious)
        return Evaluation(
            name=name,
            kind=kind,
            scores=of_threshold[best],
            images=tuple(images),
            num_missing=num_items - len(self._mious),
            threshold=THRESHOLDS[best],
            confusion_CC=self._total_TCC[best],
        )
