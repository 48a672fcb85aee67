"""Which images the gallery shows, and in which order: the worst first."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.receipt_columns import read_receipts
from wsss_jobs.report.run_view import RunView

_SHARE_OF_WORST = 2 / 3


@dataclass(frozen=True)
class Ranking:
    """The images of the gallery.

    Attributes:
        basis: What they are ordered by, in words; empty when only their names are known.
        items: Worst first; those without a number last.
        num_worst: How many of them are the worst of all; the others are spread evenly over the rest.
        scores: The numbers, by item id.
    """

    basis: str
    items: tuple[DatasetItem, ...]
    num_worst: int
    scores: Mapping[str, float]


def rank_images(view: RunView, max_images: int) -> Ranking:
    """Returns up to `max_images` images: mostly the worst, and some from all over the rest."""
    basis, scores = _scores(view)
    order = sorted(
        view.job.dataset.items, key=lambda item: (scores.get(item.item_id, math.inf), item.source_key, item.item_id)
    )
    num_scored = sum(item.item_id in scores for item in order)
    pool = order[:num_scored] if num_scored >= max_images else order
    num_worst, items = _selected(pool, max(max_images, 0))
    return Ranking(basis, items, num_worst, scores)


def _scores(view: RunView) -> tuple[str, Mapping[str, float]]:
    headline = view.headline
    if headline is not None and headline.images:
        return f"mIoU of {view.title(headline)}", view.image_scores(headline.name)
    if view.quality is not None:
        title = next(step.title for step in view.steps if step.name == view.quality.step)
        return f"quality score of {title}", {image.item_id: image.score for image in view.quality.images}
    if view.final is not None:
        column = f"{view.final.stage.name}_mean_confidence"
        confidences = read_receipts(view.final.stage, view.job.store).latest(column)
        if confidences:
            return f"mean confidence of {view.final.title}", confidences
    return "", {}


def _selected(order: Sequence[DatasetItem], max_images: int) -> tuple[int, tuple[DatasetItem, ...]]:
    if len(order) <= max_images:
        return len(order), tuple(order)
    num_worst = math.ceil(max_images * _SHARE_OF_WORST)
    num_spread = max_images - num_worst
    rest = order[num_worst:]
    spread = [rest[(index + 1) * (len(rest) - 1) // num_spread] for index in range(num_spread)]
    return num_worst, (*order[:num_worst], *spread)
