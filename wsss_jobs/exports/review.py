"""The worst masks of a step, for an annotation tool: which they are, and a list that says why."""

import csv
import io
from collections.abc import Sequence

from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import ConfigError
from wsss_jobs.job import PreparedJob
from wsss_jobs.quality.image_quality import ImageQuality
from wsss_jobs.quality.quality_files import read_quality
from wsss_jobs.report.steps import Step

REVIEW_KEY = "review.csv"


def step_quality(job: PreparedJob, step: Step) -> dict[str, ImageQuality]:
    """Returns the quality of each mask of a step by item id, worst first.

    Raises:
        ConfigError: `wsss quality` has not run for these masks.
    """
    estimate = read_quality(job.store, job.recipe.name)
    if estimate is None or (estimate.step, estimate.fingerprint) != (step.name, step.stage.fingerprint):
        found = "there are none" if estimate is None else f"those that are there are of {estimate.step}, or older masks"
        raise ConfigError(
            f"--worst: needs the quality scores of {step.name}; {found}. Run: wsss quality {job.recipe.name} "
            f"--step {step.name}"
        )
    return {image.item_id: image for image in estimate.images}


def worst_items(items: Sequence[DatasetItem], quality: dict[str, ImageQuality], num_worst: int) -> list[DatasetItem]:
    """Returns the items with the lowest scores, worst first; those without a score are not among them."""
    by_id = {item.item_id: item for item in items}
    return [by_id[item_id] for item_id in quality if item_id in by_id][:num_worst]


def review_list(items: Sequence[DatasetItem], quality: dict[str, ImageQuality]) -> bytes:
    """Returns `review.csv`: rank, image, score, reason; a row an image, worst first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rank", "image", "score", "reason"])
    for rank, item in enumerate(items, start=1):
        image = quality[item.item_id]
        writer.writerow([rank, item.source_key, f"{image.score:.4f}", image.reason])
    return text.getvalue().encode("utf-8", "backslashreplace")
