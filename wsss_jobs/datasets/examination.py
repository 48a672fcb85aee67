"""A close look at one image of a data set, its tags and its mask."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsss_jobs.datasets.images import decode_image
from wsss_jobs.datasets.index import read_image_file
from wsss_jobs.datasets.records import SourceImage
from wsss_jobs.errors import DataError
from wsss_jobs.storage.mask_png import decode_mask
from wsss_jobs.storage.object_store import AccessDeniedError, ObjectNotFoundError
from wsss_jobs.storage.uris import read_uri

_LEAST_SPREAD = 2.0  # standard deviation of the pixels, in grey levels, below which a picture shows nothing
_IGNORE = 255


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found.

    Args:
        source: Which image.
        errors: What is wrong with it, its tags or its mask.
        is_usable: Whether a job would use it; a bad mask does not hinder that.
        file_sha256: Of its bytes; "" where it cannot be read.
        pixels_sha256: Of its size and pixels; "" where it cannot be decoded.
        is_nearly_empty: Whether it shows hardly anything.
    """

    source: SourceImage
    errors: tuple[DataError, ...]
    is_usable: bool = False
    file_sha256: str = ""
    pixels_sha256: str = ""
    is_nearly_empty: bool = False


def examine(source: SourceImage, num_foreground: int, min_side_px: int) -> Examined:
    """Read and decode an image and its mask, and check them against each other and the class list."""
    if source.problem is not None:
        return Examined(source, (source.problem,))
    try:
        data = read_image_file(source)
        image_HW3 = decode_image(data, source.source_key, min_side_px)
    except DataError as error:
        return Examined(source, (error,))
    height, width, _ = image_HW3.shape
    pixels = hashlib.sha256(f"{height} {width} ".encode() + image_HW3.tobytes())
    return Examined(
        source,
        _mask_errors(source, (height, width), num_foreground),
        is_usable=True,
        file_sha256=hashlib.sha256(data).hexdigest(),
        pixels_sha256=pixels.hexdigest(),
        is_nearly_empty=float(image_HW3.std()) < _LEAST_SPREAD,
    )


def _mask_errors(source: SourceImage, size_hw: tuple[int, int], num_foreground: int) -> tuple[DataError, ...]:
    if source.mask_uri is None:
        return ()
    name = source.source_key
    try:
        label_HW = decode_mask(read_uri(source.mask_uri), name)
    except (ObjectNotFoundError, AccessDeniedError) as error:
        return (DataError(name, "mask_unreadable", f"{error}; restore the mask"),)
    except DataError as error:
        reason = error.reason if error.reason.startswith("mask") else "mask_cannot_decode"
        return (DataError(name, reason, f"{source.mask_uri}: {error.message}"),)
    errors = [_wrong_size(source, label_HW, size_hw), _odd_values(source, label_HW, num_foreground)]
    return tuple(error for error in errors if error is not None)


def _wrong_size(source: SourceImage, label_HW: NDArray[np.uint8], size_hw: tuple[int, int]) -> DataError | None:
    if label_HW.shape == size_hw:
        return None
    found = f"{source.mask_uri} is {label_HW.shape[1]}x{label_HW.shape[0]}, its image is {size_hw[1]}x{size_hw[0]}"
    hint = "resize one, or check the image's EXIF rotation"
    return DataError(source.source_key, "mask_size", f"{found}; {hint}")


def _odd_values(source: SourceImage, label_HW: NDArray[np.uint8], num_foreground: int) -> DataError | None:
    values = np.flatnonzero(np.bincount(label_HW.ravel(), minlength=256))
    odd = [int(value) for value in values if value > num_foreground and value != _IGNORE]
    if not odd:
        return None
    rule = f"values must be 0..{num_foreground} or {_IGNORE}, found {', '.join(map(str, odd[:5]))}"
    hint = "check the class list and its order"
    return DataError(source.source_key, "mask_values", f"{source.mask_uri}: {rule}; {hint}")
