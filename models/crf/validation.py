"""Checks that stand in front of every backend: some of them take the process down on bad input instead of failing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.crf.config import DenseCRFConfig
from models.errors import InvalidInputError


def checked_image(image_HW3: Any, config: DenseCRFConfig) -> NDArray[np.uint8]:
    """Return the image C-contiguous and writable, a copy where it is not so already.

    Raises:
        InvalidInputError: not a ``uint8`` array [H, W, 3] with at least one and at most `max_pixels` pixels.
    """
    image = _checked_array("image_HW3", image_HW3, np.uint8, "[H, W, 3]", 3)
    if image.shape[2] != 3:
        raise InvalidInputError(f"image_HW3 must be RGB with 3 channels, found shape {image.shape}")
    num_pixels = image.shape[0] * image.shape[1]
    if num_pixels > config.max_pixels:
        raise InvalidInputError(
            f"image_HW3 has {num_pixels} pixels, above the limit max_pixels={config.max_pixels}: "
            "reduce the image or raise the limit"
        )
    return np.require(image, requirements=("C", "W"))


def checked_unary(unary_VCHW: Any, image_HW3: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the unaries C-contiguous and writable, a copy where they are not so already.

    Raises:
        InvalidInputError: not a finite ``float32`` array [V, C, H, W] of the image's size.
    """
    unary = _checked_array("unary", unary_VCHW, np.float32, "[C, H, W], or [V, C, H, W] for several", 4)
    if unary.shape[2:] != image_HW3.shape[:2]:
        raise InvalidInputError(
            f"unary must have the image's height and width {image_HW3.shape[:2]}, found {unary.shape[2:]}"
        )
    if not np.isfinite(unary).all():
        num_bad = int(unary.size - np.isfinite(unary).sum())
        raise InvalidInputError(
            f"unary must be finite, found NaN or infinity in {num_bad} of {unary.size} values: "
            "clip probabilities away from 0 before taking the logarithm"
        )
    return np.require(unary, requirements=("C", "W"))


def _checked_array(name: str, array: Any, dtype: type[np.generic], shape: str, ndim: int) -> NDArray[Any]:
    if not isinstance(array, np.ndarray):
        raise InvalidInputError(f"{name} must be a numpy array, found {type(array).__name__}")
    if array.dtype != dtype:
        raise InvalidInputError(f"{name} must have dtype {np.dtype(dtype)}, found {array.dtype}")
    if array.ndim != ndim or array.size == 0:
        raise InvalidInputError(f"{name} must have shape {shape} and not be empty, found shape {array.shape}")
    return array
