"""A grid of pictures: a row a photo with what lies over it, each column under a title."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import DataError
from wsss_jobs.report.layers import Layer
from wsss_jobs.report.picture_sizes import Size, fit_photo
from wsss_jobs.storage.object_store import ObjectNotFoundError
from wsss_jobs.worker import read_image

_CELL_PX, _GAP_PX, _HEAD_PX, _LABEL_PX, _FONT_PX = 200, 6, 34, 90, 13
_GROUND, _EMPTY, _INK = (255, 255, 255), (225, 225, 225), (20, 20, 20)


@dataclass(frozen=True)
class PictureRow:
    """The bare photo of an image, and one cell a layer; None is an empty cell.

    Attributes:
        label: What stands to the left of the row.
    """

    item: DatasetItem
    layers: Sequence[Layer | None]
    label: str = ""


def picture_grid(titles: Sequence[str], rows: Sequence[PictureRow]) -> bytes:
    """Returns the grid as PNG; a cell is grey where its stage made nothing of the image.

    Args:
        titles: Of the columns; the first is that of the photo.
        rows: With one layer less than there are titles.
    """
    cells = [_cells(row) for row in rows]
    left = _GAP_PX + (_LABEL_PX if any(row.label for row in rows) else 0)
    lefts = [left + column * (_CELL_PX + _GAP_PX) for column in range(len(titles))]
    height = _HEAD_PX + sum(row[0].height + _GAP_PX for row in cells) + _GAP_PX
    grid = Image.new("RGB", (left + len(titles) * (_CELL_PX + _GAP_PX), height), _GROUND)
    draw, font = ImageDraw.Draw(grid), ImageFont.load_default(_FONT_PX)
    for x, title in zip(lefts, titles, strict=True):
        draw.text((x, _GAP_PX), title, fill=_INK, font=font)
    top = _HEAD_PX
    for row, pictures in zip(rows, cells, strict=True):
        draw.text((_GAP_PX, top), row.label, fill=_INK, font=font)
        for x, picture in zip(lefts, pictures, strict=True):
            grid.paste(picture.convert("RGB"), (x, top))
        top += pictures[0].height + _GAP_PX
    buffer = io.BytesIO()
    grid.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _cells(row: PictureRow) -> list[Image.Image]:
    size = (_CELL_PX, max(1, round(_CELL_PX * row.item.height_px / row.item.width_px)))
    try:
        photo = Image.fromarray(fit_photo(read_image(row.item), size)).convert("RGBA")
    except DataError:
        photo = Image.new("RGBA", size, _EMPTY)
    return [photo, *(_cell(photo, layer, row.item, size) for layer in row.layers)]


def _cell(photo: Image.Image, layer: Layer | None, item: DatasetItem, size: Size) -> Image.Image:
    empty = Image.new("RGBA", size, _EMPTY)
    if layer is None:
        return empty
    try:
        overlay_HW4 = layer.draw(item, size)
    except (ObjectNotFoundError, DataError):
        return empty  # it failed here: `wsss compare` says how many did
    return Image.alpha_composite(photo, Image.fromarray(np.ascontiguousarray(overlay_HW4)))
