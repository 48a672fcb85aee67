"""How good each method of a comparison is, for every seed; masks are read here and nowhere else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from wsss_jobs.comparison.config import Comparison, Method
from wsss_jobs.comparison.jobs import VariantJob
from wsss_jobs.comparison.published import Column, Margin, MetricName
from wsss_jobs.job import PreparedJob
from wsss_jobs.quality.evaluate import KeepItem, evaluate_parts
from wsss_jobs.quality.evaluation import Evaluation


@dataclass(frozen=True)
class Figure:
    """A number over all seeds that have one.

    Attributes:
        mean: In the unit of the values.
        spread: Sample standard deviation; None for one value.
        num_seeds: Number of values.
    """

    mean: float
    spread: float | None
    num_seeds: int


@dataclass(frozen=True)
class MethodScores:
    """Evaluations by method and seed; methods that are not finished are missing."""

    evaluations: Mapping[str, Mapping[int, Evaluation]]

    def figure(self, method: str, column: Column) -> Figure | None:
        """Returns a method's score in %, or None where there is none."""
        return figure_of([_value(each, column) for each in self.evaluations.get(method, {}).values()])

    def margin(self, margin: Margin) -> Figure | None:
        """Returns the difference of two methods in percentage points, seed by seed."""
        above, below = (self.evaluations.get(name, {}) for name in (margin.above, margin.below))
        return figure_of(
            [
                _metric(above[seed], margin.metric) - _metric(below[seed], margin.metric)
                for seed in above
                if seed in below
            ]
        )


def score_methods(comparison: Comparison, jobs: Sequence[VariantJob]) -> MethodScores:
    """Returns the scores of all finished methods on `score_splits`; empty without ground truth."""
    splits = comparison.score_splits
    return score_parts(comparison, jobs, {"": lambda item: not splits or item.split in splits})[""]


def score_parts(
    comparison: Comparison, jobs: Sequence[VariantJob], parts: Mapping[str, KeepItem]
) -> dict[str, MethodScores]:
    """Returns the scores of all finished methods on each part of the data set; a shared stage is scored once.

    Args:
        parts: Which images count, by the part's name.
    """
    known: dict[tuple[str, str], list[list[Evaluation]]] = {}
    found: dict[str, dict[str, dict[int, Evaluation]]] = {part: {} for part in parts}
    for name, method in comparison.methods.items():
        for each in jobs:
            if each.variant != method.variant:
                continue
            for part, evaluation in zip(parts, _evaluations(method, each.job, parts, known), strict=True):
                if evaluation is not None:
                    found[part].setdefault(name, {})[each.seed] = evaluation
    return {part: MethodScores(of_part) for part, of_part in found.items()}


def figure_of(values: Sequence[float]) -> Figure | None:
    """Returns mean and spread of the values that are numbers, or None without any."""
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return None
    spread = float(np.std(finite, ddof=1)) if len(finite) > 1 else None
    return Figure(float(np.mean(finite)), spread, len(finite))


def _evaluations(
    method: Method,
    job: PreparedJob,
    parts: Mapping[str, KeepItem],
    known: dict[tuple[str, str], list[list[Evaluation]]],
) -> list[Evaluation | None]:
    stage = job.plan.stage_of(method.step)
    key = (stage.name, stage.fingerprint)
    if key not in known:
        plan = replace(job.plan, stages=(stage,))
        known[key] = evaluate_parts(plan, job.dataset, job.store, list(parts.values()))
    return [next((each for each in of_part if each.name == method.step), None) for of_part in known[key]]


def _value(evaluation: Evaluation, column: Column) -> float:
    if column.class_name is None:
        return _metric(evaluation, column.metric)
    names = evaluation.scores.class_names
    return 100 * evaluation.scores.iou[names.index(column.class_name)] if column.class_name in names else float("nan")


def _metric(evaluation: Evaluation, metric: MetricName) -> float:
    return 100 * float(getattr(evaluation.scores, metric))
