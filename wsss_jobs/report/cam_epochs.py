"""Which epoch of a classifier's training CAMs were inferred behind."""

from typing import cast

from wsss_jobs.pipeline import Plan, PlannedStage
from wsss_jobs.stages.infer_cams import CLASSIFIER_PORT, InferCamsConfig
from wsss_jobs.training.task import Schedule


def cam_training(stage: PlannedStage, plan: Plan) -> PlannedStage | None:
    """Returns the training whose weights a stage infers CAMs with, or None where the stage is another one."""
    is_inference = isinstance(stage.config, InferCamsConfig)
    return plan.stage(stage.inputs[CLASSIFIER_PORT]) if is_inference else None


def cam_epoch(stage: PlannedStage, plan: Plan) -> int | None:
    """Returns behind how many epochs of its training a stage infers CAMs, or None where it infers none."""
    training = cam_training(stage, plan)
    if training is None:
        return None
    schedule = cast("Schedule", training.config.schedule)  # type: ignore[attr-defined]  # every training has one
    return cast("InferCamsConfig", stage.config).epoch or schedule.num_epochs


def is_of_an_earlier_epoch(stage: PlannedStage) -> bool:
    """Returns whether a stage shows how its classifier grew, and not what came of it."""
    return isinstance(stage.config, InferCamsConfig) and stage.config.epoch is not None
