"""How far each stage of a job is, read from the store alone."""

from dataclasses import dataclass

from wsss_jobs.job import PreparedJob
from wsss_jobs.pipeline import PlannedStage
from wsss_jobs.stage_io import stage_folder
from wsss_jobs.storage.item_names import ItemNames, is_among


@dataclass(frozen=True)
class StageStatus:
    """One stage.

    Attributes:
        num_items: Items to do in all; None for streamed stages and trainings.
    """

    stage: PlannedStage
    is_streamed: bool
    is_complete: bool
    num_items: int | None = None
    num_done: int = 0
    num_failed: int = 0

    @property
    def num_left(self) -> int:
        """Items neither done nor failed."""
        return (self.num_items or 0) - self.num_done - self.num_failed


def stage_statuses(job: PreparedJob) -> list[StageStatus]:
    """Returns the state of every stage, in the order of the plan."""
    return [_status(stage, job) for stage in job.plan.stages]


def _status(stage: PlannedStage, job: PreparedJob) -> StageStatus:
    if stage.is_streamed:
        return StageStatus(stage, is_streamed=True, is_complete=False)
    outputs = stage_folder(stage, job.store).outputs
    manifest = outputs.manifest()
    if stage.is_training:
        return StageStatus(stage, is_streamed=False, is_complete=manifest is not None)
    if manifest is not None:
        num_failed = len(manifest.failed_item_ids)
        num_items = manifest.num_items
        return StageStatus(stage, False, True, num_items, num_items - num_failed, num_failed)
    items = ItemNames.of(job.dataset.items)
    is_done = outputs.done(items)
    num_failed = int((~is_done & is_among(items.column("item_id"), outputs.failed_item_ids())).sum())
    return StageStatus(stage, False, False, len(items), int(is_done.sum()), num_failed)
