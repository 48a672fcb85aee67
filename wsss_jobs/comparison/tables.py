"""A comparison as text tables, for the terminal and for Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

from wsss_jobs.comparison.config import Comparison
from wsss_jobs.comparison.published import Column, PublishedTable
from wsss_jobs.comparison.run import VariantOutcome
from wsss_jobs.comparison.scores import Figure, MethodScores
from wsss_jobs.quality.evaluation import Evaluation
from wsss_jobs.report.formats import MISSING

_METRICS = (
    Column(title="mIoU"),
    Column(title="precision", metric="mean_precision"),
    Column(title="recall", metric="mean_recall"),
    Column(title="pixel acc.", metric="pixel_accuracy"),
)


@dataclass(frozen=True)
class TextTable:
    """A table of texts.

    Attributes:
        note: What has to be known to read it.
        num_texts: How many columns from the left hold words; the others hold numbers.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    num_texts: int = 1


def figure_text(figure: Figure | None, sign: str = "") -> str:
    """Returns a number with one decimal, and its spread over the seeds; a dash where there is none."""
    if figure is None:
        return MISSING
    spread = "" if figure.spread is None else f" ± {figure.spread:.1f}"
    return f"{figure.mean:{sign}.1f}{spread}"


def published_table(table: PublishedTable, scores: MethodScores) -> TextTable:
    """Returns a paper's table with our numbers to the right of the published ones."""
    texts = list(dict.fromkeys(heading for row in table.rows for heading in row.cells))
    headings, rows = (
        ["method", *texts],
        [[row.method, *(row.cells.get(text, "") for text in texts)] for row in table.rows],
    )
    has_numbers = any(row.published for row in table.rows)  # a figure of the paper may print none
    for name, column in table.columns.items():
        headings += [f"{column.title}, published", "ours"] if has_numbers else [column.title]
        for row, cells in zip(table.rows, rows, strict=True):
            method = row.our_method(name)
            if has_numbers:
                cells.append(f"{row.published[name]:.1f}" if name in row.published else MISSING)
            cells.append(figure_text(None if method is None else scores.figure(method, column)))
    note = " ".join(part for part in (f"Published: {table.source}.", table.note) if part)
    return TextTable(table.title, tuple(headings), tuple(map(tuple, rows)), note, 1 + len(texts))


def method_table(comparison: Comparison, scores: MethodScores) -> TextTable:
    """Returns all scores of the methods that have any, %; the note names the others."""
    rows, others = [], []
    for name, method in comparison.methods.items():
        evaluations = list(scores.evaluations.get(name, {}).values())
        if not evaluations:
            others.append(method.title)
            continue
        numbers = [figure_text(scores.figure(name, column)) for column in _METRICS]
        rows.append((method.title, *numbers, _image_counts(evaluations), str(len(evaluations)), _remark(evaluations)))
    headings = ("method", *(column.title for column in _METRICS), "images", "seeds", "")
    note = f"{_spread_note(comparison)} Without scores: {', '.join(others)}." if others else _spread_note(comparison)
    return TextTable("Our scores (%)", headings, tuple(rows), note)


def class_table(comparison: Comparison, scores: MethodScores) -> TextTable:
    """Returns the IoU of every class for the methods that plots show, %."""
    methods = [name for name in comparison.plotted if name in scores.evaluations]
    rows = [
        (name, *(figure_text(scores.figure(method, Column(class_name=name))) for method in methods))
        for name in class_names(scores)
    ]
    return TextTable("IoU of each class (%)", ("class", *(comparison.methods[m].title for m in methods)), tuple(rows))


def margin_table(comparison: Comparison, scores: MethodScores) -> TextTable:
    """Returns the margins that were measured, beside what is aimed at."""
    rows = [
        (
            f"{comparison.methods[margin.above].title} over {comparison.methods[margin.below].title}",
            figure_text(measured, "+"),
            f"{margin.aim:+.1f}",
        )
        for margin in comparison.margins.values()
        if (measured := scores.margin(margin)) is not None
    ]
    return TextTable("Margins (percentage points)", ("margin", "measured", "aim"), tuple(rows))


def failure_table(outcomes: Sequence[VariantOutcome]) -> TextTable:
    """Returns the variants that did not end well."""
    rows = [
        (each.variant, str(each.seed), each.error.splitlines()[0] if each.error else f"{each.num_failed} images failed")
        for each in outcomes
        if each.error or each.num_failed
    ]
    return TextTable("Not complete", ("variant", "seed", "why"), tuple(rows), num_texts=3)


def class_names(scores: MethodScores) -> tuple[str, ...]:
    """Returns the classes of the data set, background first; empty when nothing was scored."""
    for by_seed in scores.evaluations.values():
        for evaluation in by_seed.values():
            return evaluation.scores.class_names
    return ()


def _spread_note(comparison: Comparison) -> str:
    if len(comparison.seeds) == 1:
        return f"Seed {comparison.seeds[0]}."
    return f"Mean ± sample standard deviation over seeds {', '.join(map(str, comparison.seeds))}."


def _image_counts(evaluations: Sequence[Evaluation]) -> str:
    counts = sorted({len(evaluation.images) for evaluation in evaluations})
    missing = max((evaluation.num_missing for evaluation in evaluations), default=0)
    text = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1])))) if counts else MISSING
    return f"{text}, {missing} missing" if missing else text


def _remark(evaluations: Sequence[Evaluation]) -> str:
    thresholds = sorted({each.threshold for each in evaluations if each.threshold is not None})
    if thresholds:
        return f"best threshold, {', '.join(f'{value:.2f}' for value in thresholds)}, chosen with the truth"
    labelled = [each.labelled_fraction for each in evaluations if each.labelled_fraction is not None]
    return f"on the {100 * sum(labelled) / len(labelled):.0f} % of pixels that it labels" if labelled else ""
