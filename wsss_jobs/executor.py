"""Runs a plan: segment by segment, only what is left to do. Driver side; the store is the truth."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.fan_out import FanOutPolicy, FinalOutcome, WorkItem
from cluster.fan_out.run import fan_out
from cluster.session import Session
from cluster.store_metrics import StoreMetrics
from cluster.waiting import wait_for_place
from wsss_jobs.config.recipe import JobResources
from wsss_jobs.datasets.item_table import ItemTable
from wsss_jobs.datasets.records import Dataset, DatasetItem
from wsss_jobs.errors import StageError, StorageError
from wsss_jobs.job_progress import new_driver_id
from wsss_jobs.legs import legs_of
from wsss_jobs.observer import RunObserver
from wsss_jobs.pipeline import Plan, PlannedStage, Segment
from wsss_jobs.receipt_buffer import ReceiptBuffer
from wsss_jobs.run_store import run_name
from wsss_jobs.stage_claim import StageClaim
from wsss_jobs.stage_io import StageFolder, stage_folder, stage_inputs, stage_kind
from wsss_jobs.stages.base import Device, ItemStage, TrainStage
from wsss_jobs.storage.item_names import is_among
from wsss_jobs.storage.object_store import ObjectStore
from wsss_jobs.storage.observation import observe_stores
from wsss_jobs.storage.stage_outputs import StageOutputs
from wsss_jobs.training.job import TrainJob, TrainScale, loader_workers, num_workers
from wsss_jobs.worker import STORE_FAILED, StageJob


@dataclass(frozen=True)
class RunContext:
    """What all stages of a run share.

    Attributes:
        store: The run's folder.
        retry_failed: Forget recorded failures and try these items again.
        pack_masks: Put the masks of a complete stage into few large files.
        driver_id: Tells this driver from others at the same run.
    """

    plan: Plan
    dataset: Dataset
    store: ObjectStore
    session: Session
    device: Device
    seed: int
    resources: JobResources
    error_budget: float
    observer: RunObserver
    retry_failed: bool = False
    pack_masks: bool = False
    driver_id: str = field(default_factory=new_driver_id)
    failed: dict[str, frozenset[str]] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        """The run, as metrics and log lines name it."""
        return run_name(self.store)

    @property
    def by_name(self) -> Mapping[str, PlannedStage]:
        """The planned stages."""
        return {stage.name: stage for stage in self.plan.stages}


def run_plan(run: RunContext) -> int:
    """Runs what is left of a plan; returns how many items failed in any stage.

    Raises:
        ClusterError, StageError, StorageError: What stopped it. Everything done so far stays done.
    """
    observe_stores(StoreMetrics(run.run_id))
    run.observer.run_started(run.plan, len(run.dataset.items))
    for segment in run.plan.segments:
        if segment.sink.is_training:
            _run_training(run, segment.sink)
        else:
            _run_items(run, segment)
    return len(frozenset().union(*run.failed.values()) if run.failed else frozenset())


def _run_items(run: RunContext, segment: Segment) -> None:
    sink = segment.sink
    folder = stage_folder(sink, run.store)
    if run.retry_failed and folder.outputs.failed_item_ids():
        folder.outputs.retry_failed()
    items = _healthy_items(run, segment.stages)
    started = time.monotonic()
    if folder.outputs.is_complete(items):
        manifest = folder.outputs.manifest()
        assert manifest is not None
        run.failed[sink.name] = frozenset(manifest.failed_item_ids)
        run.observer.stage_reused(sink, len(items) - len(manifest.failed_item_ids), len(manifest.failed_item_ids))
        return
    is_done = folder.outputs.done(items)
    is_failed = ~is_done & is_among(items.column("item_id"), folder.outputs.failed_item_ids())
    todo = items.where(~(is_done | is_failed))
    run.observer.stage_started(sink, len(todo), int(is_done.sum()), int(is_failed.sum()))
    if todo:
        _fan_out(run, segment, folder, todo)
    manifest = folder.outputs.finalise(items, stage_kind(sink), pack_masks=run.pack_masks)
    run.failed[sink.name] = frozenset(manifest.failed_item_ids)
    num_failed = len(manifest.failed_item_ids)
    run.observer.stage_finished(sink, len(items) - num_failed, num_failed, time.monotonic() - started)


def _fan_out(run: RunContext, segment: Segment, folder: StageFolder, todo: ItemTable) -> None:
    buffer = ReceiptBuffer(folder.outputs)

    def on_outcome(outcome: FinalOutcome) -> None:
        item: DatasetItem = outcome.payload
        if outcome.reason == STORE_FAILED:
            raise StorageError(
                f"stage {segment.sink.name} stopped, and goes on when it is run again: {outcome.message}"
            )
        if not outcome.ok:
            folder.outputs.commit_failure(item, outcome.reason, outcome.message)
        buffer.add(_receipt(item, outcome))

    policy = FanOutPolicy(
        error_budget_fraction=run.error_budget,
        first_worker_timeout_s=run.resources.first_worker_timeout_s,
        max_in_flight_items=run.resources.max_in_flight_items,
    )
    jobs = [_stage_job(run, stage, folder if stage is segment.sink else None) for stage in segment.stages]
    try:
        fan_out(
            (WorkItem(item.item_id, item) for item in todo.longest_first()),
            legs_of(segment.stages, jobs),
            on_outcome=on_outcome,
            on_progress=lambda snapshot: run.observer.items_progress(segment.sink, snapshot),
            policy=policy,
            total=len(todo),
            run_id=run.run_id,
        )
    finally:
        buffer.flush()


def _stage_job(run: RunContext, stage: PlannedStage, sink: StageFolder | None) -> StageJob:
    assert issubclass(stage.spec, ItemStage)
    return StageJob(
        name=stage.name,
        spec=stage.spec,
        config=stage.config,
        inputs=stage_inputs(stage, run.by_name, run.store),
        sink=sink,
        run_store=run.store,
        class_names=run.dataset.class_names,
        seed=run.seed,
        device=stage.resources.device_on(run.device),
        num_threads=max(1, int(stage.resources.num_cpus)),
        run_id=run.run_id,
        all_items=ItemTable.of(run.dataset.items) if stage.spec.NEEDS_DATASET else (),
    )


def _run_training(run: RunContext, stage: PlannedStage) -> None:
    assert issubclass(stage.spec, TrainStage)
    outputs = stage_folder(stage, run.store).outputs
    run.failed[stage.name] = frozenset()
    items = _healthy_items(run, (stage,))
    if outputs.manifest() is not None:
        run.observer.stage_reused(stage, len(items), 0)
        return
    started = time.monotonic()
    run.observer.stage_started(stage, len(items), 0, 0)
    claim = StageClaim(run.store, f"{stage.name}-{stage.fingerprint}", run.driver_id)
    is_done = lambda: outputs.manifest() is not None  # noqa: E731 - a name for the condition
    with claim.held(is_done, lambda why: run.observer.stage_waits(stage, why)) as is_ours:
        if is_ours:
            _train(run, stage, outputs, items)
    run.observer.stage_finished(stage, len(items), 0, time.monotonic() - started)


def _train(run: RunContext, stage: PlannedStage, outputs: StageOutputs, items: Sequence[DatasetItem]) -> None:
    from wsss_jobs.training.run import run_training  # Ray Train and torch: half a gigabyte that few runs need

    assert issubclass(stage.spec, TrainStage)
    job = TrainJob(
        spec=stage.spec,
        config=stage.config,
        inputs=stage_inputs(stage, run.by_name, run.store),
        outputs=outputs,
        run_store=run.store,
        class_names=run.dataset.class_names,
        seed=run.seed,
        items=tuple(items),
    )
    _wait_for_worker(run, stage)
    scale = _train_scale(run, stage)
    on_gpu = scale.device == "cuda"
    run.observer.training_started(stage, scale.num_workers, 0 if on_gpu else scale.num_cpus, 1 if on_gpu else 0)
    try:
        run_training(job, scale, lambda progress: run.observer.training_progress(stage, progress))
    except StageError:
        if outputs.manifest() is None:
            raise
        # Another driver of this run, thought dead, has completed the stage and swept away what this one worked on.
    outputs.finalise((), "artifacts")


def _wait_for_worker(run: RunContext, stage: PlannedStage) -> None:
    """Waits for room for one worker of a training: Ray Train itself would wait in silence, and without a limit."""
    if run.session.is_local:
        return
    num_cpus = max(int(stage.resources.num_cpus), 1)
    wait_for_place(
        {"GPU": 1} if run.device == "cuda" else {"CPU": num_cpus},
        what=stage.name,
        timeout_s=run.resources.first_worker_timeout_s,
        on_wait=lambda why: run.observer.stage_waits(stage, why),
    )


def _train_scale(run: RunContext, stage: PlannedStage) -> TrainScale:
    """Returns all GPUs of the cluster on CUDA; on a CPU, one worker or `max_workers` with a private Ray's cores."""
    resources = run.session.resources()
    batch: int = stage.config.schedule.global_batch_size  # type: ignore[attr-defined]
    if run.device == "cuda":
        limit = min(int(resources.num_gpus), stage.resources.max_workers or int(resources.num_gpus))
        count = num_workers(batch, limit)
        return TrainScale(
            "cuda", count, int(stage.resources.num_cpus), loader_workers("cuda", int(stage.resources.num_cpus))
        )
    count = num_workers(batch, stage.resources.max_workers or 1)
    num_cpus = int(resources.num_cpus) // count if resources.is_local else int(stage.resources.num_cpus)
    return TrainScale("cpu", count, max(num_cpus, 1))


def _healthy_items(run: RunContext, stages: Iterable[PlannedStage]) -> ItemTable:
    """Returns the items that failed in nothing that these stages read, directly or through others."""
    upstream = set().union(*(run.plan.upstream(stage) for stage in stages))
    failed = frozenset().union(*(run.failed.get(name, frozenset()) for name in upstream))
    return ItemTable.of(run.dataset.items).without(failed)


def _receipt(item: DatasetItem, outcome: FinalOutcome) -> dict[str, Any]:
    row: dict[str, Any] = {
        "item_id": item.item_id,
        "source_key": item.source_key,
        "ok": outcome.ok,
        "attempt": outcome.attempts,
        "node_id": outcome.node_id,
        "actor_id": outcome.actor_id,
    }
    row |= {f"{leg}_seconds": seconds for leg, seconds in outcome.seconds.items()}
    for receipt in outcome.receipts.values():
        row |= receipt
    return row
