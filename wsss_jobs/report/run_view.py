"""What of a run is finished, and how it scored: the ground on which all parts of the report stand."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from wsss_jobs.job import PreparedJob
from wsss_jobs.quality.estimate import QualityEstimate
from wsss_jobs.quality.evaluation import Evaluation
from wsss_jobs.quality.quality_files import read_quality
from wsss_jobs.report.cam_epochs import is_of_an_earlier_epoch
from wsss_jobs.report.steps import Step, run_steps
from wsss_jobs.stage_io import stage_folder


@dataclass(frozen=True)
class RunView:
    """A run as the report sees it.

    Attributes:
        steps: Those whose stage is complete, in the order of the plan.
        final: The last mask step among them, or None.
        evaluations: As given; empty without ground truth.
        quality: What `wsss quality` found of the masks of one of the steps, as they are now; else None.
    """

    job: PreparedJob
    steps: tuple[Step, ...]
    final: Step | None
    evaluations: tuple[Evaluation, ...]
    quality: QualityEstimate | None = None

    @property
    def has_truth(self) -> bool:
        """Whether there is anything to score against."""
        return any(item.mask_uri is not None for item in self.job.dataset.items)

    @property
    def headline(self) -> Evaluation | None:
        """The evaluation that ranks images: of the last masks, else of the last CAMs."""
        for kind in ("mask", "cam"):
            found = self._finished(kind)
            if found:
                return found[-1]
        return None

    @property
    def baseline(self) -> Evaluation | None:
        """The evaluation that gains are counted from: the first CAMs."""
        return next(iter(self._finished("cam")), None)

    def _finished(self, kind: str) -> list[Evaluation]:
        """Returns the evaluations of a kind, but for CAMs of earlier epochs: they are no result."""
        plan = self.job.plan
        found = [evaluation for evaluation in self.evaluations if evaluation.kind == kind]
        return [each for each in found if not is_of_an_earlier_epoch(plan.stage_of(each.name))]

    def evaluation(self, name: str) -> Evaluation | None:
        """Returns the evaluation of a step."""
        return next((evaluation for evaluation in self.evaluations if evaluation.name == name), None)

    def title(self, evaluation: Evaluation) -> str:
        """Returns what people call the evaluated step."""
        return next((step.title for step in self.steps if step.name == evaluation.name), evaluation.name)

    def image_scores(self, name: str) -> dict[str, float]:
        """Returns the mIoU of each image in a step, by item id; images without a number are left out."""
        evaluation = self.evaluation(name)
        images = () if evaluation is None else evaluation.images
        return {image.item_id: image.miou for image in images if not math.isnan(image.miou)}


def run_view(job: PreparedJob, evaluations: Sequence[Evaluation]) -> RunView:
    """Returns the view of a job, from what is in its store."""
    complete = {
        stage.name
        for stage in job.plan.stages
        if not stage.is_streamed and stage_folder(stage, job.store).outputs.manifest() is not None
    }
    steps = tuple(step for step in run_steps(job.plan) if step.stage.name in complete)
    masks = [step for step in steps if step.kind == "mask"]
    final = masks[-1] if masks else None
    return RunView(job, steps, final, tuple(evaluations), _quality(job, steps))


def _quality(job: PreparedJob, steps: Sequence[Step]) -> QualityEstimate | None:
    estimate = read_quality(job.store, job.recipe.name)
    fingerprints = {step.name: step.stage.fingerprint for step in steps if step.kind == "mask"}
    if estimate is None or fingerprints.get(estimate.step) != estimate.fingerprint:
        return None
    return estimate
