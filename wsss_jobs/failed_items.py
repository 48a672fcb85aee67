"""All items of a job that failed, wherever they did."""

from dataclasses import dataclass

from wsss_jobs.job import PreparedJob
from wsss_jobs.stage_io import stage_folder


@dataclass(frozen=True)
class FailedItem:
    """One image without a result.

    Attributes:
        stage: The stage that it failed in; `index` for images that were rejected before anything ran.
    """

    source_key: str
    stage: str
    reason: str
    message: str


def failed_items(job: PreparedJob) -> list[FailedItem]:
    """Returns the failures of all stages, in the order of the plan."""
    found = [FailedItem(error.item, "index", error.reason, error.message) for error in job.rejected]
    for stage in job.plan.stages:
        if stage.is_streamed or stage.is_training:
            continue
        failures = stage_folder(stage, job.store).outputs.read_failures()
        found.extend(FailedItem(each.source_key, stage.name, each.reason, each.message) for each in failures)
    return found
