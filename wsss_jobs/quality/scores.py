"""From a confusion matrix to the numbers that papers print (PASCAL VOC conventions)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsss_jobs.errors import DataError

IGNORE_INDEX = 255


@dataclass(frozen=True)
class SegmentationScores:
    """Scores of one set of label images; fractions in [0, 1], NaN for a class that occurs nowhere.

    Attributes:
        class_names: Background first.
        iou: TP / (TP + FP + FN) a class.
        precision: TP / (TP + FP) a class.
        recall: TP / (TP + FN) a class.
        pixel_accuracy: Share of scored pixels that are right.
        num_pixels: Scored pixels: those whose truth is not 255.
    """

    class_names: tuple[str, ...]
    iou: tuple[float, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    pixel_accuracy: float
    num_pixels: int

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that occur, background included."""
        return mean_of_known(self.iou)

    @property
    def mean_precision(self) -> float:
        """Mean precision over the classes that occur in the labels."""
        return mean_of_known(self.precision)

    @property
    def mean_recall(self) -> float:
        """Mean recall over the classes that occur in the truth."""
        return mean_of_known(self.recall)


def confusion_matrix(label_HW: np.ndarray, truth_HW: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns pixel counts `[C, C]`, truth in rows, label in columns. Truth 255 is not counted; label 255 counts as 0.

    A final mask holds no 255; a partial label does, and is scored as if unlabelled were background (IRN's scorer).

    Raises:
        DataError: Sizes differ, or a value is no class id.
    """
    # Imported here: they take seconds, and most commands score nothing.
    import torch
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    _check("label", label_HW, truth_HW, num_classes)
    _check("truth", truth_HW, truth_HW, num_classes)
    label = torch.from_numpy(np.where(label_HW == IGNORE_INDEX, 0, label_HW).astype(np.int64)).flatten()
    truth = torch.from_numpy(truth_HW.astype(np.int64)).flatten()
    counts: np.ndarray = multiclass_confusion_matrix(
        label, truth, num_classes=num_classes, ignore_index=IGNORE_INDEX, validate_args=False
    ).numpy()
    return counts


def scores(confusion_CC: np.ndarray, class_names: Sequence[str]) -> SegmentationScores:
    """Returns the scores of one confusion matrix; `class_names` are the foreground classes."""
    hits = np.diag(confusion_CC).astype(np.float64)
    in_truth, in_label = confusion_CC.sum(axis=1), confusion_CC.sum(axis=0)
    return SegmentationScores(
        class_names=("background", *class_names),
        iou=_divide(hits, in_truth + in_label - hits),
        precision=_divide(hits, in_label),
        recall=_divide(hits, in_truth),
        pixel_accuracy=float(hits.sum() / max(confusion_CC.sum(), 1)),
        num_pixels=int(confusion_CC.sum()),
    )


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> tuple[float, ...]:
    ratio = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return tuple(float(value) for value in ratio)


def mean_of_known(values: Sequence[float]) -> float:
    """Returns the mean of the values that are numbers; NaN without any."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _check(what: str, array_HW: np.ndarray, truth_HW: np.ndarray, num_classes: int) -> None:
    if array_HW.shape != truth_HW.shape:
        sizes = [f"{shape[1]} x {shape[0]}" for shape in (array_HW.shape, truth_HW.shape)]
        message = f"{what} is {sizes[0]} pixels, its truth {sizes[1]}"
        raise DataError(what, "size_mismatch", message)
    foreign = np.setdiff1d(np.unique(array_HW), [*range(num_classes), IGNORE_INDEX])
    if foreign.size:
        message = f"{what} holds {foreign.tolist()[:5]}; class ids are 0 to {num_classes - 1}, and 255 for ignore"
        raise DataError(what, "label_out_of_range", message)
