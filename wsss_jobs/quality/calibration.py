"""How far the label-free score can be trusted, where some images have ground truth: ranks, reliability, a smaller set.

The score itself never sees a mask of the data set; here it is compared with them.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from wsss_jobs.datasets.records import Dataset, DatasetItem
from wsss_jobs.quality.each_item import each_item
from wsss_jobs.quality.estimate import QualityEstimate
from wsss_jobs.quality.evaluate import read_truth
from wsss_jobs.quality.image_quality import PART_NAMES, ImageQuality, mid_ranks
from wsss_jobs.quality.isotonic import MonotoneFit, monotone_fit
from wsss_jobs.quality.scores import confusion_matrix, scores

WORST_SHARE = 0.2
FEWEST_TAGS = "fewest tags"
"""A rival that costs nothing: images of one class have a higher mIoU than those of several."""

_NUM_BINS = 10
_MIN_IMAGES = 2

ReadLabel = Callable[[DatasetItem], np.ndarray]


@dataclass(frozen=True)
class ReliabilityBin:
    """Images of similar score.

    Attributes:
        low: Lowest score.
        high: Highest score.
        predicted: Mean mIoU that a fit on other images predicts.
        actual: Their mean mIoU.
    """

    low: float
    high: float
    num_images: int
    predicted: float
    actual: float


@dataclass(frozen=True)
class Calibration:
    """The score against ground truth.

    Attributes:
        num_images: Images that have both.
        spearman: Rank correlation of the score with the mIoU of the image.
        spearman_of_parts: The same of each part alone, over the images that have it, and of `FEWEST_TAGS`.
        fit: From score to mIoU of an image, over all these images.
        calibration_error: Mean difference of predicted and actual in the bins, weighted by images.
        bins: From the lowest score up, of equal numbers of images.
        miou: Over the whole set.
        miou_without_worst: Over the set without the share of images that score lowest.
        worst_share: That share.
    """

    num_images: int
    spearman: float
    spearman_of_parts: Mapping[str, float]
    fit: MonotoneFit
    calibration_error: float
    bins: tuple[ReliabilityBin, ...]
    miou: float
    miou_without_worst: float
    worst_share: float


@dataclass(frozen=True)
class _Scored:
    """An image with its score and its truth's."""

    item: DatasetItem
    quality: ImageQuality
    miou: float


def calibrate(
    estimate: QualityEstimate, read_label: ReadLabel, dataset: Dataset, worst_share: float = WORST_SHARE
) -> Calibration | None:
    """Returns the comparison over all images that have a score and ground truth; None for fewer than two.

    Args:
        read_label: Returns the mask that the estimate is of.
    """
    by_id = {image.item_id: image for image in estimate.images}
    items = [item for item in dataset.items if item.mask_uri is not None and item.item_id in by_id]
    # Images are worst first in the estimate; so it is known who is left out before any truth is read.
    order = {image.item_id: rank for rank, image in enumerate(estimate.images)}
    items.sort(key=lambda item: order[item.item_id])
    dropped = {item.item_id for item in items[: round(worst_share * len(items))]}

    def one(item: DatasetItem) -> np.ndarray:
        return confusion_matrix(read_label(item), read_truth(item), dataset.num_classes)

    scored: list[_Scored] = []
    total_CC, kept_CC = (np.zeros((dataset.num_classes,) * 2, dtype=np.int64) for _ in range(2))
    for item, confusion_CC in each_item(one, items):
        total_CC += confusion_CC
        kept_CC += confusion_CC * (item.item_id not in dropped)
        miou = scores(confusion_CC, dataset.class_names).miou
        if not np.isnan(miou):
            scored.append(_Scored(item, by_id[item.item_id], miou))
    if len(scored) < _MIN_IMAGES:
        return None
    bins = _reliability(scored)
    return Calibration(
        num_images=len(scored),
        spearman=spearman([each.quality.score for each in scored], [each.miou for each in scored]),
        spearman_of_parts=_spearman_of_parts(scored),
        fit=_fitted(scored),
        calibration_error=sum(each.num_images * abs(each.predicted - each.actual) for each in bins) / len(scored),
        bins=bins,
        miou=scores(total_CC, dataset.class_names).miou,
        miou_without_worst=scores(kept_CC, dataset.class_names).miou,
        worst_share=len(dropped) / max(len(items), 1),
    )


def with_predictions(estimate: QualityEstimate, fit: MonotoneFit) -> QualityEstimate:
    """Returns the estimate with the mIoU that the fit predicts for each image."""
    predicted = fit([image.score for image in estimate.images]).tolist()
    images = zip(estimate.images, predicted, strict=True)
    return replace(estimate, images=tuple(replace(image, predicted_miou=value) for image, value in images))


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Returns Spearman's rank correlation, equal values at the middle of their ranks; NaN where one is constant."""
    ranks_2N = np.stack([mid_ranks(np.asarray(values, dtype=np.float64)) for values in (first, second)])
    centred_2N = ranks_2N - ranks_2N.mean(axis=1, keepdims=True)
    scale = float(np.sqrt((centred_2N**2).sum(axis=1).prod()))
    return float(centred_2N.prod(axis=0).sum()) / scale if scale > 0 else float("nan")


def _spearman_of_parts(scored: Sequence[_Scored]) -> dict[str, float]:
    found = {}
    for name in PART_NAMES:
        pairs = [(value, each.miou) for each in scored if (value := each.quality.parts.get(name)) is not None]
        if len(pairs) >= _MIN_IMAGES:
            found[name] = spearman(*zip(*pairs, strict=True))
    found[FEWEST_TAGS] = spearman([-len(each.item.labels) for each in scored], [each.miou for each in scored])
    return found


def _reliability(scored: Sequence[_Scored]) -> tuple[ReliabilityBin, ...]:
    """Returns bins of equal numbers; each half of the images is predicted by a fit on the other half."""
    halves = [[each for each in scored if _half(each.item) == half] for half in (0, 1)]
    predicted: dict[str, float] = {}
    for own, other in (halves, halves[::-1]):
        fit = _fitted(other or own)  # so few images that all are in one half
        values = fit([each.quality.score for each in own])
        predicted |= {each.item.item_id: float(value) for each, value in zip(own, values, strict=True)}
    ordered = sorted(scored, key=lambda each: each.quality.score)
    groups = np.array_split(np.arange(len(ordered)), min(_NUM_BINS, len(ordered)))
    return tuple(_bin([ordered[index] for index in group], predicted) for group in groups)


def _bin(images: Sequence[_Scored], predicted: Mapping[str, float]) -> ReliabilityBin:
    return ReliabilityBin(
        low=images[0].quality.score,
        high=images[-1].quality.score,
        num_images=len(images),
        predicted=float(np.mean([predicted[each.item.item_id] for each in images])),
        actual=float(np.mean([each.miou for each in images])),
    )


def _fitted(scored: Sequence[_Scored]) -> MonotoneFit:
    return monotone_fit([each.quality.score for each in scored], [each.miou for each in scored])


def _half(item: DatasetItem) -> int:
    return hashlib.sha256(item.item_id.encode()).digest()[0] % 2
