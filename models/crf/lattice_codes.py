"""Integer codes of permutohedral lattice points, and the check that they fit.

A point of the lattice A*_d is ``k = r 1 + (d + 1) m`` with m in Z^(d+1); m and m + 1 (with r less d + 1) are the same
point. Linear functions of m whose coefficients sum to 0, here called fields, therefore identify points, and packing
them in a mixed radix makes one integer of them. One blur step along axis j takes 1 off m_j, hence a constant off the
code. The native library uses the same fields (native/point_codes.hpp).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.crf.config import DenseCRFConfig
from models.errors import InvalidInputError

# One row a field, one column an entry of m. Position first (row, column), then colour.
POSITION_FIELDS = ((1, 1, -2), (1, -1, 0))
POSITION_COLOUR_FIELDS = (
    (1, 1, -2, 0, 0, 0),
    (1, -1, 0, 0, 0, 0),
    (0, 0, 0, 1, -1, 0),
    (-1, 0, 0, 0, 1, 0),
    (0, 0, 0, 0, -1, 1),
)
_NUM_POSITION_FIELDS = {2: 1, 5: 2}  # those of the code's first half; the native library keeps each half in 31 bits
_MAX_HALF = 2**31 - 2


@dataclass(frozen=True)
class PointCodes:
    """``code = origin + coefficients . m``, from 0 to `num_codes` - 1 for all points in reach."""

    coefficients: tuple[int, ...]
    origin: int


def axis_scales(num_features: int) -> NDArray[np.float32]:
    """Return the scale of each feature that makes the filter a Gaussian of standard deviation 1.

    Source: Adams, Baek, Davis, Fast High-Dimensional Filtering Using the Permutohedral Lattice, 2010, section 3.
    """
    index = np.arange(num_features)
    deviation = np.sqrt(np.float32(2.0 / 3.0)) * np.float32(num_features + 1)
    return np.asarray(deviation / np.sqrt(((index + 1) * (index + 2)).astype(np.float32)), dtype=np.float32)


def make_codes(extents: tuple[float, ...]) -> PointCodes:
    """Return codes for features that lie in [0, extent] each.

    Raises:
        InvalidInputError: the features span too many standard deviations.
    """
    fields = POSITION_FIELDS if len(extents) == 2 else POSITION_COLOUR_FIELDS
    ranges = [_field_range(field, extents) for field in fields]
    split = _NUM_POSITION_FIELDS[len(extents)]
    for half in (ranges[:split], ranges[split:]):
        if math.prod(count for _, count in half) > _MAX_HALF:
            raise InvalidInputError(
                f"dense CRF: the features span {tuple(round(extent) for extent in extents)} standard deviations, more "
                "than the lattice can number: raise sxy_px and srgb, or reduce the image"
            )
    coefficients = np.zeros(len(extents) + 1, dtype=object)
    origin, stride = 0, 1
    for field, (first, count) in zip(reversed(fields), reversed(ranges), strict=True):
        coefficients += np.array([stride * entry for entry in field], dtype=object)
        origin -= stride * first
        stride *= count
    return PointCodes(tuple(int(entry) for entry in coefficients), origin)


def bilateral_extents(height: int, width: int, config: DenseCRFConfig) -> tuple[float, ...]:
    """Return the largest value of each feature (x, y, red, green, blue) in standard deviations."""
    sxy, srgb = config.bilateral_sxy_px, config.bilateral_srgb
    return ((width - 1) / sxy, (height - 1) / sxy, 255 / srgb, 255 / srgb, 255 / srgb)


def gaussian_extents(height: int, width: int, config: DenseCRFConfig) -> tuple[float, ...]:
    """Return the largest value of each feature (x, y) in standard deviations."""
    return ((width - 1) / config.gaussian_sxy_px, (height - 1) / config.gaussian_sxy_px)


def check_lattice_range(height: int, width: int, config: DenseCRFConfig) -> None:
    """Raise `InvalidInputError` where a kernel that is in use cannot have a lattice on an image of this size."""
    if config.gaussian_compat > 0:
        make_codes(gaussian_extents(height, width, config))
    if config.bilateral_compat > 0:
        make_codes(bilateral_extents(height, width, config))


def _field_range(field: tuple[int, ...], extents: tuple[float, ...]) -> tuple[int, int]:
    """Return the first value of a field and the number of its values, one blur step beyond the points included."""
    scales = axis_scales(len(extents))
    low = high = 0.0
    for feature, extent in enumerate(extents):
        # Column `feature` of the basis of the hyperplane: 1 above entry feature + 1, -(feature + 1) in it, 0 below.
        slope = sum(field[: feature + 1]) - (feature + 1) * field[feature + 1]
        end = slope * float(scales[feature]) * extent / (len(extents) + 1)
        low, high = low + min(end, 0.0), high + max(end, 0.0)
    pad = 3 + 2 * sum(abs(entry) for entry in field)  # a vertex is less than 1 from its point in every entry
    first = math.floor(low) - pad
    return first, math.ceil(high) + pad - first + 1
