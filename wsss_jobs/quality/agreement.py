"""How far two labels of one image agree: mean IoU over the classes that the image should show."""

from collections.abc import Sequence

import numpy as np

from wsss_jobs.quality.scores import confusion_matrix
from wsss_jobs.quality.threshold_sweep import THRESHOLDS, sweep_confusions

SWEPT = (0.2, 0.3, 0.4, 0.5, 0.6)
"""Background thresholds at which a CAM is read out; agreement is the mean, so that none has to be chosen."""


def label_agreement(first_HW: np.ndarray, second_HW: np.ndarray, class_ids: Sequence[int], num_classes: int) -> float:
    """Returns the mean IoU of two labels over background and `class_ids`, in [0, 1].

    A class that both lack counts as 0: its tag says that it is there. 255 in the first counts as background; in the
    second, the pixel does not count.
    """
    return class_agreement(confusion_matrix(first_HW, second_HW, num_classes), class_ids)


def cam_agreement(cam_KHW: np.ndarray, class_ids: Sequence[int], label_HW: np.ndarray, num_classes: int) -> float:
    """Returns the mean IoU of a label and the CAM's read-outs at all thresholds of `SWEPT`, in [0, 1].

    Shapes:
        cam_KHW: CAMs of `class_ids` in [0, 1], at the label's size.
    """
    confusion_TCC = sweep_confusions(cam_KHW, class_ids, label_HW, num_classes)
    chosen = [confusion_TCC[THRESHOLDS.index(threshold)] for threshold in SWEPT]
    return float(np.mean([class_agreement(confusion_CC, class_ids) for confusion_CC in chosen]))


def class_agreement(confusion_CC: np.ndarray, class_ids: Sequence[int]) -> float:
    """Returns the mean IoU of background and `class_ids`; one that occurs nowhere counts as 0."""
    ids = [0, *class_ids]
    hits = np.diag(confusion_CC)[ids].astype(np.float64)
    union = confusion_CC.sum(axis=0)[ids] + confusion_CC.sum(axis=1)[ids] - hits
    return float(np.mean(hits / np.maximum(union, 1)))
