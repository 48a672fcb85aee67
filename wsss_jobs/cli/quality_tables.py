"""Tables of what `wsss quality` found."""

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from wsss_jobs.quality.calibration import Calibration
from wsss_jobs.quality.estimate import QualityEstimate
from wsss_jobs.quality.image_quality import PARTS
from wsss_jobs.report.formats import percent


def print_quality(console: Console, estimate: QualityEstimate, num_worst: int) -> None:
    """Prints the mean of score and parts, and the worst images; fractions in percent."""
    console.print(_mean_table(estimate))
    if num_worst:
        console.print(_worst_table(estimate, num_worst))


def print_calibration(console: Console, calibration: Calibration) -> None:
    """Prints how the score stands to the mIoU of the images."""
    table = Table(title=f"Against the ground truth of {calibration.num_images} images", title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("rank correlation of score and mIoU (Spearman)", f"{calibration.spearman:.3f}", style="bold")
    for name, value in calibration.spearman_of_parts.items():
        table.add_row(f"  of {name} alone", f"{value:.3f}")
    table.add_row("mIoU of the set (%)", percent(calibration.miou))
    share = f"{100 * calibration.worst_share:.0f} %"
    table.add_row(f"mIoU without the worst {share} by score (%)", percent(calibration.miou_without_worst))
    table.add_row("calibration error, cross-fitted (points)", percent(calibration.calibration_error))
    console.print(table)
    console.print(_reliability_table(calibration))


def _mean_table(estimate: QualityEstimate) -> Table:
    missing = f", {estimate.num_missing} without a mask" if estimate.num_missing else ""
    title = f"Quality of {escape(estimate.step)}, without ground truth (%): {len(estimate.images)} images{missing}"
    table = Table(title=title, title_justify="left")
    for name in ("", "mean", "lowest fifth", "weakest part of"):
        table.add_column(name, justify="right" if name else "left")
    scores = [image.score for image in estimate.images]
    table.add_row("score", percent(float(np.mean(scores))), f"below {percent(float(np.quantile(scores, 0.2)))}", "")
    for part in PARTS:
        values = [value for image in estimate.images if (value := image.parts[part.name]) is not None]
        if values:
            weakest = sum(image.weakest == part.name for image in estimate.images)
            low = f"below {percent(float(np.quantile(values, 0.2)))}"
            table.add_row(part.title, percent(float(np.mean(values))), low, f"{weakest} images")
    return table


def _worst_table(estimate: QualityEstimate, num_worst: int) -> Table:
    table = Table(title="Worst first (%)", title_justify="left")
    table.add_column("image", overflow="fold")
    table.add_column("score", justify="right")
    table.add_column("reason", overflow="fold")
    table.add_column("", justify="right", no_wrap=True)
    for image in estimate.images[:num_worst]:
        weakest = f"{image.weakest.replace('_', ' ')} {percent(image.parts.get(image.weakest))}"
        table.add_row(escape(image.source_key), percent(image.score), escape(image.reason), weakest)
    return table


def _reliability_table(calibration: Calibration) -> Table:
    table = Table(title="Reliability (%): mIoU by score", title_justify="left")
    for name in ("score", "images", "predicted", "actual"):
        table.add_column(name, justify="right")
    for each in calibration.bins:
        span = f"{percent(each.low)} to {percent(each.high)}"
        table.add_row(span, str(each.num_images), percent(each.predicted), percent(each.actual))
    return table
