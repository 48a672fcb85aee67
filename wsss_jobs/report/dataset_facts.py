"""The data set as the report introduces it."""

from collections import Counter
from dataclasses import dataclass

from wsss_jobs.job import PreparedJob
from wsss_jobs.report.palette import class_colour, hex_colour


@dataclass(frozen=True)
class ClassTag:
    """A class and how often images carry its tag.

    Attributes:
        colour: As masks show it.
        share: Of the most frequent class's images.
    """

    class_id: int
    name: str
    colour: str
    num_images: int
    share: float


@dataclass(frozen=True)
class DatasetFacts:
    """Size and make-up.

    Attributes:
        splits: Pairs of split name and number of images, in name order.
        num_truths: Images with a ground-truth mask.
        num_rejected: Images left out before anything ran.
        tags_per_image: Mean number.
    """

    num_images: int
    splits: tuple[tuple[str, int], ...]
    num_truths: int
    num_rejected: int
    tags_per_image: float
    classes: tuple[ClassTag, ...]


def dataset_facts(job: PreparedJob) -> DatasetFacts:
    """Returns the facts of a job's data set."""
    items = job.dataset.items
    num_tags = sum(len(item.labels) for item in items)
    return DatasetFacts(
        num_images=len(items),
        splits=tuple(sorted(Counter(item.split for item in items).items())),
        num_truths=sum(item.mask_uri is not None for item in items),
        num_rejected=len(job.rejected),
        tags_per_image=num_tags / max(len(items), 1),
        classes=_classes(job),
    )


def _classes(job: PreparedJob) -> tuple[ClassTag, ...]:
    counts = Counter(label for item in job.dataset.items for label in item.labels)
    most = max(counts.values(), default=1)
    return tuple(
        ClassTag(class_id, name, hex_colour(class_colour(class_id)), counts[class_id], counts[class_id] / most)
        for class_id, name in enumerate(job.dataset.class_names, start=1)
    )
