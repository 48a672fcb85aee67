"""What a training needs, and on how many workers of what size: plain data, made before Ray Train is imported."""

import math
from dataclasses import dataclass

from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.stage_io import StageInputs
from wsss_jobs.stages.base import Device, StageConfig, TrainStage
from wsss_jobs.storage.object_store import ObjectStore
from wsss_jobs.storage.stage_outputs import StageOutputs


@dataclass(frozen=True)
class TrainJob:
    """All that a Ray Train worker needs; picklable.

    Attributes:
        run_store: Holds the weight files that the config names by digest.
        outputs: Where the artifact goes.
    """

    spec: type[TrainStage]
    config: StageConfig
    inputs: StageInputs
    outputs: StageOutputs
    run_store: ObjectStore
    class_names: tuple[str, ...]
    seed: int
    items: tuple[DatasetItem, ...]


@dataclass(frozen=True)
class TrainScale:
    """How many workers of what size.

    Attributes:
        num_cpus: Threads of one worker.
        num_loader_workers: Processes of one worker that prepare samples.
    """

    device: Device
    num_workers: int
    num_cpus: int
    num_loader_workers: int = 0


def num_workers(global_batch_size: int, limit: int) -> int:
    """Returns the largest number of workers up to `limit` that shares the global batch evenly."""
    return max(count for count in range(1, max(limit, 1) + 1) if global_batch_size % count == 0)


def loader_workers(device: Device, num_cpus: int) -> int:
    """Returns how many processes prepare samples: none on a CPU, where they would take the cores of the training.

    On two cores, one process beside a step of two threads saved nothing: each thread that has to make room for it holds
    up the other.
    """
    if device == "cpu":
        return 0
    return max(1, min(8, math.floor(num_cpus)))
