"""The stages of a run: what each read and wrote, how far it is, what it cost."""

from dataclasses import dataclass

from wsss_jobs.job import PreparedJob
from wsss_jobs.pipeline import PlannedStage
from wsss_jobs.receipt_columns import StageReceipts, read_receipts, storing_stages
from wsss_jobs.report.training_curves import training
from wsss_jobs.stage_status import StageStatus, stage_statuses


@dataclass(frozen=True)
class StageRow:
    """One stage.

    Attributes:
        kind: The stage's own name, where the recipe calls it otherwise; else empty.
        state: In words.
        is_complete: Whether its results are whole; of a streamed stage, whether those are that it ends in.
        seconds: Work of all workers together; None where nothing was recorded.
        seconds_per_image: The same an image.
        devices: Such as `cuda`.
    """

    name: str
    kind: str
    reads: str
    writes: str
    state: str
    is_complete: bool
    seconds: float | None
    seconds_per_image: float | None
    devices: str
    fingerprint: str


def stage_rows(job: PreparedJob) -> tuple[StageRow, ...]:
    """Returns all stages of a job, in the order of the plan."""
    statuses = {status.stage.name: status for status in stage_statuses(job)}
    return tuple(_row(stage, statuses, job) for stage in job.plan.stages)


def _row(stage: PlannedStage, statuses: dict[str, StageStatus], job: PreparedJob) -> StageRow:
    sinks = storing_stages(stage, job.plan)
    receipts = [read_receipts(sink, job.store) for sink in sinks]
    seconds = _seconds(stage, receipts, job)
    num_items = sum(len(found.latest(f"{stage.name}_seconds")) for found in receipts)
    devices = {device for found in receipts for device in found.distinct(f"{stage.name}_device")}
    return StageRow(
        name=stage.name,
        kind="" if stage.name == stage.spec.NAME else stage.spec.NAME,
        reads=", ".join(dict.fromkeys(stage.inputs.values())),
        writes=stage.spec.WRITES.__name__,
        state=_state(statuses[stage.name]),
        is_complete=all(statuses[sink.name].is_complete for sink in sinks),
        seconds=seconds,
        seconds_per_image=seconds / num_items if seconds is not None and num_items else None,
        devices=", ".join(sorted(devices)),
        fingerprint=stage.fingerprint,
    )


def _seconds(stage: PlannedStage, receipts: list[StageReceipts], job: PreparedJob) -> float | None:
    if stage.is_training:
        found = training(stage, job)
        return None if found is None else found.seconds
    totals = [total for one in receipts if (total := one.total(f"{stage.name}_seconds")) is not None]
    return sum(totals) if totals else None


def _state(status: StageStatus) -> str:
    if status.is_streamed:
        return "streamed"
    failed = f", {status.num_failed:,} failed" if status.num_failed else ""
    if status.is_complete:
        return f"done{failed}"
    if status.num_items is None or not status.num_done + status.num_failed:
        return "not done"
    return f"{status.num_done:,} of {status.num_items:,} done{failed}"
