"""What is known of labels without any ground truth: confidences, how much is labelled, which classes get how much."""

from collections import Counter
from dataclasses import dataclass

from wsss_jobs.receipt_columns import read_receipts, storing_stages
from wsss_jobs.report.charts import Histogram, histogram
from wsss_jobs.report.palette import class_colour, hex_colour
from wsss_jobs.report.run_view import RunView
from wsss_jobs.report.steps import Step
from wsss_jobs.stage_io import stage_folder
from wsss_jobs.storage.mask_facts import MASKS, MASKS_KEY
from wsss_jobs.storage.object_store import ObjectNotFoundError
from wsss_jobs.storage.tables import read_table

# Receipt columns that end so, and what they mean.
_FRACTIONS = {
    "mean_confidence": "Mean confidence of an image's pixels",
    "labelled_fraction": "Share of pixels with a partial label",
    "ignored_fraction": "Share of pixels left out of the affinity label",
}


@dataclass(frozen=True)
class FractionChart:
    """How a number from the receipts spreads over the images."""

    title: str
    stage: str
    histogram: Histogram


@dataclass(frozen=True)
class ClassShare:
    """How much of the final masks is of a class.

    Attributes:
        pixels: Share of all pixels.
        relative: The same relative to the largest foreground class.
        num_tagged: Images with its tag.
        num_found: Images whose mask holds it.
    """

    class_id: int
    name: str
    colour: str
    pixels: float
    relative: float
    num_tagged: int
    num_found: int


def fraction_charts(view: RunView) -> tuple[FractionChart, ...]:
    """Returns a histogram for each fraction that a stage recorded, in the order of the plan."""
    found = []
    for stage in view.job.plan.stages:
        for sink in storing_stages(stage, view.job.plan)[:1]:
            receipts = read_receipts(sink, view.job.store)
            for ending, title in _FRACTIONS.items():
                chart = histogram(list(receipts.latest(f"{stage.name}_{ending}").values()))
                if chart is not None:
                    found.append(FractionChart(title, stage.name, chart))
    return tuple(found)


def class_shares(view: RunView) -> tuple[ClassShare, ...]:
    """Returns the classes of the final masks, background first; empty without masks."""
    pixels, found = _counted(view.final, view)
    total = sum(pixels.values())
    if not total:
        return ()
    tagged = Counter(label for item in view.job.dataset.items for label in item.labels)
    largest = max((count for class_id, count in pixels.items() if class_id), default=0) or 1
    return tuple(
        ClassShare(
            class_id=class_id,
            name=name,
            colour="transparent" if class_id == 0 else hex_colour(class_colour(class_id)),
            pixels=pixels[class_id] / total,
            relative=min(pixels[class_id] / largest, 1.0),
            num_tagged=tagged[class_id],
            num_found=found[class_id],
        )
        for class_id, name in enumerate(("background", *view.job.dataset.class_names))
    )


def _counted(final: Step | None, view: RunView) -> tuple[Counter[int], Counter[int]]:
    """Returns pixels and images by class."""
    pixels: Counter[int] = Counter()
    images: Counter[int] = Counter()
    if final is None:
        return pixels, images
    try:
        table = read_table(stage_folder(final.stage, view.job.store).outputs.folder, MASKS_KEY, MASKS)
    except ObjectNotFoundError:
        return pixels, images
    for row in table.select(["variant", "class_pixels"]).to_pylist():
        if row["variant"] == final.variant:
            counts = dict(row["class_pixels"])
            pixels.update(counts)
            images.update(counts.keys())
    return pixels, images
