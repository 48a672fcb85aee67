"""Scores against the ground truth: a row a step, and the matrix of classes and steps."""

import math
from dataclasses import dataclass

from wsss_jobs.quality.evaluation import Evaluation
from wsss_jobs.report.palette import class_colour, heat_level, hex_colour
from wsss_jobs.report.run_view import RunView


@dataclass(frozen=True)
class StepScore:
    """One step of the table.

    Attributes:
        note: What has to be known to read the numbers.
        boundary: Mean boundary IoU; None where it is not scored.
        gain: mIoU above the first CAMs'; None for them and for what cannot be compared.
        is_best: The highest mIoU among complete labels.
        is_partial: Scored on labelled pixels only, so not to be compared with the others.
    """

    title: str
    name: str
    note: str
    miou: float
    boundary: float | None
    precision: float
    recall: float
    pixel_accuracy: float
    gain: float | None
    num_images: int
    num_missing: int
    is_best: bool
    is_partial: bool


@dataclass(frozen=True)
class HeatCell:
    """A number with its step of the heat scale; None for a class that occurs nowhere."""

    value: float | None
    level: int


@dataclass(frozen=True)
class ClassRow:
    """One class of the matrix; `gain` is that of the last masks over the first CAMs."""

    class_id: int
    name: str
    colour: str
    cells: tuple[HeatCell, ...]
    gain: float | None


def step_scores(view: RunView) -> tuple[StepScore, ...]:
    """Returns the table of steps, in the order of the plan."""
    complete = [evaluation.scores.miou for evaluation in view.evaluations if evaluation.kind != "partial"]
    best = max((miou for miou in complete if not math.isnan(miou)), default=math.nan)
    return tuple(_step_score(evaluation, view, best) for evaluation in view.evaluations)


def class_rows(view: RunView) -> tuple[ClassRow, ...]:
    """Returns the IoU of every class in every step, background first."""
    if not view.evaluations:
        return ()
    names = view.evaluations[0].scores.class_names
    return tuple(_class_row(class_id, name, view) for class_id, name in enumerate(names))


def _step_score(evaluation: Evaluation, view: RunView, best: float) -> StepScore:
    scores = evaluation.scores
    is_partial = evaluation.kind == "partial"
    comparable = view.baseline is not None and evaluation is not view.baseline and not is_partial
    return StepScore(
        title=view.title(evaluation),
        name=evaluation.name,
        note=_note(evaluation),
        miou=scores.miou,
        boundary=evaluation.boundary_miou,
        precision=scores.mean_precision,
        recall=scores.mean_recall,
        pixel_accuracy=scores.pixel_accuracy,
        gain=scores.miou - view.baseline.scores.miou if comparable and view.baseline is not None else None,
        num_images=len(evaluation.images),
        num_missing=evaluation.num_missing,
        is_best=not is_partial and scores.miou == best,
        is_partial=is_partial,
    )


def _note(evaluation: Evaluation) -> str:
    if evaluation.threshold is not None:
        return f"at its best background threshold, {evaluation.threshold:.2f}, which the ground truth chose"
    if evaluation.labelled_fraction is not None:
        return f"on the {100 * evaluation.labelled_fraction:.0f} % of pixels that it labels"
    return ""


def _class_row(class_id: int, name: str, view: RunView) -> ClassRow:
    values = [_known(evaluation.scores.iou[class_id]) for evaluation in view.evaluations]
    cells = tuple(HeatCell(value, heat_level(value or 0.0)) for value in values)
    colour = "transparent" if class_id == 0 else hex_colour(class_colour(class_id))
    return ClassRow(class_id, name, colour, cells, _class_gain(class_id, view))


def _class_gain(class_id: int, view: RunView) -> float | None:
    first, last = view.baseline, view.headline
    if first is None or last is None or last is first:
        return None
    return _known(last.scores.iou[class_id] - first.scores.iou[class_id])


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
