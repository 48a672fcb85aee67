"""The steps of a run that can be looked at and scored, with names that people use."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from wsss_jobs.pipeline import Plan, PlannedStage
from wsss_jobs.records import AffinityLabel, Cams, Mask, PartialLabel

StepKind = Literal["cam", "affinity", "partial", "mask"]

_PRODUCERS = {
    "read_cams": "CAM mask",
    "infer_cam_scores": "CAM mask",
    "random_walk": "Random walk",
    "random_walk_psa": "Random walk",
    "propagate_gcn": "GCN",
    "train_segmentation": "Segmentation network",
    "predict_masks": "Segmentation network",  # from a file
}
_OWN_TITLES = {"label_with_saliency": "CAM and saliency", "localise_boxes": "Boxes"}
_CAM_TITLE, _AFFINITY_TITLE, _PARTIAL_TITLE = "CAM", "Affinity label", "Partial label"


@dataclass(frozen=True)
class Step:
    """One product of one stage.

    Attributes:
        name: As evaluations name it: `<stage>`, or `<stage>/before_crf`.
        title: For people; unique within a run.
        variant: Folder of its masks.
    """

    name: str
    title: str
    kind: StepKind
    stage: PlannedStage
    variant: str = "masks"


def run_steps(plan: Plan) -> tuple[Step, ...]:
    """Returns the steps of a plan, in its order."""
    return _distinct([step for stage in plan.stages for step in _steps_of(stage, plan)])


def _steps_of(stage: PlannedStage, plan: Plan) -> Iterable[Step]:
    writes = stage.spec.WRITES
    if writes is Cams:
        return [Step(stage.name, _CAM_TITLE, "cam", stage)]
    if writes is AffinityLabel:
        return [Step(stage.name, _AFFINITY_TITLE, "affinity", stage)]
    if writes is PartialLabel:
        return [Step(stage.name, _PARTIAL_TITLE, "partial", stage)]
    return _mask_steps(stage, plan) if writes is Mask else []


def _mask_steps(stage: PlannedStage, plan: Plan) -> list[Step]:
    title = _producer(stage, plan)
    if getattr(stage.config, "crf", None) is None:
        return [Step(stage.name, title, "mask", stage)]
    before = Step(f"{stage.name}/before_crf", title, "mask", stage, "masks_before_crf")
    return [before, Step(stage.name, f"{title} + CRF", "mask", stage)]


def _producer(stage: PlannedStage, plan: Plan) -> str:
    """Returns the method whose scores, or whose network, a mask stage reads; its own where it reads nothing."""
    if stage.spec.NAME in _OWN_TITLES:
        return _OWN_TITLES[stage.spec.NAME]
    for name in stage.inputs.values():
        kind = plan.stage(name).spec.NAME
        return _PRODUCERS.get(kind, kind.replace("_", " "))
    return _PRODUCERS.get(stage.spec.NAME, stage.name)


def _distinct(steps: list[Step]) -> tuple[Step, ...]:
    counts = Counter(step.title for step in steps)
    return tuple(
        step if counts[step.title] == 1 else replace(step, title=f"{step.title} ({step.stage.name})") for step in steps
    )
