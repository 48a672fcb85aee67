"""From the bytes of an image file to RGB pixels, for every kind of file that people have.

Shapes:
    image_HW3: uint8 RGB, rotated as EXIF asks.

What becomes of what:
    grey, 1-bit, palette     their RGB equivalent
    transparency             laid over white, as viewers and browsers show it
    16-bit grey              v / 257, rounded: 65535 becomes 255 (16-bit RGB loses its low byte in the decoder)
    CMYK, YCCK JPEG          as Adobe stores them, inverted; (255 - C)(255 - K) / 255, colour profiles are not applied
    animations               their first frame
    float pixels             refused: their range is not known
"""

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from wsss_jobs.errors import DataError

MIN_SIDE_PX = 8
MAX_PIXELS = 89_478_485  # Pillow's own bound against decompression bombs: 1/4 GiB of RGB
_TRANSPOSE_OF_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DIRECT_MODES = frozenset({"RGB", "L", "1", "CMYK", "YCbCr", "HSV", "RGBX"})
_ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})


def decode_image(
    data: bytes, name: str, min_side_px: int = MIN_SIDE_PX, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """The pixels of an image file.

    Args:
        data: The file's bytes.
        name: Whose image it is, for messages.
        min_side_px: Smaller images are refused.
        max_pixels: Larger images are refused, before they are decoded.

    Raises:
        DataError: `cannot_decode`, `image_too_small`, `image_too_large` or `unsupported_pixels`.

    Shapes:
        returns image_HW3.
    """
    image = _open(data, name)
    _check_size(image.size, name, min_side_px, max_pixels)
    try:
        image.load()
        orientation = _orientation(image)
        pixels = _to_rgb(image, name)
    except DataError:
        raise
    except Exception as error:  # decoders raise errors of any kind on broken bytes
        raise _broken(name, error) from error
    transpose = _TRANSPOSE_OF_ORIENTATION.get(orientation)
    return np.array(pixels if transpose is None else pixels.transpose(transpose))


def _open(data: bytes, name: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise DataError(name, "image_too_large", f"{error}; store a smaller copy") from error
    except Exception as error:  # decoders raise errors of any kind on broken bytes
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> DataError:
    known = not isinstance(error, UnidentifiedImageError)  # whose own text holds a memory address
    detail = (str(error) or type(error).__name__) if known else "its format is not known"
    return DataError(name, "cannot_decode", f"the image cannot be decoded ({detail}); replace or remove the file")


def _check_size(size: tuple[int, int], name: str, min_side_px: int, max_pixels: int) -> None:
    width_px, height_px = size
    if min(size) < min_side_px:
        found = f"sides must be at least {min_side_px} px, found {width_px}x{height_px}"
        raise DataError(name, "image_too_small", f"{found}; remove the image")
    if width_px * height_px > max_pixels:
        found = f"an image may have {max_pixels} pixels, found {width_px}x{height_px}"
        raise DataError(name, "image_too_large", f"{found}; store a smaller copy")


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":
        return 1  # Pillow rotates TIFF files itself, their size included
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (SyntaxError, ValueError, TypeError, OSError, KeyError, struct.error):
        return 1  # a broken EXIF block is no reason to lose the image


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("I"):
        return _from_16_bit(np.array(image), name)
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        return _over_white(image)
    if image.mode in _DIRECT_MODES or image.mode == "P":
        return image.convert("RGB")
    rule = "pixels must be integers of 1, 8 or 16 bits in a common colour model"
    raise DataError(
        name, "unsupported_pixels", f"{rule}, found Pillow mode {image.mode!r}; convert the image to 8-bit RGB"
    )


def _from_16_bit(value_HW: NDArray[Any], name: str) -> Image.Image:
    wide_HW = value_HW.astype(np.int64)
    if wide_HW.min() < 0 or wide_HW.max() > 0xFFFF:
        found = f"grey values must lie in 0..65535, found {wide_HW.min()}..{wide_HW.max()}"
        raise DataError(name, "unsupported_pixels", f"{found}; convert the image to 8 bits")
    return Image.fromarray(((wide_HW + 128) // 257).astype(np.uint8)).convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    see_through = image.convert("RGBA")
    white = Image.new("RGBA", see_through.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, see_through).convert("RGB")
