"""Boundary IoU: how well contours are met (Cheng et al., "Boundary IoU", CVPR 2021, equation 4).

The boundary of a class is those of its pixels that lie within d of its contour; the score is the IoU of the boundaries
of label and truth. As there, d is 2 % of the image's diagonal, distances are those of a chess king, and the image's rim
is a contour.
"""

import numpy as np
from numpy.typing import NDArray

from wsss_jobs.quality.scores import IGNORE_INDEX

DILATION = 0.02
"""Share of the diagonal; that of the paper."""


def boundary_counts(label_HW: np.ndarray, truth_HW: np.ndarray, num_classes: int) -> NDArray[np.int64]:
    """Returns pixels of each class, `[2, C]`: in both boundaries, and in either.

    Pixels whose truth is 255 do not count; a label of 255 counts as background, as in `confusion_matrix`. Boundaries
    are drawn before that, so a contour that lies in ignored pixels is not moved to their edge.
    """
    label_HW = np.where(label_HW == IGNORE_INDEX, 0, label_HW)
    counted_HW = truth_HW != IGNORE_INDEX
    distance_px = boundary_distance(truth_HW.shape)
    counts_2C = np.zeros((2, num_classes), dtype=np.int64)
    for class_id in np.union1d(np.unique(label_HW), np.unique(truth_HW[counted_HW])).tolist():
        ours_HW, theirs_HW = (
            boundary(values_HW == class_id, distance_px) & counted_HW for values_HW in (label_HW, truth_HW)
        )
        counts_2C[:, class_id] = (ours_HW & theirs_HW).sum(), (ours_HW | theirs_HW).sum()
    return counts_2C


def boundary_iou(counts_2C: NDArray[np.int64]) -> tuple[float, ...]:
    """Returns the boundary IoU of each class from the summed counts of all images, NaN where it occurs nowhere."""
    both_C, either_C = counts_2C.astype(np.float64)
    return tuple(float(b / e) if e else float("nan") for b, e in zip(both_C, either_C, strict=True))


def boundary_distance(size_hw: tuple[int, ...]) -> int:
    """Returns d in px: at least 1."""
    return max(1, round(DILATION * float(np.hypot(size_hw[0], size_hw[1]))))


def boundary(mask_HW: NDArray[np.bool_], distance_px: int) -> NDArray[np.bool_]:
    """Returns the pixels of a mask that have a pixel outside of it, or the image's rim, within a distance."""
    near_HW: NDArray[np.bool_] = np.zeros_like(mask_HW)
    rows, columns = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
    if not rows.size:
        return near_HW
    # Beside its bounding box a mask has nothing, so the box's rim is a contour too, and all else can be left out.
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    outside = np.pad(~mask_HW[box], distance_px, constant_values=True)
    near_HW[box] = mask_HW[box] & (_box_sums(outside, 2 * distance_px + 1) > 0)
    return near_HW


def _box_sums(values_HW: NDArray[np.bool_], side_px: int) -> NDArray[np.int32]:
    """Returns the sum over each box that fits, `[H - side + 1, W - side + 1]`."""
    sums = np.pad(values_HW.astype(np.int32).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    boxes: NDArray[np.int32] = (
        sums[side_px:, side_px:] - sums[:-side_px, side_px:] - sums[side_px:, :-side_px] + sums[:-side_px, :-side_px]
    )
    return boxes
