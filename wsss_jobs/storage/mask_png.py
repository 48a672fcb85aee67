"""Masks as PNG files with the PASCAL VOC palette: what every segmentation tool reads and a person can look at.

Shapes:
    label_HW: uint8 class ids, 0 background, 255 ignore.
"""

import functools
import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from wsss_jobs.errors import DataError

_COMPRESS_LEVEL = 6  # zlib's own default: 9 saves about 2 % on masks and takes several times as long


def encode_mask(label_HW: NDArray[np.uint8], text: Mapping[str, str] | None = None) -> bytes:
    """A palette PNG (mode P) of a mask. The same mask and text give the same bytes with the same Pillow.

    Args:
        label_HW: The mask.
        text: Keyword -> Latin-1 text of further chunks.

    Raises:
        ValueError: The mask is not a non-empty uint8 [H, W] array.
    """
    if label_HW.dtype != np.uint8 or label_HW.ndim != 2 or label_HW.size == 0:
        raise ValueError(f"a mask must be uint8 [H, W], found {label_HW.dtype} {list(label_HW.shape)}")
    image = Image.fromarray(np.ascontiguousarray(label_HW))
    image.putpalette(voc_palette().tobytes())
    chunks = PngImagePlugin.PngInfo()
    for keyword, value in (text or {}).items():
        chunks.add_text(keyword, value)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=_COMPRESS_LEVEL, pnginfo=chunks)
    return buffer.getvalue()


def decode_mask(data: bytes, name: str = "mask") -> NDArray[np.uint8]:
    """The class ids of a mask PNG: palette indices, 8-bit grey values, or RGB colours of the VOC palette.

    Args:
        data: The file's bytes.
        name: Whose mask it is, for messages.

    Raises:
        DataError: `cannot_decode`; `mask_mode` for other kinds of pixels; `mask_colour` for a colour that is not in the
            VOC palette.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            if image.mode in {"P", "L"}:
                return np.array(image, dtype=np.uint8)
            pixels, mode = np.array(image), image.mode
    except Exception as error:  # decoders raise errors of any kind on broken bytes
        known = not isinstance(error, UnidentifiedImageError)  # whose own text holds a memory address
        detail = str(error) if known else "its format is not known"
        raise DataError(name, "cannot_decode", f"the mask cannot be decoded ({detail}); replace the file") from error
    if mode == "RGB" or (mode == "RGBA" and (pixels[..., 3] == 255).all()):
        return _ids_of_colours(pixels[..., :3], name)
    rule = "a mask must have a palette, 8-bit grey values or the VOC colours"
    raise DataError(name, "mask_mode", f"{rule}, found Pillow mode {mode!r}; convert it")


@functools.cache
def voc_palette() -> NDArray[np.uint8]:
    """The VOC colour map, uint8 [256, 3]: three bits of the id, from the lowest up, set the highest bits of R, G, B.

    From the VOC development kit (VOCcolormap).
    """
    ids = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        channel, level = bit % 3, 7 - bit // 3
        palette[:, channel] |= (((ids >> bit) & 1) << level).astype(np.uint8)
    palette.flags.writeable = False
    return palette


def _ids_of_colours(image_HW3: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    code_HW = _colour_code(image_HW3)
    palette_code = _colour_code(voc_palette())
    order = np.argsort(palette_code)
    index_HW = np.searchsorted(palette_code[order], code_HW).clip(max=255)
    ids_HW = order[index_HW]
    foreign_HW = palette_code[ids_HW] != code_HW
    if foreign_HW.any():
        y, x = np.argwhere(foreign_HW)[0]
        colour = tuple(int(value) for value in image_HW3[y, x])
        count = f"{int(foreign_HW.sum())} pixels, the first at x={x}, y={y}, have colours such as {colour}"
        raise DataError(
            name, "mask_colour", f"{count} that are not in the VOC palette; store class ids instead of colours"
        )
    return np.asarray(ids_HW, dtype=np.uint8)


def _colour_code(rgb: NDArray[np.uint8]) -> NDArray[np.int64]:
    wide = rgb.astype(np.int64)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]
