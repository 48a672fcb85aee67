"""mIoU of CAMs over the epochs of training as one SVG file: a curve for each row of a table that is over epochs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wsss_jobs.comparison.bars import COLOURS
from wsss_jobs.comparison.config import Comparison
from wsss_jobs.comparison.published import Column, Row
from wsss_jobs.comparison.scores import Figure, MethodScores
from wsss_jobs.comparison.tables import figure_text
from wsss_jobs.report.charts import HEIGHT, WIDTH, Curve
from wsss_jobs.report.generations import curve_over
from wsss_jobs.report.template_environment import template_environment


@dataclass(frozen=True)
class EpochLine:
    """One row of the table.

    Attributes:
        texts: What stands at the points of its curve.
    """

    label: str
    colour: str
    curve: Curve
    texts: tuple[str, ...]


def epoch_curves_svg(comparison: Comparison, key: str, epochs: Mapping[str, int], scores: MethodScores) -> bytes | None:
    """Returns the curves, means over the seeds in %; None while nothing is scored.

    Args:
        key: Of the table.
        epochs: Of its columns, in ascending order.
    """
    table = comparison.tables[key]
    rows = [_figures(row, epochs, scores) for row in table.rows]
    means = [figure.mean for figures in rows for figure in figures.values()]
    if not means:
        return None
    limits = (min(means), max(means))
    lines = [_line(index, row, rows[index], epochs, limits) for index, row in enumerate(table.rows)]
    return _render(table.title, [line for line in lines if line is not None], epochs, limits)


def _figures(row: Row, epochs: Mapping[str, int], scores: MethodScores) -> dict[int, Figure]:
    """Returns the scores of a row by epoch; epochs without one are left out."""
    methods = {epoch: row.our_method(column) for column, epoch in epochs.items()}
    found = {epoch: scores.figure(name, Column()) for epoch, name in methods.items() if name is not None}
    return {epoch: figure for epoch, figure in found.items() if figure is not None}


def _line(
    index: int, row: Row, figures: Mapping[int, Figure], epochs: Mapping[str, int], limits: tuple[float, float]
) -> EpochLine | None:
    values = dict.fromkeys(epochs.values(), math.nan) | {epoch: figure.mean for epoch, figure in figures.items()}
    drawn = curve_over(row.method, values, limits)
    if drawn is None:
        return None
    texts = tuple(f"epoch {epoch}: {figure_text(figure)}" for epoch, figure in sorted(figures.items()))
    return EpochLine(row.method, COLOURS[index % len(COLOURS)], drawn, texts)


def _render(title: str, lines: Sequence[EpochLine], epochs: Mapping[str, int], limits: tuple[float, float]) -> bytes:
    axis = curve_over("", dict.fromkeys(epochs.values(), 0.0))
    assert axis is not None  # a number at every epoch
    ticks = [(epoch, x) for epoch, (x, _) in zip(epochs.values(), axis.points, strict=True)]
    template = template_environment("wsss_jobs.comparison").get_template("epochs.svg.j2")
    return template.render(
        title=title, lines=lines, ticks=ticks, lowest=limits[0], highest=limits[1], width=WIDTH, height=HEIGHT
    ).encode()
