"""Tables on the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from wsss_jobs.comparison.tables import TextTable
from wsss_jobs.failed_items import FailedItem
from wsss_jobs.quality.evaluation import Evaluation


def print_scores(console: Console, evaluations: Sequence[Evaluation]) -> None:
    """Prints one line a product, best mIoU in bold; fractions in percent."""
    table = Table(title="Scores against the ground truth (%)", title_justify="left")
    table.add_column("step", no_wrap=True)
    for name in ("mIoU", "boundary", "precision", "recall", "pixel acc.", "images"):
        table.add_column(name, justify="right")
    table.add_column("", overflow="fold")
    complete = [evaluation.scores.miou for evaluation in evaluations if evaluation.kind != "partial"]
    for evaluation in evaluations:
        scores = evaluation.scores
        is_best = evaluation.kind != "partial" and scores.miou == max(complete)
        boundary = evaluation.boundary_miou
        values = (scores.miou, boundary, scores.mean_precision, scores.mean_recall, scores.pixel_accuracy)
        cells = ["" if value is None else f"{100 * value:.1f}" for value in values]
        table.add_row(
            evaluation.name, *cells, str(len(evaluation.images)), remark(evaluation), style="bold" if is_best else None
        )
    console.print(table)


def remark(evaluation: Evaluation) -> str:
    """Returns what has to be known to read an evaluation."""
    if evaluation.threshold is not None:
        return f"best at {evaluation.threshold:.2f}"
    if evaluation.labelled_fraction is not None:
        return f"of {100 * evaluation.labelled_fraction:.0f} % labelled"
    return ""


def print_failed(console: Console, failed: Sequence[FailedItem], limit: int | None = None) -> None:
    """Prints failed images with stage and reason."""
    table = Table(title=f"{len(failed)} failed images", title_justify="left")
    for name in ("image", "stage", "reason", "message"):
        table.add_column(name, overflow="fold")
    for item in failed[:limit]:
        table.add_row(item.source_key, item.stage, item.reason, item.message)
    console.print(table)
    if limit is not None and len(failed) > limit:
        console.print(f"... and {len(failed) - limit} more")


def print_per_class(console: Console, evaluations: Sequence[Evaluation]) -> None:
    """Prints the IoU of every class, one column a product."""
    table = Table(title="IoU a class (%)", title_justify="left")
    table.add_column("class")
    for evaluation in evaluations:
        table.add_column(evaluation.name, justify="right")
    for index, name in enumerate(evaluations[0].scores.class_names):
        table.add_row(name, *(f"{100 * evaluation.scores.iou[index]:.1f}" for evaluation in evaluations))
    console.print(table)


def print_text_table(console: Console, table: TextTable) -> None:
    """Prints a table of a comparison, its note below it."""
    drawn = Table(title=escape(table.title), title_justify="left", caption=escape(table.note), caption_justify="left")
    for index, heading in enumerate(table.headings):
        drawn.add_column(heading, justify="left" if index < table.num_texts else "right", overflow="fold")
    for row in table.rows:
        drawn.add_row(*map(escape, row))
    console.print(drawn)
