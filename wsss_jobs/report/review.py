"""The review queue: the masks that look worst without ground truth, with the reason (docs/quality.md)."""

from collections.abc import Sequence
from dataclasses import dataclass

from wsss_jobs.failed_items import FailedItem
from wsss_jobs.quality.image_quality import PARTS, ImageQuality
from wsss_jobs.report.charts import Histogram, histogram
from wsss_jobs.report.dataset_facts import ClassTag
from wsss_jobs.report.gallery import Card, gallery_cards
from wsss_jobs.report.layers import step_layer
from wsss_jobs.report.palette import heat_level
from wsss_jobs.report.pictures import PictureFolder
from wsss_jobs.report.ranking import Ranking
from wsss_jobs.report.run_view import RunView

MAX_REVIEWED = 24


@dataclass(frozen=True)
class PartValue:
    """One part of an image's score; `level` is its step of the heat scale."""

    title: str
    value: float
    level: int
    is_weakest: bool


@dataclass(frozen=True)
class ReviewEntry:
    """One image of the queue."""

    card: Card
    quality: ImageQuality
    parts: tuple[PartValue, ...]


@dataclass(frozen=True)
class ReviewQueue:
    """The worst images of one step.

    Attributes:
        title: Of the step.
        scores: How all images spread.
        entries: Worst first.
    """

    title: str
    scores: Histogram | None
    entries: tuple[ReviewEntry, ...]


def review_queue(
    view: RunView, classes: Sequence[ClassTag], failed: Sequence[FailedItem], pictures: PictureFolder
) -> ReviewQueue | None:
    """Returns the queue and stores its pictures; None where `wsss quality` has not run for these masks.

    Raises:
        StorageError: The store does not answer.
    """
    estimate = view.quality
    if estimate is None:
        return None
    step = next(step for step in view.steps if step.name == estimate.step)
    worst = estimate.images[:MAX_REVIEWED]
    wanted = {image.item_id for image in worst}
    items = {item.item_id: item for item in view.job.dataset.items if item.item_id in wanted}
    shown = [image for image in worst if image.item_id in items]
    ranking = Ranking("", tuple(items[image.item_id] for image in shown), len(shown), {})
    cards = gallery_cards(view, ranking, [step_layer(step, view.job.store)], classes, failed, pictures)
    entries = tuple(ReviewEntry(card, image, _parts(image)) for card, image in zip(cards, shown, strict=True))
    return ReviewQueue(step.title, histogram([image.score for image in estimate.images]), entries)


def _parts(image: ImageQuality) -> tuple[PartValue, ...]:
    return tuple(
        PartValue(part.title, value, heat_level(value), part.name == image.weakest)
        for part in PARTS
        if (value := image.parts.get(part.name)) is not None
    )
