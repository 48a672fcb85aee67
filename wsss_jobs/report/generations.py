"""How a training went on: mIoU of its CAMs and their masks behind every phase (ISIM, figure 4), or epoch (ACR, 5)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from wsss_jobs.pipeline import Plan, PlannedStage
from wsss_jobs.quality.evaluation import Evaluation
from wsss_jobs.report.cam_epochs import cam_epoch, cam_training
from wsss_jobs.report.charts import Curve, curve
from wsss_jobs.stages.train_isim import TrainIsimConfig

_SCORES_OF_CAMS = ("read_cams", "infer_cam_scores")
_CAM, _BEFORE_CRF, _MASK = "CAM at its best threshold", "CAM mask", "CAM mask with CRF"
_Scored = dict[str, dict[int, float]]  # product -> phase or epoch -> mIoU, percent


@dataclass(frozen=True)
class Generations:
    """What is drawn.

    Attributes:
        phases: Of the training, from 0 (tags alone), or finished epochs of it; point k of a curve is scored with the
            weights behind `phases[k]`.
        curves: mIoU in percent, a curve a product; phases without a score are drawn over.
        unit: What `phases` are.
    """

    phases: tuple[int, ...]
    curves: tuple[Curve, ...]
    unit: Literal["phase", "epoch"] = "phase"


def generations(plan: Plan, evaluations: Sequence[Evaluation]) -> Generations | None:
    """Returns the curves of a run, or None where no product is scored behind two phases, nor two epochs."""
    return _drawn(_by_phase(plan, evaluations), "phase") or _drawn(_by_epoch(plan, evaluations), "epoch")


def curve_over(name: str, values: Mapping[int, float], limits: tuple[float, float] | None = None) -> Curve | None:
    """Returns the curve of values by phase or epoch, which are as far apart as their numbers; None without a value.

    Args:
        values: At the first and last position at least NaN, so that curves of equal positions lie over each other.
        limits: Lower and upper end of the vertical axis; None: the curve's own.
    """
    return curve(name, [values.get(position, math.nan) for position in range(min(values), max(values) + 1)], limits)


def _drawn(scored: _Scored, unit: Literal["phase", "epoch"]) -> Generations | None:
    phases = tuple(sorted({phase for values in scored.values() for phase in values}))
    if len(phases) < 2:
        return None
    everywhere = dict.fromkeys(phases, math.nan)
    drawn = (curve_over(product, everywhere | values) for product, values in scored.items())
    return Generations(phases, tuple(one for one in drawn if one is not None), unit)


def _by_phase(plan: Plan, evaluations: Sequence[Evaluation]) -> _Scored:
    scored: _Scored = {_CAM: {}, _BEFORE_CRF: {}, _MASK: {}}
    for evaluation in evaluations:
        stage = plan.stage_of(evaluation.name)
        phase, product = _phase(stage, plan), _product(stage, evaluation, plan)
        if phase is not None and product is not None:
            scored[product][phase] = 100 * evaluation.scores.miou
    return {product: values for product, values in scored.items() if values}


def _by_epoch(plan: Plan, evaluations: Sequence[Evaluation]) -> _Scored:
    """Returns the scores of CAMs, a product a training that stores its weights behind several epochs."""
    scored: _Scored = {}
    for evaluation in evaluations:
        stage = plan.stage_of(evaluation.name)
        training, epoch = cam_training(stage, plan), cam_epoch(stage, plan)
        kept: Any = () if training is None else getattr(training.config, "keep_epochs", ())
        if training is not None and epoch is not None and kept:
            scored.setdefault(f"{_CAM}, {training.name}", {})[epoch] = 100 * evaluation.scores.miou
    return scored


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
