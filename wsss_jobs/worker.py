"""What lives in an actor: one stage with its inputs and its output. Reads, processes, commits, and says how it went."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cluster.fan_out import Outcome, WorkItem
from cluster.store_metrics import StoreMetrics
from cluster.worker_metrics import WorkerMetrics
from wsss_jobs.datasets.images import decode_image
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import DataError, StorageError
from wsss_jobs.heap import keep_freed_memory
from wsss_jobs.records import ARTIFACT_FILE, Record
from wsss_jobs.stage_io import StageFolder, StageInputs
from wsss_jobs.stages.base import (
    DatasetView,
    Device,
    Failed,
    ItemInput,
    ItemStage,
    Ok,
    StageConfig,
    StageContext,
    guarded,
)
from wsss_jobs.storage.artifacts import default_cache_root
from wsss_jobs.storage.mask_facts import score_column
from wsss_jobs.storage.object_store import AccessDeniedError, ObjectNotFoundError, ObjectStore, TornObjectError
from wsss_jobs.storage.observation import observe_stores
from wsss_jobs.storage.uris import read_uri

_log = logging.getLogger(__name__)

CHECKPOINT_KEY = f"checkpoint/{ARTIFACT_FILE}"
STORE_FAILED = "store_failed"


@dataclass(frozen=True)
class StageJob:
    """All that a process needs to run a stage; picklable, and called in the actor's process.

    Attributes:
        name: The stage's, before its columns in receipts.
        sink: Where records are stored, or None when they are streamed on.
        run_store: Holds the weight files that the config names by digest.
        num_threads: Threads that the worker may use.
        run_id: The run, as metrics name it.
        all_items: The data set, for a stage in which an item depends on others; else empty.
    """

    name: str
    spec: type[ItemStage]
    config: StageConfig
    inputs: StageInputs
    sink: StageFolder | None
    run_store: ObjectStore
    class_names: tuple[str, ...]
    seed: int
    device: Device
    num_threads: int
    run_id: str
    all_items: Sequence[DatasetItem] = ()

    def __call__(self) -> "StageWorker":
        """Returns the worker; loads its weights."""
        return StageWorker(self)


class StageWorker:
    """Runs batches of one stage."""

    def __init__(self, job: StageJob) -> None:
        import torch  # here and not above: the driver knows this module, and does without torch

        torch.set_num_threads(max(job.num_threads, 1))
        observe_stores(StoreMetrics(job.run_id))
        self._metrics = WorkerMetrics(job.run_id, job.name)
        if job.device == "cpu":
            keep_freed_memory()
        self._job = job
        artifacts = {
            port: folder.outputs.local_copy(f"checkpoint/{job.spec.artifact_file(job.config, port)}").parent
            for port, folder in job.inputs.artifacts.items()
        }
        dataset = DatasetView(job.all_items, _OtherItems(job.inputs)) if job.spec.NEEDS_DATASET else None
        self._context = StageContext(job.class_names, job.seed, job.device, job.num_threads, artifacts, dataset)
        self._config = _localised(job)
        self._stage = job.spec(self._config, self._context)
        self._cpu_stage: ItemStage | None = None
        self._too_large: set[int] = set()

    @property
    def name(self) -> str:
        """The stage's name."""
        return self._job.name

    def run(self, items: Sequence[WorkItem], upstream: Sequence[Any]) -> list[Outcome]:
        """Returns one outcome an item; records that are not stored become its payload.

        When the store fails for good, all of the batch answer `STORE_FAILED`, which is no fault of theirs: what is
        stored already counts, and the driver ends the run.
        """
        try:
            return self._run(items, upstream)
        except StorageError as error:
            return [Outcome(item.id, ok=False, reason=STORE_FAILED, message=str(error)) for item in items]

    def _run(self, items: Sequence[WorkItem], upstream: Sequence[Any]) -> list[Outcome]:
        entries = [
            guarded(lambda item=item, index=index: self._read(item.payload, upstream, index))  # type: ignore[misc]
            for index, item in enumerate(items)
        ]
        good = [entry for entry in entries if isinstance(entry, ItemInput)]
        done = iter(self._process(good))
        results = [(entry, self._job.device) if isinstance(entry, Failed) else next(done) for entry in entries]
        return [self._outcome(item, *result) for item, result in zip(items, results, strict=True)]

    def _read(self, item: DatasetItem, upstream: Sequence[Any], index: int) -> ItemInput:
        records: dict[str, Record] = {
            port: _read_record(folder, item) for port, folder in self._job.inputs.stored.items()
        }
        if self._job.inputs.streamed:
            records[self._job.inputs.streamed] = upstream[index]
        return ItemInput(item, read_image(item) if self._job.spec.NEEDS_IMAGE else None, records)

    def _process(self, batch: list[ItemInput]) -> list[tuple[Ok | Failed, Device]]:
        """Halves a batch that does not fit into the accelerator's memory; what does not fit alone goes to the CPU."""
        import torch

        if not batch:
            return []
        try:
            results = self._stage.process(batch)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            self._note_memory(batch)
            if len(batch) == 1:
                return [(self._on_cpu(batch), "cpu")]
            middle = len(batch) // 2
            return [*self._process(batch[:middle]), *self._process(batch[middle:])]
        self._metrics.batch_done(len(batch), self._job.device)
        return [(result, self._job.device) for result in results]

    def _note_memory(self, batch: Sequence[ItemInput]) -> None:
        """Logs the first batch of each size that did not fit; the metric counts all."""
        if len(batch) in self._too_large:
            return
        self._too_large.add(len(batch))
        then = "goes to the CPU" if len(batch) == 1 else "halved"
        place = (self._job.run_id, self._job.name, batch[0].item.item_id)
        _log.warning("out of the accelerator's memory run=%s stage=%s item=%s batch=%d: %s", *place, len(batch), then)

    def _on_cpu(self, batch: list[ItemInput]) -> Ok | Failed:
        """Returns what one item becomes on the CPU, where memory is larger; weights are loaded there once."""
        if self._cpu_stage is None:
            self._cpu_stage = self._job.spec(self._config, replace(self._context, device="cpu"))
        [result] = self._cpu_stage.process(batch)
        self._metrics.batch_done(1, "cpu")
        return result

    def _outcome(self, item: WorkItem, result: Ok | Failed, device: Device) -> Outcome:
        if isinstance(result, Failed):
            return Outcome(item.id, ok=False, reason=result.reason, message=result.message)
        receipt = self._columns({"device": device, **_finite(result.scores)})
        if self._job.sink is None:
            return Outcome(item.id, ok=True, receipt=receipt, payload=result.record)
        stored = self._columns(self._job.sink.commit(item.payload, result.record))
        return Outcome(item.id, ok=True, receipt=receipt | stored)

    def _columns(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Returns facts under the names of a receipt's columns."""
        return {key if key == "masks" else f"{self.name}_{key}": value for key, value in facts.items()}


class _OtherItems:
    """Reads images and stored records of any item."""

    def __init__(self, inputs: StageInputs) -> None:
        self._inputs = inputs

    def image(self, item: DatasetItem) -> Any:
        return read_image(item)

    def record(self, port: str, item: DatasetItem) -> Any:
        return _read_record(self._inputs.stored[port], item)

    def score(self, port: str, item: DatasetItem, column: str) -> float | None:
        return score_column(self._inputs.stored[port].outputs.folder, column).get(item.item_id)


def read_image(item: DatasetItem) -> Any:
    """Returns the decoded image of an item.

    Raises:
        DataError: It is gone, may not be read, is damaged, or cannot be decoded.
    """
    try:
        data = read_uri(item.uri)
    except ObjectNotFoundError as error:
        raise DataError(item.source_key, "missing_image", f"its image is gone: {error}") from error
    except (AccessDeniedError, TornObjectError) as error:
        # S3 says so of a single object, too: one that is gone, where listing is not allowed.
        raise DataError(item.source_key, "unreadable_image", f"its image cannot be read: {error}") from error
    return decode_image(data, item.source_key)


def _localised(job: StageJob) -> StageConfig:
    """Returns the stage's config with local weight files."""
    if not job.spec.NAMES_WEIGHTS:
        return job.config
    from wsss_jobs.config.assets import localise_assets  # knows all networks: seconds that other workers need not spend

    return localise_assets(job.config, job.run_store, default_cache_root() / "assets")


def _read_record(folder: StageFolder, item: DatasetItem) -> Record:
    try:
        return folder.read(item)
    except ObjectNotFoundError as error:
        message = f"the stage before left nothing of it: {error}"
        raise DataError(item.source_key, "missing_input", message) from error
    except TornObjectError as error:
        message = f"what the stage before left of it is damaged ({error}); `wsss verify --repair` has it made again"
        raise DataError(item.source_key, "torn_input", message) from error


def _finite(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in scores.items()}
