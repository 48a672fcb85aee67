"""COCO's compressed run lengths, by pycocotools."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsss_jobs.errors import ConfigError


def encode_rle(mask_HW: NDArray[np.bool_]) -> dict[str, Any]:
    """A mask as `{"size": [height, width], "counts": text}`.

    Raises:
        ConfigError: pycocotools is not installed.
    """
    encoded = mask_api().encode(np.asfortranarray(mask_HW, dtype=np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def decode_segmentation(segmentation: Any, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask of an annotation's `segmentation`: polygons, counts as a list, or compressed counts.

    Raises:
        ConfigError: pycocotools is not installed.
        ValueError, TypeError, KeyError: It is none of these, or does not fit the size.
    """
    api = mask_api()
    if isinstance(segmentation, list):
        if not segmentation:
            return np.zeros(size_hw, dtype=bool)
        encoded = api.merge(api.frPyObjects(segmentation, *size_hw))
    elif isinstance(segmentation["counts"], list):
        encoded = api.frPyObjects(segmentation, *size_hw)
    else:
        encoded = segmentation
    mask_HW: NDArray[np.bool_] = api.decode(encoded).astype(bool)
    if mask_HW.shape != size_hw:
        raise ValueError(f"is {mask_HW.shape[1]}x{mask_HW.shape[0]}, its image {size_hw[1]}x{size_hw[0]}")
    return mask_HW


def mask_api() -> Any:
    """`pycocotools.mask`.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ConfigError("COCO masks need pycocotools: pip install 'wsss-jobs[coco]'") from error
    return mask
