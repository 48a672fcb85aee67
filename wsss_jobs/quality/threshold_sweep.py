"""Scores of CAMs for every background threshold at once.

A CAM's read-out changes with the threshold only between its best class and background. So one histogram over (truth,
best class, CAM value) holds the confusion matrices of all thresholds.
"""

from collections.abc import Sequence

import numpy as np

from wsss_jobs.quality.scores import IGNORE_INDEX

THRESHOLDS = tuple(round(0.01 * step, 2) for step in range(1, 81))
"""The sweep: 0.01 to 0.80."""


def sweep_confusions(
    cam_KHW: np.ndarray, class_ids: Sequence[int], truth_HW: np.ndarray, num_classes: int
) -> np.ndarray:
    """Returns `[T, C, C]`: for each of `THRESHOLDS`, the confusion matrix of "best class where CAM > threshold"."""
    counted = truth_HW != IGNORE_INDEX
    truth = truth_HW[counted].astype(np.int64)
    best = np.array(class_ids, dtype=np.int64)[cam_KHW.argmax(axis=0)[counted]]
    # Number of thresholds below the value: at that many thresholds, the first ones, the pixel is foreground.
    num_below = np.searchsorted(np.array(THRESHOLDS, dtype=cam_KHW.dtype), cam_KHW.max(axis=0)[counted])
    num_bins = len(THRESHOLDS) + 1
    flat = (truth * num_classes + best) * num_bins + num_below
    histogram = np.bincount(flat, minlength=num_classes * num_classes * num_bins)
    histogram_CCT = histogram.reshape(num_classes, num_classes, num_bins)
    foreground_CCT = histogram_CCT[..., ::-1].cumsum(axis=-1)[..., ::-1][..., 1:]
    confusion_TCC = np.moveaxis(foreground_CCT, -1, 0).copy()
    confusion_TCC[:, :, 0] += histogram_CCT.sum(axis=(1, 2)) - confusion_TCC.sum(axis=2)
    return confusion_TCC
