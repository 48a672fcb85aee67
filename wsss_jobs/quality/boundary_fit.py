"""How far the borders of a mask lie on edges of its image: the boundary term of objectness measures, of a whole mask.

An edge is strong or weak only within its own image: what counts is the rank of the gradient, not its size.
"""

import numpy as np
from numpy.typing import NDArray

_KERNEL = np.array([1, 4, 6, 4, 1], dtype=np.float32) / 16  # binomial, close to a Gaussian of 1 px


def boundary_fit(label_HW: NDArray[np.uint8], image_HW3: NDArray[np.uint8]) -> float | None:
    """Returns the mean rank of the image's gradient along the mask's borders, in [0, 1]; None without borders.

    1: all borders lie on the strongest edges; 0.5: they know nothing of the image, or it is flat. An edge within 1 px
    of the border counts.
    """
    border_HW = label_borders(label_HW)
    if not border_HW.any():
        return None
    edge_HW = _largest_of_neighbours(gradient_magnitude(image_HW3))
    sorted_N = np.sort(edge_HW, axis=None)
    found = edge_HW[border_HW]
    # The middle of equal values: a flat image has the rank of chance everywhere.
    low, high = (np.searchsorted(sorted_N, found, side) for side in ("left", "right"))
    return float(np.mean((low + high) / (2 * sorted_N.size)))


def label_borders(label_HW: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Returns the pixels that differ from their right or lower neighbour."""
    border_HW: NDArray[np.bool_] = np.zeros(label_HW.shape, dtype=np.bool_)
    border_HW[:, :-1] |= label_HW[:, 1:] != label_HW[:, :-1]
    border_HW[:-1] |= label_HW[1:] != label_HW[:-1]
    return border_HW


def gradient_magnitude(image_HW3: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns the length of the smoothed image's gradient, that of the channel that has the longest, `[H, W]`."""
    smooth_HW3 = _smoothed(_smoothed(image_HW3.astype(np.float32), 0), 1)
    padded = np.pad(smooth_HW3, ((1, 1), (1, 1), (0, 0)), mode="edge")
    down = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2
    across = (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
    magnitude_HW: NDArray[np.float32] = np.sqrt((down**2 + across**2).max(axis=2))
    return magnitude_HW


def _smoothed(values: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    shifted = _shifted(values, dimension, len(_KERNEL) // 2)
    smooth: NDArray[np.float32] = _KERNEL[0] * shifted[0]
    for weight, each in zip(_KERNEL[1:], shifted[1:], strict=True):
        smooth += weight * each
    return smooth


def _largest_of_neighbours(values_HW: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the largest value of the 3 x 3 pixels around each."""
    for dimension in (0, 1):
        before, here, after = _shifted(values_HW, dimension, 1)
        values_HW = np.maximum(np.maximum(before, here), after)
    return values_HW


def _shifted(values: NDArray[np.float32], dimension: int, radius: int) -> list[NDArray[np.float32]]:
    """Returns the values of the neighbours along one dimension, from -radius to +radius; outside, those of the rim."""
    padding = [(radius, radius) if index == dimension else (0, 0) for index in range(values.ndim)]
    padded = np.moveaxis(np.pad(values, padding, mode="edge"), dimension, 0)
    length = values.shape[dimension]
    return [np.moveaxis(padded[shift : shift + length], 0, dimension) for shift in range(2 * radius + 1)]
