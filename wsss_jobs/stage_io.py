"""How the records of a plan lie in a store, and how those of one item are read and written."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import StageError
from wsss_jobs.pipeline import PlannedStage
from wsss_jobs.records import INSTANCE_MASKS, LabelMap, Mask, Record, TensorRecord, label_map
from wsss_jobs.storage.instance_rows import InstanceRow
from wsss_jobs.storage.manifest import StageKind
from wsss_jobs.storage.object_store import ObjectStore
from wsss_jobs.storage.stage_outputs import StageOutputs


@dataclass(frozen=True)
class StageFolder:
    """A stage's records in a store. Picklable.

    Attributes:
        record_type: What lies there.
    """

    outputs: StageOutputs
    record_type: type

    def read(self, item: DatasetItem) -> Record:
        """Returns the record of an item.

        Raises:
            ObjectNotFoundError: It was not made.
        """
        if issubclass(self.record_type, LabelMap):
            variants = self.record_type.variants
            return label_map(self.record_type, {name: self.outputs.read_mask(item, name) for name in variants})
        record: Record = self.record_type.from_tensors(self.outputs.read_tensors(item.item_id))  # type: ignore[attr-defined]
        return record

    def commit(self, item: DatasetItem, record: Record) -> dict[str, Any]:
        """Stores the record; returns what the receipt says of it."""
        if isinstance(record, TensorRecord):
            return {"tensors_sha256": self.outputs.commit_tensors(item, record.to_tensors())}
        if not isinstance(record, LabelMap):
            raise StageError(f"{type(record).__name__} is streamed and cannot be stored")
        objects = {INSTANCE_MASKS: _instance_rows(record)}
        facts = [
            self.outputs.commit_mask(item, label, variant, objects.get(variant))
            for variant, label in record.to_masks().items()
        ]
        return {"masks": [fact.as_receipt() for fact in facts]}


def _instance_rows(record: LabelMap) -> list[InstanceRow]:
    if not isinstance(record, Mask) or record.instances is None:
        return []
    return [InstanceRow(number, **asdict(instance)) for number, instance in enumerate(record.instances.instances, 1)]


def stage_folder(stage: PlannedStage, run_store: ObjectStore) -> StageFolder:
    """Returns where a stage's records lie."""
    variants = (*stage.extra_masks, *getattr(stage.spec.WRITES, "variants", ("masks",)))
    return StageFolder(StageOutputs(run_store, stage.name, stage.fingerprint, variants), stage.spec.WRITES)


def stage_kind(stage: PlannedStage) -> StageKind:
    """Returns the kind of output, as manifests name it."""
    if stage.is_training:
        return "artifacts"
    return "tensors" if stage.spec.WRITES.storage == "tensors" else "masks"  # type: ignore[attr-defined]


@dataclass(frozen=True)
class StageInputs:
    """Where the inputs of a stage come from. Picklable.

    Attributes:
        stored: Port name -> folder of its records.
        artifacts: Port name -> folder of its artifact.
        streamed: The port that gets its record from the stage before, or empty.
    """

    stored: Mapping[str, StageFolder]
    artifacts: Mapping[str, StageFolder]
    streamed: str


def stage_inputs(stage: PlannedStage, stages: Mapping[str, PlannedStage], run_store: ObjectStore) -> StageInputs:
    """Returns where a planned stage reads."""
    feeders = {port: stages[name] for port, name in stage.inputs.items()}
    return StageInputs(
        stored={
            port: stage_folder(feeder, run_store)
            for port, feeder in feeders.items()
            if not feeder.is_streamed and not feeder.is_training
        },
        artifacts={port: stage_folder(feeder, run_store) for port, feeder in feeders.items() if feeder.is_training},
        streamed=next((port for port, feeder in feeders.items() if feeder.is_streamed), ""),
    )
