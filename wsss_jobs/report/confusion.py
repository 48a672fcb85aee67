"""The confusion matrix as a picture: the template draws it as SVG from what is laid out here."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsss_jobs.quality.evaluation import Evaluation
from wsss_jobs.report.palette import heat_level

MAX_CLASSES = 40  # more cannot be told from each other
_CELL_PX, _TEXT_PX = 18, 130


@dataclass(frozen=True)
class ConfusionCell:
    """One square; lengths in px.

    Attributes:
        share: Of the pixels whose truth is this row's class.
        level: On the heat scale.
    """

    left: int
    top: int
    truth: str
    label: str
    share: float
    level: int


@dataclass(frozen=True)
class ConfusionPicture:
    """Rows are the truth, columns the label; every row that occurs adds up to 1 over all classes.

    Attributes:
        names: Of rows and columns: all classes, or those that are confused most.
        centres: Of rows and columns, beside the text, in px.
        num_left_out: Classes that are not shown.
    """

    title: str
    names: tuple[str, ...]
    centres: tuple[float, ...]
    cells: tuple[ConfusionCell, ...]
    num_left_out: int
    cell_px: int
    text_px: int
    side_px: int


def confusion_picture(evaluation: Evaluation | None, title: str) -> ConfusionPicture | None:
    """Returns the picture of an evaluation, or None where there is no matrix."""
    if evaluation is None or evaluation.confusion_CC is None or not evaluation.confusion_CC.any():
        return None
    confusion_CC, names = evaluation.confusion_CC, evaluation.scores.class_names
    shown = shown_classes(confusion_CC)
    share_CC = confusion_CC / np.maximum(confusion_CC.sum(axis=1, keepdims=True), 1)
    return ConfusionPicture(
        title=title,
        names=tuple(names[index] for index in shown),
        centres=tuple(_TEXT_PX + (place + 0.5) * _CELL_PX for place in range(len(shown))),
        cells=tuple(_cells(share_CC, shown, names)),
        num_left_out=len(names) - len(shown),
        cell_px=_CELL_PX,
        text_px=_TEXT_PX,
        side_px=_TEXT_PX + len(shown) * _CELL_PX,
    )


def shown_classes(confusion_CC: np.ndarray) -> list[int]:
    """Returns the classes of the picture, ascending: those with the most wrong pixels, background among them."""
    wrong_C = confusion_CC.sum(axis=0) + confusion_CC.sum(axis=1) - 2 * np.diag(confusion_CC)
    order = sorted(range(1, len(wrong_C)), key=lambda index: (-wrong_C[index], index))
    return sorted([0, *order[: MAX_CLASSES - 1]])


def _cells(share_CC: np.ndarray, shown: Sequence[int], names: Sequence[str]) -> list[ConfusionCell]:
    return [
        ConfusionCell(
            left=_TEXT_PX + column * _CELL_PX,
            top=_TEXT_PX + row * _CELL_PX,
            truth=names[truth],
            label=names[label],
            share=float(share_CC[truth, label]),
            level=heat_level(float(share_CC[truth, label])),
        )
        for row, truth in enumerate(shown)
        for column, label in enumerate(shown)
    ]
