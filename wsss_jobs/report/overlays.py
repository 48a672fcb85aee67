"""What is laid over a photo: labels with contours, CAMs, mistakes. Pure NumPy.

Shapes:
    label_HW: uint8 class ids, 0 background, 255 not labelled.
    overlay_HW4: uint8 RGBA, straight alpha; where alpha is 0, the photo shows.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wsss_jobs.report.palette import Rgb
from wsss_jobs.storage.mask_png import voc_palette

IGNORE_INDEX = 255
FILL_ALPHA = 150
CAM_ALPHA = 215
CONTOUR_PX = 2
EXTRA_COLOUR: Rgb = (240, 130, 0)
MISSED_COLOUR: Rgb = (0, 120, 255)
CONFUSED_COLOUR: Rgb = (220, 0, 150)

_HATCH_PERIOD_PX = 9
_HATCH_LINE = (225, 225, 225, 170)
_HATCH_GROUND = (96, 96, 96, 120)
_CONTOUR_WHITE = 0.7


def label_overlay(label_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns classes as translucent colours with a light contour, background as nothing, 255 as grey hatching."""
    colours_N4 = np.zeros((256, 4), dtype=np.uint8)
    colours_N4[1:, :3] = voc_palette()[1:]
    colours_N4[1:, 3] = FILL_ALPHA
    overlay_HW4 = colours_N4[label_HW]
    unlabelled_HW = label_HW == IGNORE_INDEX
    overlay_HW4[unlabelled_HW] = _hatching(label_HW.shape)[unlabelled_HW]
    contour_HW = _contour(label_HW)
    whitened_N3 = (voc_palette() * (1 - _CONTOUR_WHITE) + 255 * _CONTOUR_WHITE).astype(np.uint8)
    overlay_HW4[contour_HW, :3] = whitened_N3[label_HW[contour_HW]]
    overlay_HW4[contour_HW, 3] = 255
    return overlay_HW4


def cam_overlay(cam_KHW: NDArray[np.float32], class_ids: Sequence[int]) -> NDArray[np.uint8]:
    """Returns at each pixel the colour of the class with the highest CAM, the more opaque the higher it is.

    Values that are not finite count as 0.
    """
    cam_KHW = np.nan_to_num(cam_KHW, nan=0.0, posinf=0.0, neginf=0.0)
    best_HW = np.array(class_ids, dtype=np.intp)[cam_KHW.argmax(axis=0)]
    alpha_HW = np.clip(cam_KHW.max(axis=0), 0.0, 1.0) * CAM_ALPHA
    return np.dstack([voc_palette()[best_HW], np.rint(alpha_HW).astype(np.uint8)])


def mistake_overlay(label_HW: NDArray[np.uint8], truth_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns where a mask is wrong: object on background, background on object, or another class.

    Pixels whose truth is 255 do not count; a label of 255 counts as background, as in the scores.
    """
    label_HW = np.where(label_HW == IGNORE_INDEX, 0, label_HW)
    wrong_HW = (label_HW != truth_HW) & (truth_HW != IGNORE_INDEX)
    overlay_HW4 = np.zeros((*label_HW.shape, 4), dtype=np.uint8)
    overlay_HW4[wrong_HW] = (*CONFUSED_COLOUR, 200)
    overlay_HW4[wrong_HW & (truth_HW == 0)] = (*EXTRA_COLOUR, 200)
    overlay_HW4[wrong_HW & (label_HW == 0)] = (*MISSED_COLOUR, 200)
    return overlay_HW4


def _contour(label_HW: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Returns the pixels of a class that lie within `CONTOUR_PX` of another label, along rows and columns."""
    edge_HW: NDArray[np.bool_] = np.zeros(label_HW.shape, dtype=bool)
    for shift in range(1, CONTOUR_PX + 1):
        differs_HW = label_HW[shift:] != label_HW[:-shift]
        edge_HW[shift:] |= differs_HW
        edge_HW[:-shift] |= differs_HW
        differs_HW = label_HW[:, shift:] != label_HW[:, :-shift]
        edge_HW[:, shift:] |= differs_HW
        edge_HW[:, :-shift] |= differs_HW
    edge_HW &= (label_HW != 0) & (label_HW != IGNORE_INDEX)
    return edge_HW


def _hatching(shape_HW: Sequence[int]) -> NDArray[np.uint8]:
    rows, columns = np.indices((shape_HW[0], shape_HW[1]))
    is_line_HW = (rows + columns) % _HATCH_PERIOD_PX < 2
    return np.where(is_line_HW[..., None], _HATCH_LINE, _HATCH_GROUND).astype(np.uint8)
