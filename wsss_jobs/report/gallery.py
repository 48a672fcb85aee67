"""The gallery: one card an image, one panel a layer. Pictures are drawn on a pool of threads."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import DataError
from wsss_jobs.failed_items import FailedItem
from wsss_jobs.report.dataset_facts import ClassTag
from wsss_jobs.report.layers import Layer
from wsss_jobs.report.picture_sizes import Size, fit_photo, picture_size
from wsss_jobs.report.pictures import PictureFolder
from wsss_jobs.report.ranking import Ranking
from wsss_jobs.report.run_view import RunView
from wsss_jobs.storage.object_store import ObjectNotFoundError
from wsss_jobs.worker import read_image

IMAGE_TITLE = "Image"

_NUM_THREADS = 4  # each holds one decoded image
_SQUAREST, _WIDEST = 0.6, 2.0


@dataclass(frozen=True)
class Panel:
    """One picture of a card.

    Attributes:
        link: Of the overlay; empty where there is none, and then `note` says why.
        score: mIoU of this image in this step, where there is one.
    """

    title: str
    link: str
    note: str
    score: float | None


@dataclass(frozen=True)
class Card:
    """One image with its panels.

    Attributes:
        panels: The image alone first, then one a layer.
        photo: Link of the photo; empty where it cannot be read.
        score: What it is ranked by.
        crf_gain: mIoU that the final step's CRF added.
        aspect: Width over height of its panels, within limits that a page can take.
    """

    item: DatasetItem
    rank: int
    tags: tuple[ClassTag, ...]
    photo: str
    panels: tuple[Panel, ...]
    score: float | None
    crf_gain: float | None
    aspect: float


@dataclass(frozen=True)
class _Drawing:
    """What drawing any card needs."""

    layers: Sequence[Layer]
    scores: Mapping[str, Mapping[str, float]]
    failed: Mapping[str, FailedItem]
    pictures: PictureFolder


def gallery_cards(
    view: RunView,
    ranking: Ranking,
    layers: Sequence[Layer],
    classes: Sequence[ClassTag],
    failed: Sequence[FailedItem],
    pictures: PictureFolder,
) -> tuple[Card, ...]:
    """Returns the cards of the ranked images and stores their pictures.

    Raises:
        StorageError: The store does not answer.
    """
    drawing = _Drawing(
        layers=layers,
        scores={layer.name: view.image_scores(layer.name) for layer in layers if layer.name},
        failed={item.source_key: item for item in reversed(failed)},
        pictures=pictures,
    )
    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        drawn = list(pool.map(partial(_draw, drawing), ranking.items))
    gains = _crf_gains(view)
    return tuple(
        Card(
            item=item,
            rank=rank,
            tags=tuple(classes[label - 1] for label in item.labels),
            photo=photo,
            panels=panels,
            score=ranking.scores.get(item.item_id),
            crf_gain=gains.get(item.item_id),
            aspect=min(max(item.width_px / item.height_px, _SQUAREST), _WIDEST),
        )
        for rank, (item, (photo, panels)) in enumerate(zip(ranking.items, drawn, strict=True), start=1)
    )


def _crf_gains(view: RunView) -> Mapping[str, float]:
    if view.final is None:
        return {}
    before = view.image_scores(f"{view.final.stage.name}/before_crf")
    after = view.image_scores(view.final.name)
    return {item_id: after[item_id] - score for item_id, score in before.items() if item_id in after}


def _draw(drawing: _Drawing, item: DatasetItem) -> tuple[str, tuple[Panel, ...]]:
    size = picture_size(item)
    photo, note = _photo(drawing, item, size)
    panels = [_panel(drawing, layer, item, size) for layer in drawing.layers]
    return photo, (Panel(IMAGE_TITLE, "", note, None), *panels)


def _photo(drawing: _Drawing, item: DatasetItem, size: Size) -> tuple[str, str]:
    """Returns the link, or none and why there is none."""
    try:
        return drawing.pictures.add_photo(fit_photo(read_image(item), size)), ""
    except DataError as error:
        return "", error.message


def _panel(drawing: _Drawing, layer: Layer, item: DatasetItem, size: Size) -> Panel:
    try:
        overlay_HW4 = layer.draw(item, size)
    except ObjectNotFoundError:
        return Panel(layer.title, "", _why_missing(drawing, item), None)
    except DataError as error:
        return Panel(layer.title, "", error.message, None)
    add = drawing.pictures.add_smooth if layer.is_smooth else drawing.pictures.add_flat
    score = drawing.scores.get(layer.name, {}).get(item.item_id)
    return Panel(layer.title, add(overlay_HW4), "", score)


def _why_missing(drawing: _Drawing, item: DatasetItem) -> str:
    failure = drawing.failed.get(item.source_key)
    return "none" if failure is None else f"failed in {failure.stage}: {failure.reason}"
