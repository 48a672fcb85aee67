"""Re-reads a run, finished or not, stage by stage (`wsss verify`)."""

from collections.abc import Callable
from dataclasses import dataclass

from wsss_jobs.job import PreparedJob
from wsss_jobs.pipeline import PlannedStage
from wsss_jobs.stage_io import stage_folder, stage_kind
from wsss_jobs.storage.stage_check import StageCheck, check_stage, repair_stage


@dataclass(frozen=True)
class VerifiedStage:
    """One stage and what re-reading it gave.

    Attributes:
        num_deleted: Torn objects that were deleted, when that was asked for.
    """

    stage: PlannedStage
    check: StageCheck
    num_deleted: int


def verify_run(
    job: PreparedJob, *, repair: bool = False, on_stage: Callable[[str], None] = lambda _: None
) -> list[VerifiedStage]:
    """Returns what is wrong with each stage that stores something, in the order of the plan.

    Args:
        job: The run.
        repair: Delete what is torn, so that the next run does it again.
        on_stage: Hears of each stage before it is read.

    Raises:
        StorageError: The store cannot be read.
    """
    verified: list[VerifiedStage] = []
    failed: dict[str, frozenset[str]] = {}
    for stage in (stage for stage in job.plan.stages if not stage.is_streamed):
        on_stage(stage.name)
        outputs = stage_folder(stage, job.store).outputs
        lost = frozenset().union(*(failed.get(name, frozenset()) for name in job.plan.upstream(stage)))
        items = [item for item in job.dataset.items if item.item_id not in lost]
        check = check_stage(outputs, items, job.dataset.items, stage_kind(stage))
        failed[stage.name] = check.failed_ids
        verified.append(VerifiedStage(stage, check, repair_stage(outputs, check) if repair else 0))
    return verified
