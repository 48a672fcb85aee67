"""The picture grid, as in Fig. 2 of the WSGCN paper: a row an image; the photo, the ground truth, each method."""

import hashlib
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wsss_jobs.comparison.config import Comparison
from wsss_jobs.comparison.jobs import VariantJob
from wsss_jobs.comparison.scores import MethodScores
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import DataError
from wsss_jobs.job import PreparedJob
from wsss_jobs.report.layers import Layer, step_layer, truth_layer
from wsss_jobs.report.picture_sizes import Size, fit_photo
from wsss_jobs.report.steps import run_steps
from wsss_jobs.storage.object_store import ObjectNotFoundError
from wsss_jobs.worker import read_image

_CELL_PX, _GAP_PX, _HEAD_PX, _FONT_PX = 200, 6, 34, 13
_GROUND, _EMPTY, _INK = (255, 255, 255), (225, 225, 225), (20, 20, 20)


def example_grid(
    comparison: Comparison, jobs: Sequence[VariantJob], scores: MethodScores, num_images: int = 8
) -> bytes | None:
    """Returns the grid as PNG, or None where there is nothing to show. Of several seeds it shows the first."""
    names = [name for name in comparison.examples or comparison.plotted if name in scores.evaluations]
    if not names:
        return None
    first = {each.variant: each.job for each in reversed(jobs)}
    layers = [_layer(comparison, name, first) for name in names]
    scored = {image.item_id for image in next(iter(scores.evaluations[names[0]].values())).images}
    items = choose_examples([item for item in jobs[0].job.dataset.items if item.item_id in scored], num_images)
    titles = ["Image", "Ground truth", *(comparison.methods[name].title for name in names)]
    return _png(titles, [_row(item, [truth_layer(), *layers]) for item in items])


def choose_examples(items: Sequence[DatasetItem], num_images: int) -> list[DatasetItem]:
    """Returns some images by a hash of their names: any choice but by result."""
    return sorted(items, key=lambda item: hashlib.sha256(item.source_key.encode()).digest())[:num_images]


def _layer(comparison: Comparison, name: str, jobs: dict[str, PreparedJob]) -> Layer:
    method = comparison.methods[name]
    job = jobs[method.variant]
    step = next(step for step in run_steps(job.plan) if step.name == method.step)
    return step_layer(step, job.store)


def _row(item: DatasetItem, layers: Sequence[Layer]) -> list[Image.Image]:
    size = (_CELL_PX, max(1, round(_CELL_PX * item.height_px / item.width_px)))
    try:
        photo = Image.fromarray(fit_photo(read_image(item), size)).convert("RGBA")
    except DataError:
        photo = Image.new("RGBA", size, _EMPTY)
    return [photo, *(_cell(photo, layer, item, size) for layer in layers)]


def _cell(photo: Image.Image, layer: Layer, item: DatasetItem, size: Size) -> Image.Image:
    try:
        overlay_HW4 = layer.draw(item, size)
    except (ObjectNotFoundError, DataError):
        return Image.new("RGBA", size, _EMPTY)  # it failed here: `wsss compare` says how many did
    return Image.alpha_composite(photo, Image.fromarray(np.ascontiguousarray(overlay_HW4)))


def _png(titles: Sequence[str], rows: Sequence[Sequence[Image.Image]]) -> bytes:
    heights = [row[0].height for row in rows]
    size = (len(titles) * (_CELL_PX + _GAP_PX) + _GAP_PX, _HEAD_PX + sum(heights) + _GAP_PX * (len(rows) + 1))
    grid = Image.new("RGB", size, _GROUND)
    draw, font = ImageDraw.Draw(grid), ImageFont.load_default(_FONT_PX)
    for column, title in enumerate(titles):
        draw.text((_GAP_PX + column * (_CELL_PX + _GAP_PX), _GAP_PX), title, fill=_INK, font=font)
    top = _HEAD_PX
    for row in rows:
        for column, cell in enumerate(row):
            grid.paste(cell.convert("RGB"), (_GAP_PX + column * (_CELL_PX + _GAP_PX), top))
        top += row[0].height + _GAP_PX
    buffer = io.BytesIO()
    grid.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
