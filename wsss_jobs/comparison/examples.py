"""The example pictures, as in Fig. 2 of the WSGCN paper: a row an image; the photo, the ground truth, each method."""

import hashlib
from collections.abc import Mapping, Sequence

from wsss_jobs.comparison.config import Comparison
from wsss_jobs.comparison.jobs import VariantJob
from wsss_jobs.comparison.picture_grid import PictureRow, picture_grid
from wsss_jobs.comparison.scores import MethodScores
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.job import PreparedJob
from wsss_jobs.report.layers import Layer, step_layer, truth_layer
from wsss_jobs.report.steps import run_steps

FIRST_TITLES = ("Image", "Ground truth")


def example_grid(
    comparison: Comparison, jobs: Sequence[VariantJob], scores: MethodScores, num_images: int = 8
) -> bytes | None:
    """Returns the grid as PNG, or None where there is nothing to show. Of several seeds it shows the first."""
    names = [name for name in comparison.examples or comparison.plotted if name in scores.evaluations]
    if not names:
        return None
    first = first_seed(jobs)
    layers = [truth_layer(), *(method_layer(comparison, name, first) for name in names)]
    items = choose_examples(scored_items(names[0], jobs, scores), num_images)
    titles = [*FIRST_TITLES, *(comparison.methods[name].title for name in names)]
    return picture_grid(titles, [PictureRow(item, layers) for item in items])


def choose_examples(items: Sequence[DatasetItem], num_images: int) -> list[DatasetItem]:
    """Returns some images by a hash of their names: any choice but by result."""
    return sorted(items, key=lambda item: hashlib.sha256(item.source_key.encode()).digest())[:num_images]


def scored_items(method: str, jobs: Sequence[VariantJob], scores: MethodScores) -> list[DatasetItem]:
    """Returns the images that a method is scored on."""
    scored = {image.item_id for image in next(iter(scores.evaluations[method].values())).images}
    return [item for item in jobs[0].job.dataset.items if item.item_id in scored]


def first_seed(jobs: Sequence[VariantJob]) -> dict[str, PreparedJob]:
    """Returns the job of each variant with the first seed."""
    return {each.variant: each.job for each in reversed(jobs)}


def method_layer(comparison: Comparison, name: str, jobs: Mapping[str, PreparedJob]) -> Layer:
    """Returns how a method's product looks over a photo."""
    method = comparison.methods[name]
    job = jobs[method.variant]
    step = next(step for step in run_steps(job.plan) if step.name == method.step)
    return step_layer(step, job.store)
