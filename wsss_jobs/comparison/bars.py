"""Bars of mIoU with the IoU of every class below them, as one SVG file; `miou.svg.j2` draws what is laid out here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Template

from wsss_jobs.comparison.config import Comparison
from wsss_jobs.comparison.published import Column
from wsss_jobs.comparison.scores import Figure, MethodScores
from wsss_jobs.comparison.tables import class_names, figure_text
from wsss_jobs.report.template_environment import template_environment

# Okabe and Ito's colours, which people with any colour vision can tell apart.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#555555")
_BAR_PX, _STEP_PX, _THIN_PX, _GAP_PX = 18, 22, 5, 8
_LEFT_PX, _SCALE_PX, _RIGHT_PX, _HEAD_PX = 240, 520, 130, 44
_PX_PER_PERCENT = _SCALE_PX / 100


@dataclass(frozen=True)
class Bar:
    """One bar; lengths in px.

    Attributes:
        published: Length at which the published number has its mark, or None.
        spread: Half the length of the whisker; 0 for one seed.
    """

    label: str
    text: str
    colour: str
    top: float
    length: float
    spread: float
    published: float | None


@dataclass(frozen=True)
class ClassGroup:
    """The bars of one class, one a method."""

    name: str
    middle: float
    bars: tuple[Bar, ...]


def bars_svg(comparison: Comparison, scores: MethodScores) -> str:
    """Returns the plot of the methods that are to be plotted and have a score."""
    methods = [name for name in comparison.plotted if name in scores.evaluations]
    class_top = _HEAD_PX + len(methods) * _STEP_PX + _HEAD_PX
    group_px = len(methods) * _THIN_PX + _GAP_PX
    groups = [_group(name, class_top + row * group_px, methods, scores) for row, name in enumerate(class_names(scores))]
    return _template().render(
        title=comparison.name,
        bars=_method_bars(comparison, methods, scores),
        groups=groups,
        bar_px=_BAR_PX,
        thin_px=_THIN_PX,
        left_px=_LEFT_PX,
        scale_px=_SCALE_PX,
        width_px=_LEFT_PX + _SCALE_PX + _RIGHT_PX,
        class_top=class_top,
        height_px=class_top + len(groups) * group_px + _GAP_PX,
    )


def published_mious(comparison: Comparison) -> Mapping[str, float]:
    """Returns the published mIoU of each method that stands in a table beside one, %."""
    return {
        method: row.published[name]
        for table in comparison.tables.values()
        for row in table.rows
        for name, column in table.columns.items()
        if name in row.published and column == Column(title=column.title) and (method := row.our_method(name))
    }


def _template() -> Template:
    return template_environment("wsss_jobs.comparison").get_template("miou.svg.j2")


def _method_bars(comparison: Comparison, methods: Sequence[str], scores: MethodScores) -> list[Bar]:
    published = published_mious(comparison)
    return [
        _bar(
            comparison.methods[name].title,
            scores.figure(name, Column()),
            index,
            _HEAD_PX + index * _STEP_PX,
            published.get(name),
        )
        for index, name in enumerate(methods)
    ]


def _group(name: str, top: float, methods: Sequence[str], scores: MethodScores) -> ClassGroup:
    bars = [
        _bar("", scores.figure(method, Column(class_name=name)), index, top + index * _THIN_PX, None)
        for index, method in enumerate(methods)
    ]
    return ClassGroup(name, top + len(methods) * _THIN_PX / 2, tuple(bars))


def _bar(label: str, figure: Figure | None, index: int, top: float, published: float | None) -> Bar:
    return Bar(
        label=label,
        text=figure_text(figure),
        colour=COLOURS[index % len(COLOURS)],
        top=top,
        length=0.0 if figure is None else figure.mean * _PX_PER_PERCENT,
        spread=0.0 if figure is None or figure.spread is None else figure.spread * _PX_PER_PERCENT,
        published=None if published is None else published * _PX_PER_PERCENT,
    )
