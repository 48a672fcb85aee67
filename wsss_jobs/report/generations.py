"""How an iterated training went on: mIoU of its CAMs and their masks behind every phase (ISIM, figure 4)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from wsss_jobs.pipeline import Plan, PlannedStage
from wsss_jobs.quality.evaluation import Evaluation
from wsss_jobs.report.charts import Curve, curve
from wsss_jobs.stages.train_isim import TrainIsimConfig

_SCORES_OF_CAMS = ("read_cams", "infer_cam_scores")
_CAM, _BEFORE_CRF, _MASK = "CAM at its best threshold", "CAM mask", "CAM mask with CRF"


@dataclass(frozen=True)
class Generations:
    """What is drawn.

    Attributes:
        phases: Of the training, from 0 (tags alone); point k of a curve is scored with the weights behind `phases[k]`.
        curves: mIoU in percent, a curve a product; phases without a score are drawn over.
    """

    phases: tuple[int, ...]
    curves: tuple[Curve, ...]


def generations(plan: Plan, evaluations: Sequence[Evaluation]) -> Generations | None:
    """Returns the curves of a run, or None where no product is scored behind two phases."""
    scored: dict[str, dict[int, float]] = {}
    for evaluation in evaluations:
        stage = plan.stage(evaluation.name.partition("/")[0])
        phase, product = _phase(stage, plan), _product(stage, evaluation, plan)
        if phase is not None and product is not None:
            scored.setdefault(product, {})[phase] = 100 * evaluation.scores.miou
    phases = tuple(sorted({phase for values in scored.values() for phase in values}))
    if len(phases) < 2:
        return None
    drawn = (
        curve(product, [scored[product].get(phase, math.nan) for phase in phases])
        for product in (_CAM, _BEFORE_CRF, _MASK)
        if product in scored
    )
    return Generations(phases, tuple(one for one in drawn if one is not None))


def _phase(stage: PlannedStage, plan: Plan) -> int | None:
    """Returns the latest phase that a stage's product comes from, or None where there is no such training."""
    configs = (plan.stage(name).config for name in plan.upstream(stage))
    found = [config.generation for config in configs if isinstance(config, TrainIsimConfig)]
    return max(found, default=None)


def _product(stage: PlannedStage, evaluation: Evaluation, plan: Plan) -> str | None:
    if evaluation.kind == "cam":
        return _CAM
    feeders = {plan.stage(name).spec.NAME for name in stage.inputs.values()}
    if evaluation.kind != "mask" or not feeders.intersection(_SCORES_OF_CAMS):
        return None
    has_crf = getattr(stage.config, "crf", None) is not None
    return _MASK if has_crf and evaluation.name == stage.name else _BEFORE_CRF
